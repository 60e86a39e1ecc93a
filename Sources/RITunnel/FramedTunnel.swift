// A tunnel made of frames over one ordered, reliable byte stream (a TLS link's plaintext): SPEC 2.
// This file: what it holds, and the verbs. Its input and its output are the two files beside it.
//
//   receive ─▶ decoder ─▶ stream table ─▶ windows ─▶ pollEvent          FramedTunnelInput.swift
//   send, finish, … ─▶ stream queues ─▶ scheduler ─▶ pollFrames         FramedTunnelOutput.swift

import RIBase
import RIWire

/// One end of a tunnel. Sans-I/O: plaintext and verbs go in, events and frames are polled out.
///
/// Use: `receive` plaintext and call `pollEvent` until nil; call `pollFrames` whenever `hasOutput`,
/// and `pollEvent` again afterwards, as sending makes room and closes streams. Verbs on a stream
/// that is dead do nothing.
///
/// Ownership: slices sent are taken over, slices in events are lent; `end` returns all that is held
/// and must be called before the tunnel is dropped. Cost: O(1) a frame, no allocation once its
/// tables have grown to the largest number of streams. Not safe for use by two threads.
///
/// Nothing here calls back, so no two accesses of its state can overlap; the run-time check of that
/// was a third of a small frame's cost and is off (`@exclusivity(unchecked)`).
public final class FramedTunnel {
  public let role: TunnelRole
  let store: BufferStore
  let windows: WindowLimits
  let budget: MemoryBudget
  let streams: Slab<StreamState>
  @exclusivity(unchecked) var table: StreamTable
  @exclusivity(unchecked) var decoder: FrameDecoder

  @exclusivity(unchecked) var scheduler = Scheduler()
  @exclusivity(unchecked) var flight = TierFlight()
  /// Streams with a CLOSE or credit to send.
  @exclusivity(unchecked) var controlStreams = StreamList(.control)
  /// Streams with `.closed` or `.room` to tell.
  @exclusivity(unchecked) var eventStreams = StreamList(.event)
  @exclusivity(unchecked) var controlQueue = ControlQueue()
  @exclusivity(unchecked) var configOutput = ConfigOutput()

  /// The stream whose last event was just told: its slot is free from the next `pollEvent` on.
  @exclusivity(unchecked) var departed = SlotID.none
  @exclusivity(unchecked) var nextStreamID: UInt32 = 1
  @exclusivity(unchecked) var isEnded = false

  /// Streams that count for the windows: opened, and neither closed nor reset.
  @exclusivity(unchecked) public internal(set) var activeStreams = 0
  /// Streams that have a place, those that end included.
  public var streamsHeld: Int { streams.count }
  /// Payload bytes of streams that wait for their turn.
  public var queuedBytes: QueuedBytes { queued }
  @exclusivity(unchecked) var queued = QueuedBytes()
  @exclusivity(unchecked) public internal(set) var counters = TunnelCounters()
  /// Sustained flows among the active streams.
  @exclusivity(unchecked) public internal(set) var sustainedStreams = 0

  /// UDP sessions that are neither closed nor reset.
  @exclusivity(unchecked) public internal(set) var activeSessions = 0
  /// Sessions that have a place among the streams, those that end included.
  @exclusivity(unchecked) public internal(set) var sessionsHeld = 0
  @exclusivity(unchecked) var datagramsQueued = DatagramsQueued()

  /// Whether both ends have the extension `autoWindow`; set before the first stream, as
  /// streams that are there keep the windows that they have.
  @exclusivity(unchecked) public var usesAutoWindows = false
  /// The path's round trip without our own queues, once it is known. `autoWindow` goes by it.
  @exclusivity(unchecked) public var pathRoundTrip: Interval?

  /// `windows` are the protocol's but for tests; `budget` is shared with the shard's other tunnels;
  /// `seed` spreads the peer's choice of ids (random in production).
  public init(
    role: TunnelRole, store: BufferStore, now: Instant, windows: WindowLimits = .standard,
    budget: MemoryBudget = MemoryBudget(bytes: Limits.memoryBudgetBytesDefault),
    streamsMax: Int = Limits.streamsPerTunnelMax, seed: UInt64 = 0
  ) {
    self.role = role
    self.store = store
    self.windows = windows
    self.budget = budget
    streams = Slab(capacity: streamsMax)
    table = StreamTable(seed: seed)
    decoder = FrameDecoder(sender: role.peer)
  }

  deinit {
    assert(
      queuedBytes.total == 0 && datagramsQueued.count == 0, "a tunnel was dropped without end()")
  }

  // MARK: Verbs

  /// Edge: opens a stream with its PROXY v1 line, at most 107 bytes. Returns nil when the tunnel
  /// has no place for one more: the client is to be refused.
  public func open(
    header: UnsafeRawBufferPointer, owner: SlotID, now: Instant
  ) -> StreamRef? {
    precondition(header.count <= Limits.openPayloadBytesMax)
    return open(.stream, .open, header: header, owner: owner, now: now)
  }

  /// Opens a stream or session under the next free id. Sessions fill half of the control queue at
  /// most, so that a flood of them keeps out no stream and no answer to a PING.
  func open(
    _ kind: StreamKind, _ type: FrameType, header: UnsafeRawBufferPointer, owner: SlotID,
    now: Instant
  ) -> StreamRef? {
    precondition(role == .edge)
    guard !isEnded, streams.count < streams.capacity else { return nil }
    // SPEC 2.2: ids start at 1 and are not used again before the number space wraps.
    while nextStreamID == 0 || table.find(nextStreamID) != nil { nextStreamID &+= 1 }
    guard kind == .stream || hasRoomForSession else { return nil }
    let id = nextStreamID
    let limit = Limits.controlQueueBytes
    guard
      controlQueue.append(
        type, stream: id, payload: header, limit: kind == .stream ? limit : limit / 2),
      let slot = insert(id, kind, owner: owner, now: now)
    else { return nil }
    nextStreamID &+= 1
    return StreamRef(slot: slot)
  }

  /// Hub: binds the local connection of a stream just opened.
  public func accept(_ stream: StreamRef, owner: SlotID) {
    guard isLive(stream.slot) else { return }
    streams[stream.slot].owner = owner
  }

  /// The local connection of a stream, or `.none` when the stream is gone.
  public func owner(of stream: StreamRef) -> SlotID {
    streams.contains(stream.slot) ? streams[stream.slot].owner : .none
  }

  /// Queues data and takes over its reference. A dead or finished stream's is released.
  public func send(_ slice: Slice, on stream: StreamRef) {
    let slot = stream.slot
    guard slice.count > 0, isLive(slot), streams[slot].sending == .open,
      streams[slot].kind == .stream
    else {
      store.release(slice)
      return
    }
    store.append(slice, to: &streams[slot].queue)
    queued[streams[slot].tier] += Int(slice.count)
    if streams[slot].isReady { scheduler.enqueue(slot, in: streams) }
  }

  /// Ends our direction behind the data already queued.
  public func finish(_ stream: StreamRef) {
    let slot = stream.slot
    guard isLive(slot), streams[slot].sending == .open, streams[slot].kind == .stream else {
      return
    }
    streams[slot].sending = .finishing
    if streams[slot].isCloseDue { controlStreams.append(slot, in: streams) }
  }

  /// Ends the stream at once in both directions and drops its queued data. It is dead.
  public func reset(_ stream: StreamRef) {
    let slot = stream.slot
    guard streams.contains(slot) else { return }
    switch streams[slot].phase {
    case .live: beginReset(slot)
    case .resetting: break
    case .closed:
      // Its last event is not told yet, and now never will be.
      guard slot != departed else { return }
      eventStreams.remove(slot, in: streams)
      free(slot)
    }
  }

  /// Reports bytes of `.data` events as written to the local socket, so that credit may return.
  public func consumed(_ bytes: Int, on stream: StreamRef, now: Instant) {
    let slot = stream.slot
    guard isLive(slot) else { return }
    streams[slot].receiveWindow.consumed(bytes)
    if streams[slot].receiveWindow.isAuto {
      streams[slot].tuner.consumed(
        bytes, buffered: streams[slot].receiveWindow.buffered, now: now,
        roundTrip: roundTrip, limits: windows,
        mayGrow: budget.mayGrow)
    }
    if creditDue(slot) > 0 { controlStreams.append(slot, in: streams) }
  }

  /// Whether the peer may send half of a stream's window or more without further credit.
  public func isPeerAtEase(_ stream: StreamRef) -> Bool {
    isLive(stream.slot) && streams[stream.slot].receiveWindow.isAtEase
  }

  /// How many bytes may be read from the local socket now: what credit and
  /// `Limits.streamQueueBytes` leave beyond what is queued. When that is less than `least`, `.room`
  /// will tell when it is not.
  public func sendRoom(_ stream: StreamRef, atLeast least: Int = 1) -> Int {
    guard isLive(stream.slot) else { return 0 }
    let room = streams[stream.slot].roomBytes
    if room < least { streams[stream.slot].roomWanted = Int32(least) }
    return room
  }

  /// Whether data of a stream waits to be sent.
  public func hasQueued(_ stream: StreamRef) -> Bool {
    isLive(stream.slot) && !streams[stream.slot].queue.isEmpty
  }

  /// What a stream is called on the wire, and the bytes it has moved, both ways; nil when it is
  /// gone.
  public func details(of stream: StreamRef) -> (id: UInt32, bytes: UInt64)? {
    guard streams.contains(stream.slot) else { return nil }
    return (streams[stream.slot].id, streams[stream.slot].classifier.bytes)
  }

  /// Whether what was sent on a stream is being read: it is more than a window and what the kernel
  /// may hold for a client that reads nothing.
  public func isRead(_ stream: StreamRef) -> Bool {
    guard streams.contains(stream.slot) else { return false }
    let unread = UInt64(streams[stream.slot].sendWindow.size) + Limits.unreadKernelBytes
    return streams[stream.slot].classifier.bytes > unread
  }

  /// The tier that a stream's data goes in.
  public func tier(of stream: StreamRef) -> Tier {
    streams.contains(stream.slot) ? streams[stream.slot].tier : .data
  }

  /// Lends each stream's queue that has data, to be replaced by one of the same bytes elsewhere.
  /// O(all streams).
  public func replaceQueues(_ body: (inout SliceQueue) -> Void) {
    for index in 0..<streams.slotsEverUsed {
      guard let slot = streams.id(at: index), streams[slot].kind == .stream,
        !streams[slot].queue.isEmpty
      else { continue }
      let before = streams[slot].queue.byteCount
      body(&streams[slot].queue)
      precondition(streams[slot].queue.byteCount == before, "a queue lost bytes")
    }
  }

  /// Hub: queues a PING with at most 64 bytes; dropped and counted when too much waits already.
  public func sendPing(_ payload: UnsafeRawBufferPointer) {
    precondition(role == .hub && payload.count <= Limits.pingPayloadBytesMax)
    guard !isEnded else { return }
    if !controlQueue.append(.ping, stream: 0, payload: payload) { counters.probesDropped &+= 1 }
  }

  /// Edge: queues the answer to a PING, its payload; dropped and counted when
  /// `Limits.pongsQueuedMax` wait already.
  public func sendPong(_ payload: UnsafeRawBufferPointer) {
    precondition(role == .edge && payload.count <= Limits.pingPayloadBytesMax)
    guard !isEnded else { return }
    guard controlQueue.pongCount < Limits.pongsQueuedMax,
      controlQueue.append(.pong, stream: 0, payload: payload)
    else {
      counters.probesDropped &+= 1
      return
    }
  }

  /// Hub: queues a CONFIG, which replaces one that waits. At most `Limits.configPayloadBytesMax`.
  public func sendConfig(_ payload: [UInt8]) {
    precondition(role == .hub && payload.count <= Limits.configPayloadBytesMax)
    if !isEnded { configOutput.replace(with: payload) }
  }

  /// Edge: queues a HELLO, ahead of whatever is opened later. At most
  /// `Limits.helloPayloadBytesMax`; dropped and counted when too much waits already.
  public func sendHello(_ payload: [UInt8]) {
    precondition(role == .edge && payload.count <= Limits.helloPayloadBytesMax)
    guard !isEnded else { return }
    let isQueued = payload.withUnsafeBytes {
      controlQueue.append(.hello, stream: 0, payload: $0)
    }
    if !isQueued { counters.hellosDropped &+= 1 }
  }

  /// Ends the tunnel: releases everything queued and forgets all streams without an event.
  public func end() {
    isEnded = true
    for index in 0..<streams.slotsEverUsed {
      guard let slot = streams.id(at: index) else { continue }
      if streams[slot].phase == .live { leaveActive(slot) }
      dropQueue(slot)
      free(slot)
    }
    table = StreamTable(seed: 0)
    scheduler = Scheduler()
    controlStreams = StreamList(.control)
    eventStreams = StreamList(.event)
    controlQueue = ControlQueue()
    configOutput = ConfigOutput()
  }

  // MARK: Streams

  @inline(__always)
  func isLive(_ slot: SlotID) -> Bool {
    streams.contains(slot) && streams[slot].phase == .live
  }

  /// Takes a slot for a new stream or session; nil when there is none left.
  func insert(_ id: UInt32, _ kind: StreamKind, owner: SlotID, now: Instant) -> SlotID? {
    let state = StreamState(
      id: id, kind: kind, owner: owner, windows: windows, isAuto: usesAutoWindows,
      activeStreams: activeStreams + 1, now: now)
    guard kind == .stream || hasRoomForSession, let slot = streams.insert(state) else { return nil }
    table.insert(id, slot)
    switch kind {
    case .stream:
      activeStreams += 1
      counters.streamsOpened &+= 1
    case .session:
      activeSessions += 1
      sessionsHeld += 1
      counters.sessionsOpened &+= 1
    }
    return slot
  }

  /// Gives the slot of a stream or session back.
  func free(_ slot: SlotID) {
    if streams[slot].kind == .session { sessionsHeld -= 1 }
    streams.remove(slot)
  }

  /// Makes a live stream wait for nothing but its CLOSE 0x01. It keeps its id until that is sent:
  /// the bound on streams is one on resets waiting, too.
  func beginReset(_ slot: SlotID) {
    dropQueue(slot)
    scheduler.remove(slot, in: streams)
    eventStreams.remove(slot, in: streams)
    controlStreams.append(slot, in: streams)
    leaveActive(slot)
    streams[slot].phase = .resetting
  }

  /// Takes a live stream, of which the peer needs to hear no more, out of everything but its slot.
  func retire(_ slot: SlotID) {
    dropQueue(slot)
    scheduler.remove(slot, in: streams)
    controlStreams.remove(slot, in: streams)
    eventStreams.remove(slot, in: streams)
    table.remove(streams[slot].id)
    leaveActive(slot)
    streams[slot].phase = .closed
  }

  /// A live stream stops to count: for the others' windows, for the budget, as sustained.
  private func leaveActive(_ slot: SlotID) {
    guard streams[slot].kind == .stream else {
      activeSessions -= 1
      return
    }
    activeStreams -= 1
    if streams[slot].tier == .sustained {
      sustainedStreams -= 1
      flight.remove(streams[slot].sendWindow)
    }
    budget.grownBytes -= grownBytes(slot)
  }

  // MARK: Credit

  /// The credit to return to the peer now.
  func creditDue(_ slot: SlotID) -> Int {
    guard streams[slot].receiving == .open else { return 0 }
    let isSustained = streams[slot].tier == .sustained
    return streams[slot].receiveWindow.creditDue(
      target: windowTarget(slot), stepMax: isSustained ? Limits.sustainedCreditStepBytes : .max)
  }

  /// The path's round trip, as windows go by it.
  var roundTrip: Interval { max(pathRoundTrip ?? .zero, Limits.windowRoundTripMin) }

  /// Changes a stream's send window, and what is counted of it.
  @inline(__always)
  func changeSendWindow(_ slot: SlotID, _ body: (inout SendWindow) -> Void) {
    guard streams[slot].tier == .sustained else { return body(&streams[slot].sendWindow) }
    flight.remove(streams[slot].sendWindow)
    body(&streams[slot].sendWindow)
    flight.add(streams[slot].sendWindow)
  }

  /// Counts credit that was written into a batch.
  func creditReturned(_ credit: Int, to slot: SlotID) {
    let before = grownBytes(slot)
    streams[slot].receiveWindow.returned(credit)
    budget.grownBytes += grownBytes(slot) - before
  }

  /// How large the peer's window on a stream should be.
  private func windowTarget(_ slot: SlotID) -> Int {
    let floor: Int
    var target: Int
    if streams[slot].receiveWindow.isAuto {
      floor = windows.autoBytesMin
      target = Int(streams[slot].tuner.target)
    } else {
      floor = windows.bytesMin
      target = windows.window(activeStreams: activeStreams)
      // SPEC 2.5: for good, and told to the peer by withheld credit only.
      if streams[slot].tier == .sustained { target = min(target, Limits.sustainedWindowBytes) }
    }
    switch budget.pressure {
    case .none: return target
    case .high: return min(target, floor)
    case .critical: return max(1, floor / Limits.pressureWindowDivisor)
    }
  }

  /// What a stream's window has been granted beyond the floor.
  private func grownBytes(_ slot: SlotID) -> Int {
    guard streams[slot].receiveWindow.isAuto else { return 0 }
    return max(0, Int(streams[slot].receiveWindow.window) - windows.autoBytesMin)
  }

  /// Counts payload of a live stream, either way. One that is sustained now changes its tier.
  @inline(__always)
  func moved(_ bytes: Int, of slot: SlotID, now: Instant) {
    guard streams[slot].classifier.moved(bytes, now: now), streams[slot].tier == .data else {
      return
    }
    let waiting = Int(streams[slot].queue.byteCount)
    queued.data -= waiting
    queued.sustained += waiting
    scheduler.setTier(.sustained, of: slot, in: streams)
    flight.add(streams[slot].sendWindow)
    sustainedStreams += 1
    counters.streamsSustained &+= 1
    streams[slot].isSustainedUntold = true
    eventStreams.append(slot, in: streams)
  }

  /// Has `.room` told if it is due.
  func noteRoom(_ slot: SlotID) {
    if streams[slot].isRoomDue { eventStreams.append(slot, in: streams) }
  }

  private func dropQueue(_ slot: SlotID) {
    guard streams[slot].kind == .stream else { return dropDatagrams(of: slot) }
    queued[streams[slot].tier] -= Int(streams[slot].queue.byteCount)
    store.removeAll(from: &streams[slot].queue)
  }
}
