// What a shard has counted of the packets of tunnels over QUIC.

/// Totals of all links over QUIC, those that have ended included, and of what belonged to none.
public struct PacketCounters: Codable, Equatable, Sendable {
  /// Packets that belonged to a link.
  public var received: UInt64 = 0
  public var sent: UInt64 = 0
  /// Handshakes whose first packets were taken; most that fail are of somebody who never answered.
  public var handshakesStarted: UInt64 = 0
  public var handshakesFailed: UInt64 = 0
  /// Links that were opened in 0-RTT.
  public var earlyDataAccepted: UInt64 = 0
  /// Answers to strangers, by kind.
  public var retries: UInt64 = 0
  public var versionNegotiations: UInt64 = 0
  public var statelessResets: UInt64 = 0
  /// Links that went on from another address.
  public var migrations: UInt64 = 0
  /// Receives that were handed to another shard, whose link they were of.
  public var handedOver: UInt64 = 0
  public var drops = PacketDrops()

  public init() {}

  /// Adds what others have counted.
  public mutating func add(_ other: PacketCounters) {
    received &+= other.received
    sent &+= other.sent
    handshakesStarted &+= other.handshakesStarted
    handshakesFailed &+= other.handshakesFailed
    earlyDataAccepted &+= other.earlyDataAccepted
    retries &+= other.retries
    versionNegotiations &+= other.versionNegotiations
    statelessResets &+= other.statelessResets
    migrations &+= other.migrations
    handedOver &+= other.handedOver
    drops.add(other.drops)
  }
}

/// Packets that went no further, by reason; and answers to them that were not given.
public struct PacketDrops: Codable, Equatable, Sendable {
  /// They could not be QUIC's.
  public var malformed: UInt64 = 0
  /// Of no link that there is.
  public var unknown: UInt64 = 0
  /// First packets beyond the limits on handshakes and tunnels.
  public var busy: UInt64 = 0
  /// Answers that would have been too many.
  public var rateLimited: UInt64 = 0
  public var noBuffer: UInt64 = 0
  /// First packets whose address token was not ours, or old: it counts as none.
  public var badToken: UInt64 = 0
  /// Packets of handshakes, when too many waited for their turn.
  public var waiting: UInt64 = 0

  public init() {}

  public mutating func add(_ other: PacketDrops) {
    malformed &+= other.malformed
    unknown &+= other.unknown
    busy &+= other.busy
    rateLimited &+= other.rateLimited
    noBuffer &+= other.noBuffer
    badToken &+= other.badToken
    waiting &+= other.waiting
  }

  /// A packet with a bad token is one without a token, not a lost one.
  public var total: UInt64 {
    malformed &+ unknown &+ busy &+ rateLimited &+ noBuffer &+ waiting
  }
}
