// One QUIC link as a tunnel: the verbs and events of `FramedTunnel`, made of native streams and
// datagrams (SPEC 3). This file: what it holds, and what concerns the link.
//
//   ngtcp2's callbacks ─▶ event queue ─▶ pollEvent                      QUICTunnelInput.swift
//   send, finish, … ─▶ stream queues ─▶ turns ─▶ packets                QUICTunnelOutput.swift
//   streams, sessions, control messages       QUICTunnelStreams, …Sessions, …Control.swift

import CNGTCP2
import RIBase
import RICrypto
import RITunnel
import RIWire

/// One end of a link. Made by its `QUICEndpoint`. Sans-I/O.
///
/// Use: as `FramedTunnel`, but for what stands under "the link" below. Output goes by the
/// endpoint's `pollPackets`; whatever a verb queues makes its `hasOutput` true.
///
/// Ownership: slices sent are taken over and kept until the peer has acknowledged them; slices in
/// events are lent until the next `pollEvent` (who keeps one retains it). `end` must be called
/// before the tunnel is dropped.
///
/// Cost: O(1) a packet and a verb. ngtcp2 allocates for each packet out of pools of its own.
public final class QUICTunnel {
  public let role: TunnelRole
  /// The engine's name for the link.
  @exclusivity(unchecked) public var owner = SlotID.none

  unowned(unsafe) let endpoint: QUICEndpoint
  let store: BufferStore
  let settings: QUICSettings
  let budget: MemoryBudget
  // SAFETY: made by `quic_accept` or `quic_connect` right after this object, freed by `free`, used
  // by no other thread. Its callbacks' owner is this object, which the endpoint holds as long.
  @exclusivity(unchecked) var link: OpaquePointer?
  /// Its place in the endpoint.
  @exclusivity(unchecked) var slot = SlotID.none
  @exclusivity(unchecked) var connectionIDs: [ConnectionID] = []

  // What the endpoint knows of it.
  @exclusivity(unchecked) var isDirty = false
  @exclusivity(unchecked) var isReady = false
  @exclusivity(unchecked) var isSurfaced = false
  @exclusivity(unchecked) var countsAsHandshake = true

  // The state of the link.
  @exclusivity(unchecked) public internal(set) var isEstablished = false
  @exclusivity(unchecked) public internal(set) var isEarlyDataAccepted = false
  @exclusivity(unchecked) public internal(set) var peerPin: CertificatePin?
  @exclusivity(unchecked) var trustFailure: TLSError?
  @exclusivity(unchecked) var isAdmitted = false
  /// Why it ended; `.ended` is told once the queue is empty, and then no more.
  @exclusivity(unchecked) var endReason: QUICEndReason?
  @exclusivity(unchecked) var isEndTold = false
  /// The engine has called `end`.
  @exclusivity(unchecked) var isReleased = false
  @exclusivity(unchecked) var closing = ClosingState.open
  /// When its timers were last handled.
  @exclusivity(unchecked) var expiredAt: Instant?
  /// When the endpoint may forget it; set once it has ended.
  @exclusivity(unchecked) var forgetAt: Instant?
  @exclusivity(unchecked) var notices: Notices = []
  @exclusivity(unchecked) var path: QUICPath
  @exclusivity(unchecked) var ticket: [UInt8] = []
  @exclusivity(unchecked) var addressToken: [UInt8] = []
  /// The time of the call that is under way, for callbacks.
  @exclusivity(unchecked) var now = Instant(nanoseconds: 0)

  // Streams and sessions.
  let streams: Slab<QUICStream>
  @exclusivity(unchecked) var sessionTable: StreamTable
  @exclusivity(unchecked) var nextSessionID: UInt32 = 1
  @exclusivity(unchecked) var dataTurns = TurnList()
  @exclusivity(unchecked) var sustainedTurns = TurnList()
  @exclusivity(unchecked) var datagramTurns = TurnList()
  @exclusivity(unchecked) var allowance = SustainedAllowance()
  @exclusivity(unchecked) var datagramCredit = Limits.quicQuantumBytes
  /// What a stream may send of its turn.
  @exclusivity(unchecked) var turnBytes = Int32(Limits.quicQuantumBytes)
  @exclusivity(unchecked) var isConnectionBlocked = false
  @exclusivity(unchecked) var isStarving = false
  @exclusivity(unchecked) var starved: [SlotID] = []
  /// Streams that are to be shut down once ngtcp2 is not in the middle of something.
  @exclusivity(unchecked) var shutdowns: [Int64] = []
  @exclusivity(unchecked) var largeOutCount = 0
  @exclusivity(unchecked) var largeInCount = 0
  @exclusivity(unchecked) var largeInTotal = 0
  @exclusivity(unchecked) var gathered: Slice?
  @exclusivity(unchecked) var gatheredBytes = 0

  // Events.
  @exclusivity(unchecked) var events = EventQueue()
  @exclusivity(unchecked) var overflow: [OverflowBytes] = []
  @exclusivity(unchecked) var departed = SlotID.none
  @exclusivity(unchecked) var lent: Slice?
  @exclusivity(unchecked) var lends = Lends.nothing
  /// A copy, as its memory must stay where it is.
  @exclusivity(unchecked) var lentControl = HeldBytes()
  @exclusivity(unchecked) var lentLarge = HeldBytes()
  @exclusivity(unchecked) var uncreditedBytes: UInt64 = 0

  // The control channel.
  @exclusivity(unchecked) var control = ControlChannel()

  // Figures.
  @exclusivity(unchecked) public internal(set) var activeStreams = 0
  @exclusivity(unchecked) public internal(set) var streamsHeld = 0
  @exclusivity(unchecked) public internal(set) var activeSessions = 0
  @exclusivity(unchecked) public internal(set) var sessionsHeld = 0
  @exclusivity(unchecked) public internal(set) var sustainedStreams = 0
  public var queuedBytes: QueuedBytes { queued }
  @exclusivity(unchecked) var queued = QueuedBytes()
  @exclusivity(unchecked) public internal(set) var unackedBytes = 0
  @exclusivity(unchecked) public internal(set) var bytesReceived: UInt64 = 0
  /// When a packet last came, whether or not it brought an event.
  @exclusivity(unchecked) public internal(set) var lastReceived = Instant(nanoseconds: 0)
  public var bytesSent: UInt64 { sentBytes }
  @exclusivity(unchecked) var sentBytes: UInt64 = 0
  @exclusivity(unchecked) public internal(set) var counters = TunnelCounters()
  /// Datagrams that no path and no stream could carry.
  @exclusivity(unchecked) public internal(set) var datagramsTooLarge: UInt64 = 0
  @exclusivity(unchecked) var datagramsQueued = DatagramsQueued()

  /// Whether both ends have the extension `udpStream`; set before or after `admit`.
  @exclusivity(unchecked) public var usesUDPStreams = false {
    didSet { if usesUDPStreams, !oldValue, isAdmitted { admitLargeDatagrams() } }
  }

  init(role: TunnelRole, endpoint: QUICEndpoint, settings: QUICSettings, path: QUICPath) {
    self.role = role
    self.endpoint = endpoint
    self.settings = settings
    self.path = path
    store = endpoint.store
    budget = endpoint.budget
    streams = Slab(capacity: settings.streamsMax + Limits.quicLargeDatagramsMax * 4)
    var seed: UInt64 = 0
    withUnsafeMutableBytes(of: &seed) {
      quic_random($0.bindMemory(to: UInt8.self).baseAddress, $0.count)
    }
    sessionTable = StreamTable(seed: seed)
    control.decoder = ControlMessageDecoder(sender: role == .edge ? .hub : .edge)
  }

  deinit {
    assert(unackedBytes == 0 && queuedBytes.total == 0, "a tunnel was dropped without end()")
    quic_link_free(link)
  }

  // MARK: The link

  /// The path that is in use.
  public var remote: SocketAddress { path.remote }
  public var local: SocketAddress { path.local }
  /// Hub: before this nothing may be opened to a target (0-RTT may be a replay). (RFC 9001 section
  /// 4.1.2: at the server the handshake is confirmed when it is complete.)
  public var isHandshakeConfirmed: Bool { isEstablished }

  /// The cipher's name; empty until established.
  public var cipherName: String {
    guard let link, isEstablished, let name = quic_link_cipher(link) else { return "" }
    return String(cString: name)
  }

  /// Whether the link was opened with a ticket.
  public var isResumed: Bool { link.map { quic_link_is_resumed($0) } ?? false }

  /// Edge: what opens the next link in 0-RTT, since `.resumable`.
  public var resumption: QUICResumption? {
    guard let link, !ticket.isEmpty else { return nil }
    let parameters = [UInt8](unsafeUninitializedCapacity: 512) { buffer, count in
      count = quic_link_remote_parameters(link, buffer.baseAddress, buffer.count)
    }
    return QUICResumption(session: ticket, parameters: parameters, token: addressToken)
  }

  /// The smoothed and the least round trip; nil before the first sample.
  public var roundTrip: (smoothed: Interval, least: Interval)? {
    guard let link else { return nil }
    var smoothed: UInt64 = 0
    var least: UInt64 = 0
    guard quic_link_round_trip(link, &smoothed, &least) else { return nil }
    return (
      Interval(nanoseconds: Int64(clamping: smoothed)),
      Interval(nanoseconds: Int64(clamping: least))
    )
  }

  /// The congestion window, in bytes.
  public var congestionWindowBytes: Int {
    link.map { Int(clamping: quic_link_congestion_window($0)) } ?? 0
  }

  /// Hub: the edge is who it says. It may open streams and send data from now on; before, it may
  /// send one stream of 16 KiB at most. The edge calls it as well when it is accepted: then the hub
  /// may, with `udpStream`, open streams for large datagrams.
  public func admit() {
    guard let link, !isAdmitted, endReason == nil else { return }
    isAdmitted = true
    if role == .hub {
      quic_link_extend_streams(link, settings.streamsMax - 1, 0)
      quic_link_extend_connection(
        link, Limits.quicConnectionWindowBytes - Limits.quicStrangerWindowBytes)
    }
    if usesUDPStreams { admitLargeDatagrams() }
    endpoint.markDirty(self)
  }

  func admitLargeDatagrams() {
    guard let link else { return }
    quic_link_extend_streams(link, 0, Limits.quicLargeDatagramsMax)
    endpoint.markDirty(self)
  }

  /// Edge: goes on from another local address, at once. False when that is not possible: before
  /// the handshake is confirmed, or while the hub has given out no other connection id.
  @discardableResult
  public func migrate(to local: SocketAddress, now: Instant) -> Bool {
    guard let link, role == .edge, isEstablished, endReason == nil else { return false }
    var to = QUICPath(local: local, remote: path.remote).quic
    guard quic_link_migrate(link, &to, now.nanoseconds) == 0 else { return false }
    path.local = local
    endpoint.markDirty(self)
    return true
  }

  /// Changes the keys of both directions (RFC 9001 section 6); false when that is not possible now.
  @discardableResult
  public func updateKeys(now: Instant) -> Bool {
    guard let link, isEstablished, endReason == nil else { return false }
    let isDone = quic_link_update_keys(link, now.nanoseconds) == 0
    if isDone { endpoint.markDirty(self) }
    return isDone
  }

  /// Ends the tunnel: releases everything queued, forgets all streams without an event, and tells
  /// the peer by CONNECTION_CLOSE: 0 in order, 2 for an edge that is refused (SPEC 3). What the
  /// control channel has queued goes out first as far as the network takes it at once.
  public func end(applicationError: UInt64 = 0, reason: String = "") {
    guard !isReleased else { return }
    isReleased = true
    release()
    if endReason == nil {
      endReason = .ended
      closing = .wanted(.application(applicationError, reason: reason))
      endpoint.markDirty(self)
    }
    isEndTold = true
    endpoint.released(self)
  }

  /// Gives back all buffers and forgets all streams.
  private func release() {
    for index in 0..<streams.slotsEverUsed {
      guard let slot = streams.id(at: index) else { continue }
      if streams[slot].phase == .live { leaveActive(slot) }
      dropQueue(slot)
      store.removeAll(from: &streams[slot].unacked)
      streams[slot].bytes.free()
      streams.remove(slot)
    }
    while let event = events.popFirst() {
      if event.slice.count > 0 { store.release(event.slice) }
    }
    if let lent { store.release(lent) }
    if let gathered { store.release(gathered) }
    lent = nil
    gathered = nil
    lentLarge.free()
    lentControl.free()
    lends = .nothing
    if !overflow.isEmpty { endpoint.overflowingTunnels -= 1 }
    overflow = []
    departed = .none
    dataTurns = TurnList()
    sustainedTurns = TurnList()
    datagramTurns = TurnList()
    starved = []
    unackedBytes = 0
    streamsHeld = 0
    sessionsHeld = 0
    sessionTable = StreamTable(seed: 0)
  }

  /// Frees ngtcp2's part; the endpoint has forgotten it.
  func free() {
    control.output.removeAll()
    quic_link_free(link)
    link = nil
  }

  // MARK: Endings

  /// Ends the link because of ngtcp2's error; the peer is told unless there is nobody to tell.
  func fail(_ error: Int32) {
    guard let link, endReason == nil else { return }
    switch error {
    case QUIC_DRAINING:
      var isApplication = false
      var code: UInt64 = 0
      closing = .silent
      guard quic_link_peer_error(link, &isApplication, &code) else {
        finish(.library(error))
        return
      }
      finish(
        isApplication ? .closed(applicationError: code) : .failedAtPeer(transportError: code))
    case QUIC_IDLE:
      closing = .silent
      finish(.idle)
    case QUIC_HANDSHAKE_TIMEOUT:
      closing = .silent
      finish(.handshakeTimeout)
    case QUIC_VERSION:
      closing = .silent
      finish(.version)
    case QUIC_DROP, QUIC_CLOSING:
      closing = .silent
      finish(.library(error))
    case QUIC_CRYPTO:
      closing = .wanted(.library(error))
      let alert = quic_link_alert(link)
      finish(trustFailure.map { .handshake($0) } ?? (alert != 0 ? .alert(alert) : .library(error)))
    default:
      closing = .wanted(.library(error))
      finish(.library(error))
    }
  }

  /// Ends the link because the peer broke a rule of ours.
  func refuse(_ reason: QUICEndReason) {
    guard endReason == nil else { return }
    closing = .wanted(.application(Self.misuseError, reason: "\(reason)"))
    finish(reason)
  }

  func finish(_ reason: QUICEndReason) {
    endReason = reason
    endpoint.markReady(self)
    endpoint.markDirty(self)
  }

  /// The application error of a peer that breaks a rule (docs/PROTOCOL.md section 10).
  private static let misuseError: UInt64 = 1
}

/// How far a link's end is told to the peer.
enum ClosingState {
  enum Cause {
    case application(UInt64, reason: String)
    case library(Int32)
  }

  case open
  /// CONNECTION_CLOSE is to be written.
  case wanted(Cause)
  /// It was written; what the peer still sends is answered by it, ever more rarely.
  case told(packet: [UInt8], packetsSeen: UInt32)
  /// There is nobody to tell, or the peer knows.
  case silent
}

/// What a link has to tell beside the events of its streams.
struct Notices: OptionSet {
  let rawValue: UInt8
  static let established = Notices(rawValue: 1)
  static let resumable = Notices(rawValue: 2)
  static let moved = Notices(rawValue: 4)
  /// A path was validated: it may be another than before.
  static let validated = Notices(rawValue: 8)
}
