// What two ends may do beyond the published protocol once both have named it (SPEC 5).

/// A set of extensions. A name that we do not know has no place in it.
public struct Extensions: OptionSet, Hashable, Sendable {
  public let rawValue: UInt8

  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Windows follow the path and the reader instead of the number of streams.
  public static let autoWindow = Extensions(rawValue: 1 << 0)
  /// An end that is about to stop says so, and the other makes way for it.
  public static let drain = Extensions(rawValue: 1 << 1)

  /// A datagram that is too large for one of QUIC's goes alone on a stream.
  public static let udpStream = Extensions(rawValue: 1 << 2)

  public static let all: Extensions = [.autoWindow, .drain, .udpStream]
  /// Those that have a meaning on a tunnel of frames, and on one over QUIC, whose windows are its
  /// own.
  public static let framed: Extensions = [.autoWindow, .drain]
  public static let quic: Extensions = [.drain, .udpStream]

  /// The names on the wire.
  private static let known: [(name: String, member: Extensions)] = [
    ("autoWindow", .autoWindow), ("drain", .drain), ("udpStream", .udpStream),
  ]

  /// Those of `names` that we know.
  public init(names: some Sequence<String>) {
    self = []
    for name in names {
      if let member = Self.member(name) { insert(member) }
    }
  }

  /// The names of its members, always in the same order.
  public var names: [String] { Self.known.filter { contains($0.member) }.map(\.name) }

  private static func member(_ name: some StringProtocol) -> Extensions? {
    known.first { $0.name == name }?.member
  }
}

/// A name that `REMOTEINGRESS_EXTENSIONS` gives and nobody knows.
public struct UnknownExtension: Error, Equatable, Sendable, CustomStringConvertible {
  public var name: String

  public var description: String {
    "\(Extensions.variable): no extension is called '\(name)'; "
      + "known are none, \(Extensions.all.names.joined(separator: ", "))"
  }
}

extension Extensions {
  /// The environment variable that restricts what a hub offers and an edge answers.
  public static let variable = "REMOTEINGRESS_EXTENSIONS"

  /// The extensions that the variable's value allows: all when there is none, else `none` or a list
  /// with commas.
  public init(allowed text: String?) throws(UnknownExtension) {
    guard let text, !text.isEmpty else {
      self = .all
      return
    }
    self = []
    if text == "none" { return }
    for name in text.split(separator: ",") {
      let name = name.trimmingPrefix { $0 == " " }
      guard let member = Self.member(name) else { throw UnknownExtension(name: String(name)) }
      insert(member)
    }
  }
}
