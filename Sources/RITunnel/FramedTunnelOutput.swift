// The outbound half: frames into batches of plaintext. Control first, then data by turns.

import RIBase
import RIWire

extension FramedTunnel {
  /// Whether `pollFrames` may have something to write.
  public var hasOutput: Bool {
    guard !isEnded else { return false }
    return !scheduler.isEmpty || !controlStreams.isEmpty || !controlQueue.isEmpty
      || !configOutput.isEmpty
  }

  /// Whether sustained data waits for others to have had their way: to be polled again a little
  /// later, should nothing else happen.
  public var isHeldBack: Bool { !isEnded && scheduler.isHeldBack && !scheduler.isEmpty }

  /// Writes whole frames until nothing is ready or the next does not fit; returns the bytes
  /// written. `hasOutput` afterwards means that the batch is full. An empty batch always takes
  /// something; its capacity is at least that of the largest OPEN, 116 bytes, and where there are
  /// sessions that of the largest datagram's frame.
  @discardableResult
  public func pollFrames(into batch: PlaintextBatch, now: Instant) -> Int {
    precondition(batch.capacity >= FrameHeader.byteCount + Limits.openPayloadBytesMax)
    let before = batch.byteCount
    guard !isEnded else { return 0 }
    while writeControl(into: batch), writeData(into: batch, now: now) {}
    return batch.byteCount - before
  }

  // MARK: Control

  /// Writes all control frames; returns false when some are left for the next batch.
  private func writeControl(into batch: PlaintextBatch) -> Bool {
    if configOutput.isBegun, !writeConfig(into: batch) { return false }
    if !controlQueue.isEmpty {
      let before = batch.byteCount
      let frames = controlQueue.drain(into: batch)
      counters.controlFramesSent &+= UInt64(frames)
      counters.controlBytesSent &+=
        UInt64(batch.byteCount - before - frames * FrameHeader.byteCount)
      guard controlQueue.isEmpty else { return false }
    }
    while !controlStreams.isEmpty {
      guard writeControl(of: controlStreams.first, into: batch) else { return false }
    }
    while !configOutput.isEmpty {
      guard writeConfig(into: batch) else { return false }
    }
    return true
  }

  private func writeConfig(into batch: PlaintextBatch) -> Bool {
    let begins = !configOutput.isBegun
    let before = batch.byteCount
    let isWhole = configOutput.write(into: batch)
    // Written in parts, each of them counts when it goes; the header goes with the first.
    let written = batch.byteCount - before
    counters.controlBytesSent &+= UInt64(
      max(0, begins ? written - FrameHeader.byteCount : written))
    guard isWhole else { return false }
    counters.controlFramesSent &+= 1
    return true
  }

  /// Writes the CLOSE or credit that a stream has to send, and takes it off the list; returns false
  /// when the batch has no room.
  private func writeControl(of slot: SlotID, into batch: PlaintextBatch) -> Bool {
    let id = streams[slot].id
    if streams[slot].phase == .resetting {
      let isWritten =
        streams[slot].kind == .session
        ? write(.udpClose, id, UnsafeRawBufferPointer(start: nil, count: 0), into: batch)
        : withResetPayload { write(closeType, id, $0, into: batch) }
      guard isWritten else { return false }
      forget(slot)
      return true
    }
    let credit = creditDue(slot)
    if credit > 0 {
      let type: FrameType = role == .edge ? .windowUpdate : .windowUpdateBack
      let isWritten = withUnsafeBytes(of: UInt32(credit).bigEndian) {
        write(type, id, $0, into: batch)
      }
      guard isWritten else { return false }
      creditReturned(credit, to: slot)
    }
    if streams[slot].isCloseDue {
      let none = UnsafeRawBufferPointer(start: nil, count: 0)
      guard write(closeType, id, none, into: batch) else { return false }
      streams[slot].sending = .finished
    }
    controlStreams.remove(slot, in: streams)
    if streams[slot].sending == .finished, streams[slot].receiving == .finished { close(slot) }
    return true
  }

  private var closeType: FrameType { role == .edge ? .close : .closeBack }

  /// Writes one control frame if it fits.
  private func write(
    _ type: FrameType, _ id: UInt32, _ payload: UnsafeRawBufferPointer,
    into batch: PlaintextBatch
  ) -> Bool {
    guard FrameHeader.byteCount + payload.count <= batch.roomBytes else { return false }
    withEncoded(FrameHeader(stream: id, type: type, length: payload.count)) {
      batch.append(copying: $0)
    }
    batch.append(copying: payload)
    counters.controlFramesSent &+= 1
    counters.controlBytesSent &+= UInt64(payload.count)
    return true
  }

  // MARK: Data

  /// Writes one frame of the stream or session whose turn it is; returns false when nothing is
  /// ready or the batch is full.
  private func writeData(into batch: PlaintextBatch, now: Instant) -> Bool {
    let turn = scheduler.next(
      in: streams, now: now,
      sustainedRoom: flight.sustainedRoom(now: now, roundTrip: roundTrip))
    guard let (slot, turnBytes) = turn else { return false }
    return switch streams[slot].kind {
    case .stream: writeData(of: slot, turnBytes, into: batch, now: now)
    case .session: writeDatagram(of: slot, turnBytes, into: batch, now: now)
    }
  }

  /// A DATA frame, its slices joined.
  private func writeData(
    of slot: SlotID, _ turnBytes: Int, into batch: PlaintextBatch, now: Instant
  ) -> Bool {
    let ready = min(
      Int(streams[slot].queue.byteCount), Int(streams[slot].sendWindow.credit), turnBytes,
      Limits.dataFrameBytes)
    let room = batch.roomBytes - FrameHeader.byteCount
    // A sliver at a batch's end would cost a header and a turn; an empty batch takes what it can.
    guard room >= min(ready, batch.isEmpty ? 1 : Limits.dataFrameBytesMin) else { return false }
    let count = min(ready, room)

    let type: FrameType = role == .edge ? .data : .dataBack
    withEncoded(FrameHeader(stream: streams[slot].id, type: type, length: count)) {
      batch.append(copying: $0)
    }
    var left = count
    while left > 0, let piece = store.popFirst(left, from: &streams[slot].queue) {
      left -= Int(piece.count)
      batch.append(piece)
    }
    changeSendWindow(slot) { $0.sent(count) }
    if streams[slot].tier == .data { flight.dataSent(count, now: now, roundTrip: roundTrip) }
    queued[streams[slot].tier] -= count
    counters.dataFramesSent &+= 1
    counters.dataBytesSent &+= UInt64(count)
    if streams[slot].tier == .sustained {
      counters.sustainedFramesSent &+= 1
      counters.sustainedBytesSent &+= UInt64(count)
    }
    scheduler.sent(count, by: slot, in: streams)
    moved(count, of: slot, now: now)
    // SPEC 2.5: the CLOSE behind its own stream's data, ahead of all others'.
    if streams[slot].isCloseDue { controlStreams.append(slot, in: streams) }
    noteRoom(slot)
    return true
  }
}

/// Lends the payload of a CLOSE that resets.
@inline(__always)
func withResetPayload<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
  withUnsafeBytes(of: UInt8(0x01), body)
}
