// UDP packets of many links: to the link that they belong to, and from all links into batches.
//
//   receive ─▶ connection id ─▶ link ─▶ pollTunnel ─▶ QUICTunnel.pollEvent
//   pollPackets ◀─ links with something to send, by turns ◀─ verbs of QUICTunnel

import RIBase
import RITunnel

/// What became of received packets.
public enum QUICReceipt: Equatable, Sendable {
  /// Taken, or dropped and counted.
  case done
  /// They belong to a link of this shard: hand them to its endpoint, with `isHandedOver`.
  case foreign(shard: UInt8)
}

/// Packets for one remote address: `byteCount` bytes at the start of the buffer given to
/// `pollPackets`, to be sent as segments of `segmentBytes` (UDP_SEGMENT), the last of which may be
/// shorter. One packet when `segmentBytes` is not less than `byteCount`.
public struct QUICPacketBatch: Equatable, Sendable {
  public var remote: SocketAddress
  public var local: SocketAddress
  public var byteCount: Int
  public var segmentBytes: Int
  /// The two ECN bits of the IP header: 0 or 2 (ECT(0)).
  public var ecn: UInt8
}

/// What an endpoint has counted since it began.
public struct QUICEndpointCounters: Equatable, Sendable {
  public var packetsReceived: UInt64 = 0
  public var bytesReceived: UInt64 = 0
  public var packetsSent: UInt64 = 0
  public var bytesSent: UInt64 = 0
  public var batchesSent: UInt64 = 0
  public var handshakesStarted: UInt64 = 0
  public var handshakesCompleted: UInt64 = 0
  public var handshakesFailed: UInt64 = 0
  public var earlyDataAccepted: UInt64 = 0
  public var retriesSent: UInt64 = 0
  public var versionNegotiationsSent: UInt64 = 0
  public var statelessResetsSent: UInt64 = 0
  public var migrations: UInt64 = 0
  /// Packets that could not be QUIC's, or not be decrypted as what they pretend to be.
  public var droppedMalformed: UInt64 = 0
  /// Packets of no connection that we know.
  public var droppedUnknown: UInt64 = 0
  /// Initial packets beyond the limits on handshakes or connections.
  public var droppedBusy: UInt64 = 0
  /// Answers that were not sent because too many were.
  public var droppedRateLimited: UInt64 = 0
  /// Packets that came while there was no buffer for their content.
  public var droppedNoBuffer: UInt64 = 0
  /// Initial packets whose address token is not ours, or old.
  public var droppedBadToken: UInt64 = 0
  /// Packets handed over to another shard.
  public var handedOver: UInt64 = 0
}

/// All links of one socket: a shard's of a hub, or an edge's one (more while it moves). Sans-I/O.
///
/// Use: `receive` what the socket brings; poll tunnels by `pollTunnel` until nil, and each one's
/// events until nil; then, and after any verb, `pollPackets` until nil; call `handleDeadline` when
/// `nextDeadline` is due, then poll again as after `receive`. `end` before it is dropped.
///
/// Cost: a look-up by connection id a packet (none when it is the one before's). Not safe for use
/// by two threads.
public final class QUICEndpoint {
  public let store: BufferStore
  public internal(set) var counters = QUICEndpointCounters()

  /// A hub's. `shard` stands in the connection ids that it gives out; packets whose id names
  /// another one of `shards` are reported as foreign.
  public init(
    server: QUICServerContext, store: BufferStore, pools: QUICPools, budget: MemoryBudget,
    shard: UInt8 = 0, shards: UInt8 = 1
  ) {
    self.store = store
  }

  /// An edge's.
  public init(
    client: QUICClientContext, store: BufferStore, pools: QUICPools, budget: MemoryBudget
  ) {
    self.store = store
  }

  /// Edge: begins a link. Its first packets wait to be polled. With `resuming`, what is sent on the
  /// control channel at once travels in 0-RTT; if the hub refuses that it is sent again by itself.
  /// Nil when there is no memory.
  public func connect(
    to remote: SocketAddress, from local: SocketAddress, serverName: String?,
    resuming: QUICResumption? = nil, now: Instant
  ) -> QUICTunnel? {
    nil
  }

  /// Takes what one receive brought: one packet, or several that the kernel joined, each
  /// `segmentBytes` long but the last. `ecn` is the two bits of the IP header (0 when not known).
  /// The bytes are not needed any more afterwards.
  public func receive(
    _ bytes: UnsafeRawBufferPointer, segmentBytes: Int, from remote: SocketAddress,
    to local: SocketAddress, ecn: UInt8, now: Instant, isHandedOver: Bool = false
  ) -> QUICReceipt {
    .done
  }

  /// A link that has events, or has just come to be (at the hub), or nil. Its events are to be
  /// polled until nil then.
  public func pollTunnel() -> QUICTunnel? { nil }

  /// Whether `pollPackets` may have something.
  public var hasOutput: Bool { false }

  /// Writes the next batch into `buffer`, which has room for one packet at least (best 64 KiB: the
  /// kernel takes 64 segments and 65,507 bytes at once), or returns nil when nothing may be sent
  /// now. A batch is within the link's send quantum: ngtcp2 paces.
  public func pollPackets(
    into buffer: UnsafeMutableRawBufferPointer, now: Instant
  ) -> QUICPacketBatch? {
    nil
  }

  /// When `handleDeadline` is to be called next.
  public var nextDeadline: Instant? { nil }

  public func handleDeadline(now: Instant) {}

  /// Links that are there, those that close included.
  public var connectionCount: Int { 0 }

  /// Ends all links without a word and frees everything. Tunnels of it take no more verbs.
  public func end() {}
}
