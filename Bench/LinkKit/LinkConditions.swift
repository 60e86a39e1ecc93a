// What a link does to packets, and the error of everything here that can fail.

import Glibc

/// Something that a link cannot do, in words.
public struct LinkError: Error, Equatable, Sendable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }

  static func system(_ call: String) -> LinkError {
    LinkError("\(call): \(String(cString: strerror(errno)))")
  }
}

/// The properties of a link, the same in each direction. In JSON absent keys have their defaults.
public struct LinkConditions: Codable, Equatable, Sendable {
  /// Bits of IP packets a second, 8,000 to 100 Gbit/s; 0 knows no limit (and no queue).
  public var bitsPerSecond: UInt64 = 0
  /// One way, up to 60 s.
  public var delayNanoseconds: UInt64 = 0
  /// The delay wanders between this much less and this much more; up to the delay, and up to 1 s.
  public var jitterNanoseconds: UInt64 = 0
  /// Share of packets that vanish behind the queue, 0 to 1.
  public var lossShare = 0.0
  /// Share of packets that are held back so that later ones overtake them, 0 to 1.
  public var reorderShare = 0.0
  /// For how long they are held back, up to 1 s.
  public var reorderNanoseconds: UInt64 = 1_000_000
  /// Bytes that may wait for the line, up to 1 GiB; what comes then is dropped.
  public var queueBytes = 4 << 20
  /// Of all chance. The two directions draw from it independently.
  public var seed: UInt64 = 1

  public init() {}

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    func take<Value: Decodable>(_ key: CodingKeys, _ value: inout Value) throws {
      if let found = try values.decodeIfPresent(Value.self, forKey: key) { value = found }
    }
    try take(.bitsPerSecond, &bitsPerSecond)
    try take(.delayNanoseconds, &delayNanoseconds)
    try take(.jitterNanoseconds, &jitterNanoseconds)
    try take(.lossShare, &lossShare)
    try take(.reorderShare, &reorderShare)
    try take(.reorderNanoseconds, &reorderNanoseconds)
    try take(.queueBytes, &queueBytes)
    try take(.seed, &seed)
  }

  /// Throws what is out of range.
  public func check() throws(LinkError) {
    guard bitsPerSecond == 0 || (8_000...100_000_000_000).contains(bitsPerSecond) else {
      throw LinkError("rate: 8 kbit/s to 100 Gbit/s")
    }
    guard delayNanoseconds <= 60_000_000_000 else { throw LinkError("delay: at most 60 s") }
    guard jitterNanoseconds <= min(delayNanoseconds, 1_000_000_000) else {
      throw LinkError("jitter: at most the delay, and at most 1 s")
    }
    guard (0...1).contains(lossShare) else { throw LinkError("loss: 0 to 100 %") }
    guard (0...1).contains(reorderShare) else { throw LinkError("reorder: 0 to 100 %") }
    guard reorderNanoseconds <= 1_000_000_000 else { throw LinkError("reorder by: at most 1 s") }
    guard (1...1 << 30).contains(queueBytes) else { throw LinkError("queue: 1 byte to 1024 MB") }
  }
}
