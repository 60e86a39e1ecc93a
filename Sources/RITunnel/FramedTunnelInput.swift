// The inbound half: plaintext in, events out.

import RIBase
import RIWire

extension FramedTunnel {
  /// Gives the tunnel the next plaintext, once `pollEvent` has returned nil for the former. The
  /// slice's buffer must be held until `pollEvent` returns nil again.
  public func receive(_ plaintext: Slice) {
    if !isEnded { decoder.receive(plaintext) }
  }

  /// The payload of the last opened, config, ping, pong or hello event; valid until the next
  /// `pollEvent` or `receive`.
  public var payload: UnsafeRawBufferPointer { decoder.controlPayload }

  /// Frames of unknown type that were passed over.
  public var skippedFrames: UInt64 { decoder.skippedFrames }

  /// The next event, or nil when all input is used up and there is nothing to tell.
  public func pollEvent(now: Instant) -> TunnelEvent? {
    bury()
    guard !isEnded else { return nil }
    if let event = pollStreamEvent() { return event }
    while let decoded = decoder.poll(store: store) {
      switch decoded {
      case .data(let id, let slice):
        if let event = receiveData(id, slice, now) { return event }
      case .control(let type, let id):
        count(type)
        if let event = receiveControl(type, id, now) { return event }
      case .malformed(let error):
        return fail(.malformed(error))
      }
    }
    return pollStreamEvent()
  }

  // MARK: Frames

  @inline(__always)
  private func count(_ type: FrameType) {
    guard type != .udpData, type != .udpDataBack else { return }
    counters.controlFramesReceived &+= 1
    counters.controlBytesReceived &+= UInt64(decoder.controlPayload.count)
  }

  private func receiveData(_ id: UInt32, _ slice: Slice, _ now: Instant) -> TunnelEvent? {
    counters.dataBytesReceived &+= UInt64(slice.count)
    let frames = decoder.dataFrames &- counters.dataFramesReceived
    counters.dataFramesReceived &+= frames
    guard let slot = liveStream(id) else { return nil }
    // SPEC 2.2: DATA after CLOSE, in either direction, resets that stream.
    guard streams[slot].receiving == .open else {
      counters.dataAfterClose &+= 1
      beginReset(slot)
      return .reset(StreamRef(slot: slot))
    }
    // SPEC 2.4: so does more than was ever granted.
    guard streams[slot].receiveWindow.received(Int(slice.count), limits: windows) else {
      counters.creditOverdrawn &+= 1
      beginReset(slot)
      return .reset(StreamRef(slot: slot))
    }
    moved(Int(slice.count), of: slot, now: now)
    if streams[slot].tier == .sustained {
      counters.sustainedFramesReceived &+= frames
      counters.sustainedBytesReceived &+= UInt64(slice.count)
    }
    return .data(StreamRef(slot: slot), slice)
  }

  /// Type and direction are right: the decoder checked them.
  private func receiveControl(
    _ type: FrameType, _ id: UInt32, _ now: Instant
  ) -> TunnelEvent? {
    switch type {
    case .open: return receiveOpen(id, now)
    case .close, .closeBack: return receiveClose(id, isReset: !decoder.controlPayload.isEmpty)
    case .windowUpdate, .windowUpdateBack:
      receiveCredit(id)
      return nil
    case .config: return .config
    case .ping: return .ping
    case .pong: return .pong
    case .hello: return .hello
    case .udpOpen: return receiveSession(id, now)
    case .udpData, .udpDataBack:
      guard let slot = liveStream(id, .session) else { return nil }
      counters.datagramsReceived &+= 1
      counters.datagramBytesReceived &+= UInt64(decoder.controlPayload.count)
      return .datagram(StreamRef(slot: slot))
    case .udpClose: return receiveSessionClose(id)
    case .data, .dataBack: preconditionFailure("DATA is no control frame")
    }
  }

  private func receiveOpen(_ id: UInt32, _ now: Instant) -> TunnelEvent? {
    guard table.find(id) == nil else { return fail(.malformed(.duplicateOpen(stream: id))) }
    if let slot = insert(id, .stream, owner: .none, now: now) {
      return .opened(StreamRef(slot: slot))
    }
    counters.streamsRefused &+= 1
    return withResetPayload { reset in
      controlQueue.append(.closeBack, stream: id, payload: reset) ? nil : fail(.refusalsUnread)
    }
  }

  private func receiveClose(_ id: UInt32, isReset: Bool) -> TunnelEvent? {
    guard let slot = table.find(id), streams[slot].kind == .stream else {
      counters.framesDropped &+= 1
      return nil
    }
    guard streams[slot].phase == .live else {
      // Both ends reset at once: nobody is left to hear of ours.
      if isReset { forget(slot) }
      return nil
    }
    if isReset {
      retire(slot)
      departed = slot
      return .reset(StreamRef(slot: slot))
    }
    guard streams[slot].receiving == .open else { return nil }
    streams[slot].receiving = .finished
    if streams[slot].sending == .finished { close(slot) }
    return .finished(StreamRef(slot: slot))
  }

  private func receiveCredit(_ id: UInt32) {
    let bytes = decoder.controlPayload.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    guard let slot = liveStream(id) else { return }
    changeSendWindow(slot) { $0.credited(bytes) }
    if streams[slot].tier == .data {
      streams[slot].sendWindow.grow(to: windows.window(activeStreams: activeStreams))
    }
    if streams[slot].isReady { scheduler.enqueue(slot, in: streams) }
    noteRoom(slot)
  }

  /// A session beyond the limit is refused. A refusal that finds its queue half full is dropped:
  /// the session ends by its time-out, and room is left for what streams need.
  private func receiveSession(_ id: UInt32, _ now: Instant) -> TunnelEvent? {
    guard table.find(id) == nil else { return fail(.malformed(.duplicateOpen(stream: id))) }
    if let slot = insert(id, .session, owner: .none, now: now) {
      return .sessionOpened(StreamRef(slot: slot))
    }
    counters.streamsRefused &+= 1
    let none = UnsafeRawBufferPointer(start: nil, count: 0)
    if !controlQueue.append(
      .udpClose, stream: id, payload: none, limit: Limits.controlQueueBytes / 2)
    {
      counters.framesDropped &+= 1
    }
    return nil
  }

  private func receiveSessionClose(_ id: UInt32) -> TunnelEvent? {
    guard let slot = table.find(id), streams[slot].kind == .session else {
      counters.framesDropped &+= 1
      return nil
    }
    guard streams[slot].phase == .live else {
      // Both ends closed at once: nobody is left to hear of ours.
      if streams[slot].phase == .resetting { forget(slot) }
      return nil
    }
    retire(slot)
    departed = slot
    return .sessionClosed(StreamRef(slot: slot))
  }

  // MARK: Streams

  /// The stream that a frame is for; nil, and the frame counted as dropped, when it is no more.
  private func liveStream(_ id: UInt32, _ kind: StreamKind = .stream) -> SlotID? {
    guard let slot = table.find(id), streams[slot].phase == .live, streams[slot].kind == kind
    else {
      counters.framesDropped &+= 1
      return nil
    }
    return slot
  }

  /// Both directions have ended.
  func close(_ slot: SlotID) {
    retire(slot)
    eventStreams.append(slot, in: streams)
  }

  /// Frees a stream whose reset waits to be sent, or was.
  func forget(_ slot: SlotID) {
    controlStreams.remove(slot, in: streams)
    table.remove(streams[slot].id)
    free(slot)
  }

  private func pollStreamEvent() -> TunnelEvent? {
    while eventStreams.first != .none {
      let slot = eventStreams.first
      if streams[slot].isSustainedUntold, streams[slot].phase == .live {
        streams[slot].isSustainedUntold = false
        return .sustained(StreamRef(slot: slot))
      }
      eventStreams.remove(slot, in: streams)
      if streams[slot].phase == .closed {
        departed = slot
        return .closed(StreamRef(slot: slot))
      }
      if streams[slot].isRoomDue {
        streams[slot].roomWanted = 0
        return .room(StreamRef(slot: slot))
      }
    }
    return nil
  }

  /// Frees the slot of the stream whose last event was told.
  private func bury() {
    guard departed != .none else { return }
    if streams.contains(departed) { free(departed) }
    departed = .none
  }

  private func fail(_ error: TunnelError) -> TunnelEvent {
    isEnded = true
    return .ended(error)
  }
}
