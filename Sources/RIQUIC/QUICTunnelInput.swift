// The inbound half: what ngtcp2 calls back goes into the event queue, the engine polls it out.

import CNGTCP2
import RIBase
import RITunnel
import RIWire

/// What came while the pool had no buffer: kept until there is one. At most what the windows allow,
/// as no packet is taken while any of this waits.
struct OverflowBytes {
  let kind: QueuedEvent.Kind
  let slot: SlotID
  let bytes: [UInt8]
}

/// Where the bytes of the last event are.
enum Lends { case nothing, slice, control, large }

extension QUICTunnel {
  // MARK: Polling

  /// The next event, or nil when there is nothing to tell.
  public func pollEvent(now: Instant) -> QUICEvent? {
    self.now = now
    bury()
    guard !isReleased, !isEndTold else { return nil }
    if notices.remove(.established) != nil { return .established }
    if endReason == nil || isEstablished, let event = pollControl() { return event }
    restoreOverflow()
    while let queued = events.popFirst() {
      if let event = tell(queued) { return .tunnel(event) }
      if queued.slice.count > 0 { store.release(queued.slice) }
    }
    if notices.remove(.moved) != nil { return .moved }
    if notices.remove(.resumable) != nil { return .resumable }
    if let endReason {
      isEndTold = true
      return .ended(endReason)
    }
    return nil
  }

  /// The bytes of the last opened, sessionOpened, datagram, config, ping, pong, hello or
  /// controlBytes event; valid until the next `pollEvent` or the endpoint's next `receive`.
  public var payload: UnsafeRawBufferPointer {
    switch lends {
    case .nothing: UnsafeRawBufferPointer(start: nil, count: 0)
    case .slice: lent.map { store.bytes($0) } ?? UnsafeRawBufferPointer(start: nil, count: 0)
    case .control: controlPayload
    case .large:
      UnsafeRawBufferPointer(rebasing: lentLarge.bytes[SessionDatagram.headerBytes...])
    }
  }

  /// Takes back what the last event lent, and frees the stream whose last event it was.
  private func bury() {
    if let lent { store.release(lent) }
    lent = nil
    if lends == .large { lentLarge.free() }
    lends = .nothing
    guard departed != .none else { return }
    let slot = departed
    departed = .none
    freeIfDone(slot)
  }

  /// Turns a queued event into one for the engine; nil when its stream takes none any more. An
  /// event's reference of its slice becomes the tunnel's.
  private func tell(_ queued: QueuedEvent) -> TunnelEvent? {
    let slot = queued.slot
    guard streams.contains(slot) else { return nil }
    let stream = StreamRef(slot: slot)
    switch queued.kind {
    case .reset, .closed:
      guard streams[slot].phase == .ending else { return nil }
      streams[slot].phase = .dead
      departed = slot
      return queued.kind == .reset ? .reset(stream) : .closed(stream)
    case .room:
      streams[slot].isRoomQueued = false
      guard isLive(slot), streams[slot].roomWanted > 0 else { return nil }
      streams[slot].roomWanted = 0
      return .room(stream)
    case .finished:
      guard isHeard(slot) else { return nil }
      return .finished(stream)
    case .sustained: return isLive(slot) ? .sustained(stream) : nil
    case .opened, .data, .sessionOpened, .datagram:
      guard isHeard(slot) else { return nil }
      lent = queued.slice.count > 0 ? queued.slice : nil
      lends = .slice
      switch queued.kind {
      case .opened: return .opened(stream)
      case .data: return .data(stream, queued.slice)
      case .sessionOpened: return .sessionOpened(stream)
      default: return .datagram(stream)
      }
    case .largeDatagram: return tellLarge(slot)
    }
  }

  /// Whether a stream's data is still for the engine: it is live, or the peer's reset or its end
  /// stand behind the data.
  private func isHeard(_ slot: SlotID) -> Bool {
    streams[slot].phase == .live || (streams[slot].phase == .ending && !streams[slot].isReset)
  }

  /// A whole large datagram: told as its session's.
  private func tellLarge(_ slot: SlotID) -> TunnelEvent? {
    lentLarge = streams[slot].bytes
    lends = .large
    streams[slot].bytes = HeldBytes()
    streams[slot].phase = .dead
    freeIfDone(slot)
    guard case .data(let id)? = SessionDatagram.parse(lentLarge.bytes),
      let session = sessionTable.find(id), isLive(session)
    else {
      counters.framesDropped &+= 1
      lentLarge.free()
      lends = .nothing
      return nil
    }
    streams[session].answeredAt = now
    counters.datagramsReceived &+= 1
    counters.datagramBytesReceived &+= UInt64(lentLarge.bytes.count - SessionDatagram.headerBytes)
    return .datagram(StreamRef(slot: session))
  }

  // MARK: Queueing

  func queue(_ kind: QueuedEvent.Kind, _ slot: SlotID) {
    if overflow.isEmpty {
      events.append(QueuedEvent(kind: kind, slot: slot))
    } else {
      overflow.append(OverflowBytes(kind: kind, slot: slot, bytes: []))
    }
    endpoint.markReady(self)
  }

  func queue(_ kind: QueuedEvent.Kind, _ slot: SlotID, _ bytes: UnsafeRawBufferPointer) {
    guard bytes.count > 0 || kind != .data else { return }
    if overflow.isEmpty, let slice = endpoint.arena.copy(bytes) {
      if kind != .data || !events.extendLast(slot, with: slice) {
        if slice.count > 0 { store.retain(slice) }
        events.append(QueuedEvent(kind: kind, slot: slot, slice: slice))
      }
    } else {
      // ngtcp2 hands over all that it has put in order, however little room is left for it.
      overflow.append(OverflowBytes(kind: kind, slot: slot, bytes: Array(bytes)))
      endpoint.overflowingTunnels += overflow.count == 1 ? 1 : 0
    }
    endpoint.markReady(self)
  }

  /// Moves what had no buffer into the queue, as far as there are buffers now.
  private func restoreOverflow() {
    guard !overflow.isEmpty else { return }
    var done = 0
    for item in overflow {
      let slice: Slice
      if item.bytes.isEmpty {
        slice = Slice(buffer: .nothing, offset: 0, count: 0)
      } else {
        guard let copy = item.bytes.withUnsafeBytes({ endpoint.arena.copy($0) }) else { break }
        store.retain(copy)
        slice = copy
      }
      events.append(QueuedEvent(kind: item.kind, slot: item.slot, slice: slice))
      done += 1
    }
    overflow.removeFirst(done)
    if overflow.isEmpty { endpoint.overflowingTunnels -= 1 }
  }

  // MARK: Callbacks

  /// The peer has opened a stream. False ends the link.
  func streamOpened(_ id: Int64) -> Bool {
    guard let link else { return true }
    let isUnidirectional = id & 2 != 0
    if role == .hub, id == 0 {
      control.id = 0
      return true
    }
    if isUnidirectional, !usesUDPStreams || largeInCount >= Limits.quicLargeDatagramsMax {
      shutdowns.append(id)
      return true
    }
    let new = QUICStream(
      id: id, kind: isUnidirectional ? .largeIn : .stream, owner: .none,
      windows: settings.windows, now: now)
    guard role == .hub || isUnidirectional, let slot = insert(new) else {
      counters.streamsRefused &+= 1
      shutdowns.append(id)
      return true
    }
    quic_link_tag_stream(link, id, slot.tag)
    return true
  }

  /// Bytes of a stream, in order. False ends the link.
  func streamData(_ id: Int64, _ tag: UInt64, _ bytes: UnsafeRawBufferPointer, isLast: Bool) -> Bool
  {
    // What all streams may have on their way is bounded by the link's window; what was delivered
    // is bounded by its stream's.
    uncreditedBytes += UInt64(bytes.count)
    if id == control.id {
      controlData(bytes, isLast: isLast)
      return true
    }
    let slot = SlotID(tag: tag)
    guard tag != 0, isLive(slot) else { return true }
    if streams[slot].kind == .largeIn {
      largeData(slot, bytes, isLast: isLast)
      return true
    }
    counters.dataBytesReceived &+= UInt64(bytes.count)
    counters.dataFramesReceived &+= 1
    if streams[slot].tier == .sustained {
      counters.sustainedBytesReceived &+= UInt64(bytes.count)
      counters.sustainedFramesReceived &+= 1
    }
    // ngtcp2 enforces the window; this only keeps the books.
    guard streams[slot].receiveWindow.received(bytes.count, limits: settings.windows) else {
      counters.creditOverdrawn &+= 1
      streamReset(slot)
      return true
    }
    moved(bytes.count, of: slot)
    if streams[slot].isOpened {
      queue(.data, slot, bytes)
    } else if !headerData(slot, bytes) {
      return true
    }
    if isLast {
      streams[slot].isReceiveFinished = true
      guard streams[slot].isOpened else {
        // It ended within its header.
        refuseStream(slot)
        return true
      }
      leaveActiveIfEnded(slot)
      queue(.finished, slot)
    }
    return true
  }

  /// The hub's first bytes of a stream are its PROXY v1 line. False when it is none.
  private func headerData(_ slot: SlotID, _ bytes: UnsafeRawBufferPointer) -> Bool {
    let limit = Limits.openPayloadBytesMax
    let held = streams[slot].bytes.count
    let searched = bytes.prefix(limit - held)
    guard let end = searched.firstIndex(of: UInt8(ascii: "\n")) else {
      guard held + bytes.count < limit else {
        refuseStream(slot)
        return false
      }
      streams[slot].bytes.append(bytes, limit: limit)
      streams[slot].receiveWindow.consumed(bytes.count)
      return true
    }
    let line = UnsafeRawBufferPointer(rebasing: bytes[...end])
    streams[slot].receiveWindow.consumed(line.count)
    activate(slot)
    if held == 0 {
      queue(.opened, slot, line)
    } else {
      streams[slot].bytes.append(line, limit: limit)
      queue(.opened, slot, streams[slot].bytes.bytes)
      streams[slot].bytes.free()
    }
    queue(.data, slot, UnsafeRawBufferPointer(rebasing: bytes[(end + 1)...]))
    return true
  }

  /// A stream without a header, which the engine has never heard of.
  private func refuseStream(_ slot: SlotID) {
    counters.streamsRefused &+= 1
    shutdowns.append(streams[slot].id)
    retire(slot, as: .dead)
    if streams[slot].kind == .largeIn {
      forgetBelow(slot)
      freeIfDone(slot)
    }
  }

  private func largeData(_ slot: SlotID, _ bytes: UnsafeRawBufferPointer, isLast: Bool) {
    let limit = SessionDatagram.headerBytes + Limits.udpPayloadBytesMax
    guard streams[slot].bytes.count + bytes.count <= limit else {
      refuseStream(slot)
      return
    }
    streams[slot].bytes.append(bytes, limit: limit)
    guard isLast else { return }
    streams[slot].isReceiveFinished = true
    forgetBelow(slot)
    largeInTotal += 1
    if largeInTotal < Limits.quicLargeDatagramsPerLinkMax, let link {
      quic_link_extend_streams(link, 0, 1)
    }
    queue(.largeDatagram, slot)
  }

  /// ngtcp2 0.12 never closes a unidirectional stream of the peer, so nothing is waited for.
  private func forgetBelow(_ slot: SlotID) {
    if let link { quic_link_tag_stream(link, streams[slot].id, 0) }
    streams[slot].isClosedBelow = true
  }

  /// The peer resets a stream, or reads it no more (RFC 9000 sections 19.4, 19.5).
  func streamReset(_ slot: SlotID) {
    guard isLive(slot) else { return }
    shutdowns.append(streams[slot].id)
    guard streams[slot].isOpened else {
      retire(slot, as: .dead)
      return
    }
    retire(slot, as: .ending)
    streams[slot].isReset = true
    queue(.reset, slot)
  }

  /// Nothing of the stream had come before its reset, and nothing will come of it: the peer may
  /// open another in its place.
  func unknownStreamReset(_ id: Int64) {
    guard let link, id & 3 == 0, role == .hub, !quic_link_tag_stream(link, id, 0) else { return }
    quic_link_extend_streams(link, 1, 0)
  }

  /// ngtcp2 has forgotten a stream: nothing of it will ever be sent again.
  func streamClosed(_ id: Int64, _ tag: UInt64) {
    if id == control.id {
      // Whoever resets the control channel has ended the link.
      control.isFinished = true
      endpoint.markReady(self)
      return
    }
    // The peer may open another.
    if let link, id & 3 == 0, role == .hub { quic_link_extend_streams(link, 1, 0) }
    let slot = SlotID(tag: tag)
    guard tag != 0, streams.contains(slot) else { return }
    unackedBytes -= Int(streams[slot].unacked.byteCount)
    store.removeAll(from: &streams[slot].unacked)
    streams[slot].isClosedBelow = true
    if streams[slot].phase == .live {
      if streams[slot].isOpened {
        // Whoever stops to read a stream that it has ended itself is heard of by its close alone.
        let isWhole = streams[slot].isReceiveFinished && streams[slot].sending == .finished
        retire(slot, as: .ending)
        streams[slot].isReset = !isWhole
        queue(isWhole ? .closed : .reset, slot)
      } else {
        retire(slot, as: .dead)
      }
    }
    freeIfDone(slot)
    noteStarved()
  }

  /// The peer has everything up to so many more bytes.
  func acknowledged(_ id: Int64, _ tag: UInt64, _ count: Int) {
    if id == control.id {
      control.output.acknowledged(count)
      return
    }
    let slot = SlotID(tag: tag)
    guard tag != 0, streams.contains(slot), streams[slot].kind == .stream else { return }
    let known = min(count, Int(streams[slot].unacked.byteCount))
    store.dropFirst(known, from: &streams[slot].unacked)
    unackedBytes -= known
    noteStarved()
  }

  func credited(_ id: Int64, _ tag: UInt64) {
    if id == control.id {
      control.isBlocked = false
      return
    }
    let slot = SlotID(tag: tag)
    guard tag != 0, isLive(slot) else { return }
    streams[slot].isCredited = true
    streams[slot].isBlocked = false
    enqueue(slot)
    noteRoom(slot)
  }

  func handshakeCompleted(isEarlyDataAccepted: Bool) {
    isEstablished = true
    self.isEarlyDataAccepted = isEarlyDataAccepted
    notices.insert(.established)
    endpoint.handshakeCompleted(self)
  }

  /// Nothing that was sent has arrived: the control channel begins anew.
  func earlyDataRejected() {
    control.id = -1
    control.isBlocked = false
    control.output.rewind()
  }

  func pathValidated(isGood: Bool) {
    guard isGood else { return }
    notices.insert(.validated)
  }
}
