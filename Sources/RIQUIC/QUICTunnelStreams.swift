// Streams: the verbs of a tunnel, credit, and how streams leave.

import CNGTCP2
import RIBase
import RITunnel

/// SPEC 3: RESET_STREAM and STOP_SENDING carry this.
let streamResetError: UInt64 = 1

extension SlotID {
  /// As ngtcp2 keeps it with a stream. Never 0: the generation of a taken slot is odd.
  var tag: UInt64 { UInt64(generation) << 32 | UInt64(index) }

  init(tag: UInt64) {
    self.init(index: UInt32(truncatingIfNeeded: tag), generation: UInt32(tag >> 32))
  }
}

extension QUICTunnel {
  // MARK: Verbs

  /// Edge: opens a stream with its PROXY v1 line, at most 107 bytes. Returns nil when the tunnel
  /// has no place for one more or the hub allows none: the client is to be refused.
  public func open(
    header: UnsafeRawBufferPointer, owner: SlotID, now: Instant
  ) -> StreamRef? {
    precondition(role == .edge && header.count <= Limits.openPayloadBytesMax)
    guard let link, endReason == nil, isEstablished, streamsHeld < settings.streamsMax else {
      return nil
    }
    guard let line = hold(header) else { return nil }
    var id: Int64 = -1
    guard quic_link_open_bidi(link, &id, 0) == 0 else {
      store.release(line)
      return nil
    }
    let new = QUICStream(id: id, kind: .stream, owner: owner, windows: settings.windows, now: now)
    guard let slot = insert(new) else {
      store.release(line)
      quic_link_shutdown_stream(link, id, streamResetError)
      return nil
    }
    quic_link_tag_stream(link, id, slot.tag)
    activate(slot)
    // Held already: what `send` would copy again.
    store.append(line, to: &streams[slot].queue)
    queued[.data] += header.count
    enqueue(slot)
    return StreamRef(slot: slot)
  }

  /// Hub: binds the local connection of a stream just opened, or of a session.
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
    let count = Int(slice.count)
    store.append(compacted(slice), to: &streams[slot].queue)
    queued[streams[slot].tier] += count
    enqueue(slot)
  }

  /// Ends our direction behind the data already queued.
  public func finish(_ stream: StreamRef) {
    let slot = stream.slot
    guard isLive(slot), streams[slot].sending == .open, streams[slot].kind == .stream else {
      return
    }
    streams[slot].sending = .finishing
    enqueue(slot)
  }

  /// Ends the stream at once in both directions and drops its queued data. It is dead.
  public func reset(_ stream: StreamRef) {
    let slot = stream.slot
    guard streams.contains(slot) else { return }
    switch streams[slot].phase {
    case .live:
      retire(slot, as: .dead)
      if streams[slot].kind != .session { shutDown(streams[slot].id) }
    case .ending:
      // Its last event is not told yet, and now never will be.
      streams[slot].phase = .dead
    case .dead: return
    }
    freeIfDone(slot)
  }

  /// Reports bytes of `.data` events as written to the local socket, so that credit may return.
  public func consumed(_ bytes: Int, on stream: StreamRef, now: Instant) {
    let slot = stream.slot
    guard isLive(slot), streams[slot].kind == .stream else { return }
    streams[slot].receiveWindow.consumed(bytes)
    streams[slot].tuner.consumed(
      bytes, buffered: streams[slot].receiveWindow.buffered, now: now, roundTrip: windowRoundTrip,
      limits: settings.windows, mayGrow: budget.mayGrow)
    returnCredit(slot)
  }

  /// How many bytes may be read from the local socket now. When that is less than `least`, `.room`
  /// will tell when it is not.
  public func sendRoom(_ stream: StreamRef, atLeast least: Int = 1) -> Int {
    let slot = stream.slot
    guard isLive(slot), streams[slot].sending == .open else { return 0 }
    let room = roomBytes(slot)
    if room < least {
      streams[slot].roomWanted = Int32(least)
      if isStarving, !streams[slot].isStarved {
        streams[slot].isStarved = true
        starved.append(slot)
      }
    }
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
    let state = streams[stream.slot]
    return (UInt32(truncatingIfNeeded: state.id), state.classifier.bytes)
  }

  /// Whether what was sent on a stream is being read: the peer has given credit, and it is more
  /// than the kernel may hold for a client that reads nothing.
  public func isRead(_ stream: StreamRef) -> Bool {
    guard streams.contains(stream.slot) else { return false }
    return streams[stream.slot].isCredited
      && streams[stream.slot].classifier.bytes > Limits.unreadKernelBytes
  }

  /// The tier that a stream's data goes in.
  public func tier(of stream: StreamRef) -> Tier {
    streams.contains(stream.slot) ? streams[stream.slot].tier : .data
  }

  /// Lends each stream's queue of data that was never sent, to be replaced by one of the same bytes
  /// elsewhere. (What was sent stays where it is until acknowledged.) O(all streams).
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

  // MARK: How streams come and go

  @inline(__always)
  func isLive(_ slot: SlotID) -> Bool { streams.contains(slot) && streams[slot].phase == .live }

  func insert(_ stream: QUICStream) -> SlotID? {
    guard let slot = streams.insert(stream) else { return nil }
    switch stream.kind {
    case .stream: streamsHeld += 1
    case .session:
      streamsHeld += 1
      sessionsHeld += 1
    case .largeIn: largeInCount += 1
    case .largeOut: largeOutCount += 1
    }
    return slot
  }

  /// The stream counts from now on.
  func activate(_ slot: SlotID) {
    streams[slot].isOpened = true
    streams[slot].isActive = true
    if streams[slot].kind == .session {
      activeSessions += 1
      counters.sessionsOpened &+= 1
    } else {
      activeStreams += 1
      counters.streamsOpened &+= 1
    }
  }

  /// Takes a live stream out of everything but its slot.
  func retire(_ slot: SlotID, as phase: QUICStreamPhase) {
    dropQueue(slot)
    leaveLine(slot)
    leaveActive(slot)
    if streams[slot].kind == .session {
      sessionTable.remove(UInt32(truncatingIfNeeded: streams[slot].id))
      streams[slot].isClosedBelow = true
    }
    streams[slot].phase = phase
  }

  func leaveActive(_ slot: SlotID) {
    guard streams[slot].isActive else { return }
    streams[slot].isActive = false
    guard streams[slot].kind == .stream else {
      activeSessions -= 1
      return
    }
    activeStreams -= 1
    if streams[slot].tier == .sustained { sustainedStreams -= 1 }
    budget.grownBytes -= grownBytes(slot)
  }

  /// Both directions have ended, as far as we and the peer are concerned: it counts no more.
  func leaveActiveIfEnded(_ slot: SlotID) {
    if streams[slot].isReceiveFinished, streams[slot].sending == .finished { leaveActive(slot) }
  }

  func dropQueue(_ slot: SlotID) {
    switch streams[slot].kind {
    case .stream:
      queued[streams[slot].tier] -= Int(streams[slot].queue.byteCount)
      store.removeAll(from: &streams[slot].queue)
    case .session: dropDatagrams(of: slot)
    case .largeIn, .largeOut: break
    }
  }

  /// Frees the slot of a stream that neither the engine nor ngtcp2 knows any more.
  func freeIfDone(_ slot: SlotID) {
    guard streams.contains(slot), streams[slot].phase == .dead, streams[slot].isClosedBelow,
      slot != departed
    else { return }
    switch streams[slot].kind {
    case .stream: streamsHeld -= 1
    case .session:
      streamsHeld -= 1
      sessionsHeld -= 1
    case .largeIn: largeInCount -= 1
    case .largeOut: largeOutCount -= 1
    }
    streams[slot].bytes.free()
    streams.remove(slot)
  }

  /// Sends RESET_STREAM and STOP_SENDING.
  func shutDown(_ id: Int64) {
    shutdowns.append(id)
    endpoint.markDirty(self)
  }

  /// Counts payload of a live stream, either way. One that is sustained now changes its tier.
  @inline(__always)
  func moved(_ bytes: Int, of slot: SlotID) {
    guard streams[slot].classifier.moved(bytes, now: now), streams[slot].tier == .data,
      streams[slot].isActive
    else { return }
    becomeSustained(slot)
  }

  private func becomeSustained(_ slot: SlotID) {
    let waiting = Int(streams[slot].queue.byteCount)
    queued[.data] -= waiting
    queued[.sustained] += waiting
    let isInLine = streams[slot].turn.isLinked
    leaveLine(slot)
    streams[slot].tier = .sustained
    if isInLine { enqueue(slot) }
    sustainedStreams += 1
    counters.streamsSustained &+= 1
    queue(.sustained, slot)
  }

  // MARK: Lines

  /// Puts a stream at the end of its line if it has something to send.
  func enqueue(_ slot: SlotID) {
    guard streams[slot].hasDataToSend, !streams[slot].turn.isLinked else { return }
    switch streams[slot].kind {
    case .session: datagramTurns.append(slot, in: streams)
    case .stream where streams[slot].tier == .sustained:
      sustainedTurns.append(slot, in: streams)
    default: dataTurns.append(slot, in: streams)
    }
    endpoint.markDirty(self)
  }

  func leaveLine(_ slot: SlotID) {
    streams[slot].deficitBytes = 0
    switch streams[slot].kind {
    case .session: datagramTurns.remove(slot, in: streams)
    case .stream where streams[slot].tier == .sustained:
      sustainedTurns.remove(slot, in: streams)
    default: dataTurns.remove(slot, in: streams)
    }
  }
}
