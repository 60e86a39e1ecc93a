// What a shard counts for its operator beside its counters: totals that never go backwards, and
// how its pools, windows and queues stand.

import RIBase
import RITunnel

/// Why a tunnel ended, or did not come about.
public enum LinkEndCause: String, CaseIterable, Codable, Sendable {
  case peerClosed, silent, timedOut, malformed, tooMany, unauthorized, refused, noAddress
  case replaced, revoked, outOfBuffers, stopping, drained, network, tls, protocolViolation
  /// The peer was started anew and knows nothing of the tunnel (QUIC).
  case forgotten
}

/// Something counted by cause. As JSON an object of those that there were.
public struct CauseCounts: Equatable, Codable, Sendable {
  /// By the causes' places; made at the start, and no larger later.
  private var counts = [UInt64](repeating: 0, count: LinkEndCause.allCases.count)

  public init() {}

  public private(set) subscript(cause: LinkEndCause) -> UInt64 {
    get { counts[Self.place(of: cause)] }
    set { counts[Self.place(of: cause)] = newValue }
  }

  public var total: UInt64 { counts.reduce(0, &+) }

  public mutating func count(_ cause: LinkEndCause) { self[cause] &+= 1 }

  public mutating func add(_ other: CauseCounts) {
    for place in counts.indices { counts[place] &+= other.counts[place] }
  }

  private static func place(of cause: LinkEndCause) -> Int {
    guard let place = LinkEndCause.allCases.firstIndex(of: cause) else {
      preconditionFailure("every cause is among all of them")
    }
    return place
  }

  public init(from decoder: any Decoder) throws {
    let named = try decoder.singleValueContainer().decode([String: UInt64].self)
    for (name, count) in named {
      if let cause = LinkEndCause(rawValue: name) { self[cause] = count }
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var named: [String: UInt64] = [:]
    for cause in LinkEndCause.allCases where self[cause] > 0 { named[cause.rawValue] = self[cause] }
    var container = encoder.singleValueContainer()
    try container.encode(named)
  }
}

/// Totals of a shard since its start.
public struct ShardMetrics: Codable, Equatable, Sendable {
  /// Of all tunnels, those that have ended included.
  public var traffic = TunnelCounters()
  /// Of all tunnels' sockets, handshakes included.
  public var bytesIn: UInt64 = 0
  public var bytesOut: UInt64 = 0
  public var tunnelsOpened: UInt64 = 0
  /// Of tunnels that were up.
  public var tunnelEnds = CauseCounts()
  /// Of tunnels that did not come up, by whichever side saw it.
  public var handshakeFailures = CauseCounts()
  public var packets = PacketCounters()
  /// Attempts of an edge to reach its hub.
  public var dials: UInt64 = 0
  /// PINGs that a hub sent, or an edge received.
  public var pings: UInt64 = 0
  /// PONGs that a hub received.
  public var pongs: UInt64 = 0
  /// Targets that a hub did not reach.
  public var targetsRefused: UInt64 = 0
  public var targetsTimedOut: UInt64 = 0
  /// Without an address, or for another reason.
  public var targetsFailed: UInt64 = 0

  /// From a PING to its PONG (hub).
  public var roundTrip = TimeHistogram()
  /// From a stream's OPEN to the connection with its target, its name's look-up included (hub).
  public var targetConnect = TimeHistogram()
  /// From the TCP connection, or the first packet of QUIC, to a tunnel that is up.
  public var handshake = TimeHistogram()
  /// From the return of one wait to the next: what a byte that has just arrived may have to wait.
  public var loop = TimeHistogram()

  public init() {}

  /// Adds what another shard has counted.
  public mutating func add(_ other: ShardMetrics) {
    traffic.add(other.traffic)
    bytesIn &+= other.bytesIn
    bytesOut &+= other.bytesOut
    tunnelsOpened &+= other.tunnelsOpened
    tunnelEnds.add(other.tunnelEnds)
    handshakeFailures.add(other.handshakeFailures)
    packets.add(other.packets)
    dials &+= other.dials
    pings &+= other.pings
    pongs &+= other.pongs
    targetsRefused &+= other.targetsRefused
    targetsTimedOut &+= other.targetsTimedOut
    targetsFailed &+= other.targetsFailed
    roundTrip.add(other.roundTrip)
    targetConnect.add(other.targetConnect)
    handshake.add(other.handshake)
    loop.add(other.loop)
  }
}

/// How much of a buffer pool is in use; what is lent to the kernel is.
public struct PoolUse: Codable, Equatable, Sendable {
  public var name: String
  public var used: Int
  public var total: Int
  public var bufferBytes: Int

  public init(name: String, used: Int, total: Int, bufferBytes: Int) {
    self.name = name
    self.used = used
    self.total = total
    self.bufferBytes = bufferBytes
  }
}

/// What waits in a shard.
public struct QueueDepths: Codable, Equatable, Sendable {
  /// Bytes that wait for their turn in a tunnel, by tier; datagrams are of the data tier.
  public var controlBytes = 0
  public var dataBytes = 0
  public var sustainedBytes = 0
  public var datagramBytes = 0
  /// Handshakes that wait for their turn (hub).
  public var handshakes = 0
  /// Runs of datagrams that the kernel is sending.
  public var datagramsSending = 0
  /// Receives that wait for a buffer.
  public var receivesStarved = 0

  public init() {}

  public mutating func add(_ other: QueueDepths) {
    controlBytes &+= other.controlBytes
    dataBytes &+= other.dataBytes
    sustainedBytes &+= other.sustainedBytes
    datagramBytes &+= other.datagramBytes
    handshakes &+= other.handshakes
    datagramsSending &+= other.datagramsSending
    receivesStarved &+= other.receivesStarved
  }
}
