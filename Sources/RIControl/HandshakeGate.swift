// How many unauthenticated connections a shard holds, in all and per source (SPEC 2.1).

import RIBase

/// Counts handshakes under way; memory is bounded by the number it admits.
public struct HandshakeGate: Sendable {
  public private(set) var count = 0
  private let countMax: Int
  private let perSourceMax: Int
  private var perSource: [IPAddress: Int] = [:]

  public init(
    max: Int = Limits.handshakesMax, perSourceMax: Int = Limits.handshakesPerSourceMax
  ) {
    countMax = max
    self.perSourceMax = perSourceMax
  }

  /// Whether a handshake from `address` may begin; each true is matched by one `leave`.
  public mutating func admit(_ address: IPAddress) -> Bool {
    let source = address.source
    let held = perSource[source] ?? 0
    guard count < countMax, held < perSourceMax else { return false }
    count += 1
    perSource[source] = held + 1
    return true
  }

  /// The handshake has ended, well or not.
  public mutating func leave(_ address: IPAddress) {
    let source = address.source
    guard let held = perSource[source] else {
      preconditionFailure("leave without admit")
    }
    count -= 1
    perSource[source] = held > 1 ? held - 1 : nil
  }
}
