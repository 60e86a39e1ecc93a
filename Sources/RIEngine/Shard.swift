// One engine thread: its ring, its buffers, its tunnels and their streams. Nothing is shared.
//
// A tick, in the order of a byte's path (DESIGN section 2):
//
//   wait ──▶ completions ──▶ inbound (ShardInbound): open records, decode frames, queue for sockets
//                       └──▶ local sockets (ShardConnections): queue for the tunnel
//        ──▶ mailbox, timers
//        ──▶ outbound (ShardOutbound): sends to local sockets, frames sealed and sent,
//            receives armed
//   and the next wait submits it all at once.

import RIBase
import RIControl
import RIRing
import RITunnel

/// What a shard is doing.
enum ShardPhase {
  case running
  /// No new streams; ends when the last one is gone or at the deadline.
  case draining(deadline: Instant)
  /// The last stream is gone and the tunnels are half-closed: waits for their peers to close.
  case leaving
  case stopped
}

/// A hub's or an edge's data path on one thread. All methods are for that thread, `mailbox` apart.
public final class Shard {
  let index: Int
  let ring: any IORing
  let store: BufferStore
  let role: Role
  let report: (EngineEvent) -> Void
  let mailbox: ShardMailbox

  let links: Slab<Link>
  let connections: Slab<Connection>
  let listeners: Slab<Listener>
  /// Sockets that were refused and are being closed.
  let refusals: Slab<Socket>
  let sessions: UDPSessions
  @exclusivity(unchecked) var outbox = DatagramOutbox()
  /// Datagrams that the ring is sending.
  let pendingDatagrams: Slab<DatagramRun>
  /// Runs are made of datagrams up to this, for the kernel to cut (UDP_SEGMENT); 0: of none.
  @exclusivity(unchecked) var segmentBytesMax = Limits.udpPayloadBytesMax
  /// When links that were stuck last lost their datagrams.
  @exclusivity(unchecked) var stuckDroppedAt = Instant(nanoseconds: 0)
  @exclusivity(unchecked) var sessionTimer: TimerID?
  /// A tunnel is to be left when its sessions are at rest.
  @exclusivity(unchecked) var restTimer: TimerID?
  let batch: PlaintextBatch
  let budget: MemoryBudget
  let timers: TimerWheel
  @exclusivity(unchecked) var now: Instant
  @exclusivity(unchecked) var phase = ShardPhase.running
  @exclusivity(unchecked) var counters = ShardCounters()
  @exclusivity(unchecked) var metrics = ShardMetrics()

  /// Where a hub's shard accepts edges.
  @exclusivity(unchecked) var tunnelPort: Port?
  /// Descriptors that this process may have.
  @exclusivity(unchecked) var descriptorsMax = Int.max
  /// Links whose handshake has bytes to go on with, in the order of their coming.
  @exclusivity(unchecked) var handshakeQueue: [SlotID] = []
  /// The pools' returns when a handshake found no buffer; it goes on when one has come back.
  @exclusivity(unchecked) var handshakesStarvedAt: UInt64?
  /// So many wait there that tunnels are not accepted for now.
  @exclusivity(unchecked) var isAcceptPaused = false
  /// To be called when the last listener is closed.
  @exclusivity(unchecked) var whenNotListening: (() -> Void)?
  @exclusivity(unchecked) var throttles: MessageThrottles

  /// Streams that are reported one by one (hub); nil: none is.
  @exclusivity(unchecked) var watched: WatchedStreams?
  /// Tunnels over QUIC: endpoints, their sockets, what these are sending.
  let packetPorts: Slab<PacketPort>
  let packetSockets: Slab<PacketSocket>
  let packetSends: Slab<PacketSend>
  /// Packets of handshakes, in the order of their coming (hub).
  @exclusivity(unchecked) var waitingPackets: [WaitingPackets] = []
  /// An endpoint has more to send, and the rest of the shard had to have its turn.
  @exclusivity(unchecked) var hasUnsentPackets = false
  @exclusivity(unchecked) var hasWarnedOfBuffers = false
  /// Links over QUIC that something has happened to, to be looked at when packets have left.
  @exclusivity(unchecked) var sentLinks: [SlotID] = []
  /// Links over QUIC that connections wait to queue for.
  @exclusivity(unchecked) var linedLinks: [SlotID] = []
  /// Links over QUIC that have ended in this tick.
  @exclusivity(unchecked) var endedLinks: [SlotID] = []

  /// Commands taken out of the mailbox.
  @exclusivity(unchecked) var commands: [ShardCommand] = []

  /// Sends have been asked for whose completion may come with whatever comes next.
  @exclusivity(unchecked) var hasPatientSends = false
  /// Links that have something to send.
  @exclusivity(unchecked) var dirtyLinks: [SlotID] = []
  /// Connections with new bytes for their socket, or a finished tunnel direction.
  @exclusivity(unchecked) var pendingSends: [SlotID] = []
  /// Connections whose socket may be read again.
  @exclusivity(unchecked) var pendingReceives: [SlotID] = []
  /// Receives that found their pool empty; armed again when buffers have come back.
  @exclusivity(unchecked) var starvedConnections: [SlotID] = []
  @exclusivity(unchecked) var starvedLinks: [SlotID] = []
  @exclusivity(unchecked) var starvedReceivers: [OperationToken] = []
  /// The pools' returns when the starved lists were last tried.
  @exclusivity(unchecked) var returnsSeen: UInt64 = 0
  /// A step of giving memory back is due.
  @exclusivity(unchecked) var isTrimming = false
  /// When the pools will be looked after because receives starve.
  @exclusivity(unchecked) var reliefTimer: TimerID?
  /// The connection that was reset last for the memory budget.
  @exclusivity(unchecked) var evicted = SlotID.none
  /// Scratch to swap the lists above with while they are worked through.
  @exclusivity(unchecked) var scratch: [SlotID] = []

  enum Role {
    case hub(HubState)
    case edge(EdgeState)

    var settings: any EngineSettings {
      switch self {
      case .hub(let hub): hub.settings
      case .edge(let edge): edge.settings
      }
    }

    var sessionShare: SessionShare {
      switch self {
      case .hub(let hub): hub.sessionShare
      case .edge(let edge):
        SessionShare(alone: min(edge.settings.udpSessionsMax, Limits.sessionsPerEdgeMax))
      }
    }
  }

  /// A shard on `ring`, whose store must have `ShardPool`'s shapes.
  init(
    index: Int, ring: any IORing, role: Role, mailbox: ShardMailbox,
    report: @escaping (EngineEvent) -> Void
  ) {
    self.index = index
    self.ring = ring
    store = ring.store
    self.role = role
    self.mailbox = mailbox
    self.report = report
    links = Slab(capacity: Limits.tunnelsMax)
    connections = Slab(capacity: Limits.connectionsMax)
    listeners = Slab(capacity: Limits.listenersMax)
    refusals = Slab(capacity: Limits.connectionsMax)
    let settings = role.settings
    sessions = UDPSessions(
      share: role.sessionShare, idleTimeout: .seconds(Int64(settings.udpIdleSeconds)),
      seed: ring.random())
    pendingDatagrams = Slab(capacity: Limits.datagramsPendingMax)
    packetPorts = Slab(capacity: Limits.tunnelsMax)
    packetSockets = Slab(capacity: 2 * Limits.tunnelsMax)
    packetSends = Slab(capacity: Limits.packetSendsMax)
    batch = PlaintextBatch(store: ring.store, capacity: ShardPool.batchBytes)
    let stash = ring.store[ShardPool.stash].shape
    budget = MemoryBudget(bytes: stash.count * stash.bytes)
    now = ring.updateNow()
    timers = TimerWheel(capacity: Limits.timersMax, now: now)
    throttles = MessageThrottles(now: now)
    schedule(.housekeeping, at: now + Limits.housekeepingInterval)
  }

  /// Whether it takes no new streams any more.
  var isDraining: Bool {
    if case .running = phase { return false }
    return true
  }

  var isStopped: Bool {
    if case .stopped = phase { return true }
    return false
  }

  /// Opens what the role needs: the hub's tunnel listeners, the edge's connection to its hub.
  func start() throws(EngineError) {
    switch role {
    case .hub(let hub): try startHub(hub)
    case .edge(let edge): startEdge(edge)
    }
  }

  /// Ticks until stopped, then says goodbye to its peers. Blocks its thread.
  func run() {
    while !isStopped { tick(until: nil) }
    shutDown()
  }

  /// Ends all links; their last words leave within one more tick.
  func shutDown() {
    stopSTUN()
    stopWatchingAddresses()
    for id in links.ids { endLink(id, .stopping) }
    freeKeptPlaces()
    for id in packetPorts.ids { packetPorts[id].isClosing = true }
    for id in connections.ids { closeConnection(id, .reset) }
    endSessions(tellsPeer: false) { _ in true }
    for id in listeners.ids { closeListener(id) }
    let deadline = now + Limits.goodbyeTimeout
    while links.count + connections.count + listeners.count + refusals.count
      + pendingDatagrams.count + packetSockets.count + packetSends.count > 0, now < deadline
    {
      tick(until: deadline)
    }
  }

  /// One turn: waits until something happens or until `limit`, handles it, queues what follows.
  func tick(until limit: Instant?) {
    var deadline = timers.nextDeadline
    if let limit { deadline = min(deadline ?? limit, limit) }
    if let next = nextPacketDeadline { deadline = min(deadline ?? next, next) }
    if mayAdvanceHandshakes || (hasPatientSends && isHeldUp) { deadline = now }
    hasPatientSends = false
    let completions = ring.wait(until: deadline)
    now = ring.now
    for completion in completions { handle(completion) }
    advanceHandshakes()
    advancePacketHandshakes()
    handlePacketDeadlines()
    readMailbox()
    timers.expire(now: now) { handle(timer: ShardTimer($0)) }
    flushConnections()
    finishDatagrams()
    keepBudget()
    flushLinks()
    flushPackets()
    armReceives()
    leaveOutgoingTunnels()
    finishDrainIfDone()
    forgetEndedLinks()
    noteLoop()
  }

  /// Whether something waits for sends to complete.
  private var isHeldUp: Bool {
    !(dirtyLinks.isEmpty && pendingSends.isEmpty && starvedLinks.isEmpty
      && starvedConnections.isEmpty && starvedReceivers.isEmpty)
  }

  private func handle(_ completion: Completion) {
    guard let operation = OperationToken(completion.token) else { return }
    let slot = operation.slot
    switch operation.kind {
    case .connectionReceive: connectionReceived(slot, completion)
    case .connectionSend: connectionSent(slot, completion)
    case .handshakeReceive: handshakeReceived(slot, completion)
    case .linkReceive: linkReceived(slot, completion)
    case .linkSend: linkSent(slot, completion)
    case .clientAccept: clientAccepted(slot, completion)
    case .connectionConnect: connectionConnected(slot, completion)
    case .connectionClose: connectionClosed(slot)
    case .tunnelAccept: tunnelAccepted(slot, completion)
    case .linkConnect: linkConnected(slot, completion)
    case .linkClose: linkClosed(slot)
    case .listenerClose: listenerClosed(slot)
    case .refusalClose: refusals.remove(slot)
    case .clientDatagram: clientDatagram(slot, completion)
    case .targetDatagram: targetDatagram(slot, completion)
    case .datagramSend: datagramSent(slot, completion)
    case .hubResolve: hubResolved(completion)
    case .targetResolve: targetResolved(slot, completion)
    case .stunResolve: stunResolved(slot, completion)
    case .stunReceive: stunReceived(slot, completion)
    case .stunSend: stunSent(slot, completion)
    case .packetReceive: packetsReceived(slot, completion)
    case .packetSend: packetsSent(slot, completion)
    case .packetClose: packetsClosed(slot)
    case .addressChange: addressesChanged(completion)
    }
  }
}
