// UDP packets of many links: to the link that they belong to, and from all links into batches.
//
//   receive ─▶ connection id ─▶ link ─▶ pollTunnel ─▶ QUICTunnel.pollEvent
//   pollPackets ◀─ links with something to send, by turns ◀─ verbs of QUICTunnel

import CNGTCP2
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

  public init(
    remote: SocketAddress, local: SocketAddress, byteCount: Int, segmentBytes: Int, ecn: UInt8
  ) {
    self.remote = remote
    self.local = local
    self.byteCount = byteCount
    self.segmentBytes = segmentBytes
    self.ecn = ecn
  }
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
  @exclusivity(unchecked) public internal(set) var counters = QUICEndpointCounters()

  let pools: QUICPools
  let budget: MemoryBudget
  let settings: QUICSettings
  let server: QUICServerContext?
  let client: QUICClientContext?
  let shard: UInt8
  let shards: UInt8

  let tunnels: Slab<QUICTunnel>
  @exclusivity(unchecked) var routes: [ConnectionID: SlotID] = [:]
  /// The route of the last packet: most come in runs.
  @exclusivity(unchecked) var lastRoute: (id: ConnectionID, slot: SlotID)?
  @exclusivity(unchecked) var deadlines = DeadlineHeap()
  @exclusivity(unchecked) var arena: ReceiveArena
  /// Tunnels that may have packets to send, that have events, and whose deadline may have changed.
  @exclusivity(unchecked) var dirty = WorkList()
  @exclusivity(unchecked) var ready = WorkList()
  @exclusivity(unchecked) var touched = WorkList()
  /// Answers that belong to no link.
  @exclusivity(unchecked) var answers = AnswerQueue()
  /// A packet that did not fit into the batch that it was written behind.
  @exclusivity(unchecked) var leftover: (batch: QUICPacketBatch, bytes: [UInt8])?
  /// Tunnels with received bytes that had no buffer: while there are any no packet is taken.
  @exclusivity(unchecked) var overflowingTunnels = 0
  @exclusivity(unchecked) public internal(set) var handshakeCount = 0
  /// Hub: the same by the source address.
  @exclusivity(unchecked) var handshakesBySource: [IPAddress: Int] = [:]

  /// A hub's. `shard` stands in the connection ids that it gives out; packets whose id names
  /// another one of `shards` are reported as foreign.
  public init(
    server: QUICServerContext, store: BufferStore, pools: QUICPools, budget: MemoryBudget,
    shard: UInt8 = 0, shards: UInt8 = 1
  ) {
    precondition(shard < shards)
    self.store = store
    self.pools = pools
    self.budget = budget
    self.server = server
    self.shard = shard
    self.shards = shards
    client = nil
    settings = server.settings
    tunnels = Slab(capacity: settings.connectionsMax)
    arena = ReceiveArena(store: store, pool: pools.receive)
  }

  /// An edge's.
  public init(
    client: QUICClientContext, store: BufferStore, pools: QUICPools, budget: MemoryBudget
  ) {
    self.store = store
    self.pools = pools
    self.budget = budget
    self.client = client
    server = nil
    shard = 0
    shards = 1
    settings = client.settings
    tunnels = Slab(capacity: Self.edgeLinksMax)
    arena = ReceiveArena(store: store, pool: pools.receive)
  }

  /// Links of an edge's socket: the one in use, those that close, one being tried.
  private static let edgeLinksMax = 64

  /// Links that are there, those that close included.
  public var connectionCount: Int { tunnels.count }

  // MARK: Connecting

  /// Edge: begins a link. Its first packets wait to be polled. With `resuming`, what is sent on the
  /// control channel at once travels in 0-RTT; if the hub refuses that it is sent again by itself.
  /// Nil when there is no memory or no place.
  public func connect(
    to remote: SocketAddress, from local: SocketAddress, serverName: String?,
    resuming: QUICResumption? = nil, now: Instant
  ) -> QUICTunnel? {
    guard let client else { preconditionFailure("a hub's endpoint does not connect") }
    let path = QUICPath(local: local, remote: remote)
    let tunnel = QUICTunnel(role: .edge, endpoint: self, settings: settings, path: path)
    guard let slot = tunnels.insert(tunnel) else { return nil }
    tunnel.slot = slot
    tunnel.now = now
    let source = ConnectionID.make(shard: shard)
    let parts = resuming?.parts ?? ([], [], [])
    var options = makeOptions(now: now)
    options.keep_alive = UInt64(clamping: settings.keepAlive?.nanoseconds ?? 0)
    var form = path.quic
    var sourceForm = source.quic
    // SAFETY: everything lent is read during the call; the tunnel outlives the link, which calls
    // back to it.
    let link = parts.0.withUnsafeBufferPointer { session in
      parts.1.withUnsafeBufferPointer { parameters in
        parts.2.withUnsafeBufferPointer { token in
          withOptionalCString(serverName) { name in
            quic_connect(
              client.credentials, Self.handlers, Unmanaged.passUnretained(tunnel).toOpaque(),
              &options, &form, &sourceForm, name,
              quic_bytes(start: session.baseAddress, count: session.count),
              quic_bytes(start: parameters.baseAddress, count: parameters.count),
              quic_bytes(start: token.baseAddress, count: token.count))
          }
        }
      }
    }
    guard let link else {
      tunnels.remove(slot)
      return nil
    }
    tunnel.link = link
    tunnel.isSurfaced = true
    register(source, tunnel)
    handshakeCount += 1
    counters.handshakesStarted &+= 1
    markDirty(tunnel)
    return tunnel
  }

  func makeOptions(now: Instant) -> quic_options {
    var options = quic_options()
    options.now = now.nanoseconds
    options.idle_timeout = UInt64(clamping: settings.idleTimeout.nanoseconds)
    options.handshake_timeout = UInt64(clamping: settings.handshakeTimeout.nanoseconds)
    options.initial_rtt = UInt64(clamping: settings.initialRoundTrip.nanoseconds)
    options.ack_delay_max = UInt64(clamping: settings.acknowledgementDelayMax.nanoseconds)
    options.stream_window = UInt64(settings.windows.autoBytesMin)
    options.uni_window = UInt64(Limits.udpPayloadBytesMax + 64)
    options.datagram_max = UInt64(Limits.udpPayloadBytesMax)
    options.udp_payload_max = UInt32(clamping: settings.udpPayloadBytesMax)
    options.bbr = settings.congestionControl == .bbr
    options.discovers_mtu = settings.discoversPathMTU
    options.own_protection = settings.usesOwnProtection
    if server != nil {
      // Until it has said who it is an edge has one stream, for its line.
      options.streams_bidi = 1
      options.connection_window = Limits.quicStrangerWindowBytes
    } else {
      options.connection_window = Limits.quicConnectionWindowBytes
    }
    return options
  }

  // MARK: Work

  /// A link that has events, or has just come to be (at the hub), or nil. Its events are to be
  /// polled until nil then.
  public func pollTunnel() -> QUICTunnel? {
    while let slot = ready.popFirst() {
      guard tunnels.contains(slot) else { continue }
      let tunnel = tunnels[slot]
      tunnel.isReady = false
      guard !tunnel.isReleased else { continue }
      return tunnel
    }
    return nil
  }

  func markDirty(_ tunnel: QUICTunnel) {
    guard !tunnel.isDirty, tunnels.contains(tunnel.slot) else { return }
    tunnel.isDirty = true
    dirty.append(tunnel.slot)
  }

  func markReady(_ tunnel: QUICTunnel) {
    guard tunnel.isSurfaced, !tunnel.isReady, tunnels.contains(tunnel.slot) else { return }
    tunnel.isReady = true
    ready.append(tunnel.slot)
  }

  func handshakeCompleted(_ tunnel: QUICTunnel) {
    leaveHandshakes(tunnel)
    counters.handshakesCompleted &+= 1
    if tunnel.isEarlyDataAccepted { counters.earlyDataAccepted &+= 1 }
    tunnel.isSurfaced = true
    markReady(tunnel)
    guard let server, let link = tunnel.link else { return }
    // A ticket for 0-RTT and a token that shows the edge's address next time.
    _ = quic_link_send_ticket(link)
    var remote = tunnel.path.remote.quic
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { token in
      let count = quic_token_make(
        token.baseAddress, token.count, server.tokenSecret, &remote, tunnel.now.nanoseconds)
      if count > 0 { _ = quic_link_submit_token(link, token.baseAddress, count) }
    }
  }

  func leaveHandshakes(_ tunnel: QUICTunnel) {
    guard tunnel.countsAsHandshake else { return }
    tunnel.countsAsHandshake = false
    handshakeCount -= 1
    let source = tunnel.path.remote.ip.handshakeSource
    guard let count = handshakesBySource[source] else { return }
    handshakesBySource[source] = count > 1 ? count - 1 : nil
  }
}

extension IPAddress {
  /// What counts as one source: an IPv4 address, or an IPv6 /64.
  var handshakeSource: IPAddress { family == .v4 ? self : IPAddress(v6High: high, low: 0) }
}

private func withOptionalCString<R>(
  _ text: String?, _ body: (UnsafePointer<CChar>?) -> R
) -> R {
  text.map { $0.withCString { body($0) } } ?? body(nil)
}
