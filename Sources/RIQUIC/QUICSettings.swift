// What can be chosen about a QUIC link, and where its bytes lie.

import RIBase
import RITunnel

/// The congestion controllers that can be chosen.
public enum QUICCongestionControl: String, Codable, CaseIterable, Sendable { case cubic, bbr }

/// What the links of a hub or of an edge have in common. The values given are those of production.
public struct QUICSettings: Sendable {
  public var congestionControl = QUICCongestionControl.cubic
  /// The window of a stream: `bytesMin` at first and at least, grown by what its reader takes in a
  /// round trip up to `autoBytesMax`.
  public var windows = WindowLimits.standard
  /// Bidirectional streams that the peer may have open at once, after `admit`.
  public var streamsMax = Limits.quicStreamsMax
  /// Without a packet for so long a link is given up.
  public var idleTimeout = Limits.silenceTimeout
  public var handshakeTimeout = Limits.handshakeTimeout
  /// What is taken for a round trip until there is one.
  public var initialRoundTrip = Limits.quicInitialRoundTrip
  /// How long a packet may wait for its acknowledgement, in whole milliseconds; the peer adds it to
  /// its probe timeout.
  public var acknowledgementDelayMax = Limits.quicAcknowledgementDelayMax
  /// Edge: a packet is sent after so long a silence, so that a hub that has forgotten the link can
  /// say so, and NATs keep it. Nil: never.
  public var keepAlive: Interval? = Limits.quicKeepAliveInterval
  /// The largest UDP payload that path MTU discovery tries.
  public var udpPayloadBytesMax = Limits.quicUDPPayloadBytesMax
  public var discoversPathMTU = true
  /// Hub: with so many handshakes under way an Initial packet without a token is answered by Retry.
  public var retryThreshold = Limits.quicRetryThreshold
  public var handshakesMax = Limits.handshakesMax
  /// The same from one source address; an IPv6 /64 counts as one.
  public var handshakesPerSourceMax = Limits.handshakesPerSourceMax
  public var connectionsMax = Limits.tunnelsMax
  /// Whether packets are protected by RICrypto's keys; else by GnuTLS's. The same bytes.
  public var usesOwnProtection = true
  /// Hub: whether tickets allow 0-RTT.
  public var allowsEarlyData = true

  public init() {}
}

/// The pools of a `BufferStore` that QUIC takes buffers from.
public struct QUICPools: Sendable {
  /// Received stream data and datagrams, copied here out of ngtcp2's decryption buffer: many
  /// packets' worth in one buffer, which is given back once its events are polled and nobody has
  /// retained it. At least 4 KiB each; 64 to 256 KiB make bulk cheap.
  public var receive: PoolID
  /// Small slices that are sent are gathered here, since they stay until acknowledged and must not
  /// pin a large buffer each. Also what is too large for a DATAGRAM. Best 16 to 64 KiB each.
  public var hold: PoolID

  public init(receive: PoolID, hold: PoolID) {
    self.receive = receive
    self.hold = hold
  }
}
