// UDP sessions: datagrams in frames of their own, no windows (SPEC 2.2, 2.4). A session has its
// turns beside the streams; a datagram that finds its queue full is dropped and counted.

import RIBase
import RIWire

extension FramedTunnel {
  /// Edge: opens a session with its PROXY v2 header, at most 1,024 bytes. Returns nil when the tunnel
  /// has no place for one more.
  public func openSession(
    header: UnsafeRawBufferPointer, owner: SlotID, now: Instant
  ) -> StreamRef? {
    precondition(header.count <= Limits.udpOpenPayloadBytesMax)
    return open(.session, .udpOpen, header: header, owner: owner, now: now)
  }

  /// Queues one datagram, at most `Limits.udpPayloadBytesMax`, and takes over its reference. False
  /// when it was dropped: the session is dead, or a queue is full.
  @discardableResult
  public func sendDatagram(_ slice: Slice, on session: StreamRef) -> Bool {
    let slot = session.slot
    guard isLive(slot), streams[slot].kind == .session else {
      store.release(slice)
      return false
    }
    precondition(slice.count <= Limits.udpPayloadBytesMax)
    guard datagramsQueued < Limits.datagramsQueuedMax,
      datagramBytesQueued + Int(slice.count) <= Limits.datagramBytesQueuedMax,
      Int(streams[slot].queue.byteCount + slice.count) <= Limits.sessionQueueBytes
    else {
      counters.datagramsDropped &+= 1
      store.release(slice)
      return false
    }
    store.append(slice, to: &streams[slot].queue, joins: false)
    queuedBytes.data += Int(slice.count)
    datagramsQueued += 1
    datagramBytesQueued += Int(slice.count)
    scheduler.enqueue(slot, in: streams)
    return true
  }

  /// Writes the first datagram of the session whose turn it is. One that is longer than what is left
  /// of the turn waits for the next, which is long enough for any.
  func writeDatagram(of slot: SlotID, _ turnBytes: Int, into batch: PlaintextBatch) -> Bool {
    guard let first = store.first(of: streams[slot].queue) else {
      preconditionFailure("a session in line has a datagram")
    }
    let count = Int(first.count)
    guard count <= turnBytes else {
      scheduler.endTurn(of: slot, in: streams)
      return true
    }
    guard FrameHeader.byteCount + count <= batch.roomBytes,
      let datagram = store.popFirst(from: &streams[slot].queue)
    else { return false }
    let type: FrameType = role == .edge ? .udpData : .udpDataBack
    withEncoded(FrameHeader(stream: streams[slot].id, type: type, length: count)) {
      batch.append(copying: $0)
    }
    batch.append(datagram)
    queuedBytes.data -= count
    datagramsQueued -= 1
    datagramBytesQueued -= count
    counters.datagramsSent &+= 1
    scheduler.sent(count, by: slot, in: streams)
    return true
  }
}
