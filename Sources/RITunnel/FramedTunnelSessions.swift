// UDP sessions: datagrams in frames of their own, no windows (SPEC 2.2, 2.4). A session has its
// turns beside the streams; a datagram that finds its queue full is dropped and counted.

import RIBase
import RIWire

/// Datagrams that wait for their turn.
package struct DatagramsQueued {
  package private(set) var count = 0
  package private(set) var bytes = 0
  /// Those above `Limits.smallDatagramBytes`.
  package private(set) var largeCount = 0

  package init() {}

  package mutating func add(_ datagram: Slice) { change(by: 1, datagram) }
  package mutating func remove(_ datagram: Slice) { change(by: -1, datagram) }

  private mutating func change(by sign: Int, _ datagram: Slice) {
    count += sign
    bytes += sign * Int(datagram.count)
    if Int(datagram.count) > Limits.smallDatagramBytes { largeCount += sign }
  }

  /// Whether a session with `queue` may queue one more. Of what is left of a limit a session takes
  /// half at most (dynamic thresholds, Choudhury and Hahne 1998): one that floods its queue leaves
  /// as much to the others, and a session without a queue finds room.
  package func take(_ datagram: Slice, behind queue: SliceQueue, bytesMax: Int) -> Bool {
    let isLarge = Int(datagram.count) > Limits.smallDatagramBytes
    let free = (
      count: Limits.datagramsQueuedMax - count, bytes: bytesMax - bytes - Int(datagram.count),
      large: Limits.largeDatagramsQueuedMax - largeCount
    )
    guard free.count > 0, free.bytes >= 0, !isLarge || free.large > 0 else { return false }
    return queue.isEmpty
      || (Int(queue.sliceCount) < free.count && Int(queue.byteCount) <= free.bytes
        && (!isLarge || Int(queue.sliceCount) < free.large))
  }
}

extension FramedTunnel {
  /// Payload bytes of datagrams that wait for their turn.
  public var datagramBytesQueued: Int { datagramsQueued.bytes }

  /// Edge: opens a session with its PROXY v2 header, at most 1,024 bytes. Returns nil when the
  /// tunnel has no place for one more.
  public func openSession(
    header: UnsafeRawBufferPointer, owner: SlotID, now: Instant
  ) -> StreamRef? {
    precondition(header.count <= Limits.udpOpenPayloadBytesMax)
    return open(.session, .udpOpen, header: header, owner: owner, now: now)
  }

  /// Whether the table takes one more session: it leaves room for streams.
  var hasRoomForSession: Bool {
    sessionsHeld < max(1, streams.capacity / Limits.sessionsPerTunnelDivisor)
  }

  /// Queues one datagram, at most `Limits.udpPayloadBytesMax`, and takes over its reference; all
  /// datagrams of the tunnel may have `queueBytesMax` queued. False when it was dropped: the
  /// session is dead, or its queue is full.
  @discardableResult
  public func sendDatagram(
    _ slice: Slice, on session: StreamRef, queueBytesMax: Int = Limits.datagramBytesQueuedMax
  ) -> Bool {
    let slot = session.slot
    guard isLive(slot), streams[slot].kind == .session else {
      store.release(slice)
      return false
    }
    precondition(slice.count <= Limits.udpPayloadBytesMax)
    guard datagramsQueued.take(slice, behind: streams[slot].queue, bytesMax: queueBytesMax) else {
      counters.datagramsDropped &+= 1
      store.release(slice)
      return false
    }
    store.append(slice, to: &streams[slot].queue, joins: false)
    datagramsQueued.add(slice)
    scheduler.enqueue(slot, in: streams)
    return true
  }

  /// Writes the first datagram of the session whose turn it is. One that is longer than what is
  /// left of the turn waits for the next, which is long enough for any.
  func writeDatagram(
    of slot: SlotID, _ turnBytes: Int, into batch: PlaintextBatch, now: Instant
  ) -> Bool {
    guard let first = store.first(of: streams[slot].queue) else {
      preconditionFailure("a session in line has a datagram")
    }
    let count = Int(first.count)
    let frameBytes = FrameHeader.byteCount + count
    precondition(frameBytes <= batch.capacity, "a batch takes any datagram")
    guard frameBytes <= turnBytes else {
      scheduler.endTurn(of: slot, in: streams)
      return true
    }
    guard frameBytes <= batch.roomBytes,
      let datagram = store.popFirst(from: &streams[slot].queue)
    else { return false }
    let type: FrameType = role == .edge ? .udpData : .udpDataBack
    withEncoded(FrameHeader(stream: streams[slot].id, type: type, length: count)) {
      batch.append(copying: $0)
    }
    batch.append(datagram)
    datagramsQueued.remove(datagram)
    counters.datagramsSent &+= 1
    counters.datagramBytesSent &+= UInt64(count)
    // The header counts: else empty datagrams would cost nothing.
    scheduler.sent(frameBytes, by: slot, in: streams)
    flight.dataSent(frameBytes, now: now, roundTrip: roundTrip)
    return true
  }

  /// Drops all datagrams that wait, and returns their number. O(all streams).
  public func dropDatagrams() -> Int {
    guard datagramsQueued.count > 0 else { return 0 }
    let count = datagramsQueued.count
    for index in 0..<streams.slotsEverUsed {
      guard let slot = streams.id(at: index), streams[slot].kind == .session else { continue }
      dropDatagrams(of: slot)
      scheduler.remove(slot, in: streams)
    }
    counters.datagramsDropped &+= UInt64(count)
    return count
  }

  func dropDatagrams(of slot: SlotID) {
    while let datagram = store.popFirst(from: &streams[slot].queue) {
      datagramsQueued.remove(datagram)
      store.release(datagram)
    }
  }
}
