// How much may be read from local sockets, what is held until acknowledged, and the peer's credit.

import CNGTCP2
import RIBase
import RITunnel

extension QUICTunnel {
  // MARK: Room

  func roomBytes(_ slot: SlotID) -> Int {
    guard let link, unackedBytes + queuedBytes.total < Limits.quicUnackedBytesMax else {
      isStarving = true
      return 0
    }
    let credit = quic_link_stream_room(link, streams[slot].id)
    let limit = Int(clamping: min(credit, UInt64(Limits.streamQueueBytes)))
    return limit - Int(streams[slot].queue.byteCount)
  }

  /// Has `.room` told if it is due: enough to be worth a read, or nothing is left to send
  /// meanwhile.
  func noteRoom(_ slot: SlotID) {
    let wanted = Int(streams[slot].roomWanted)
    guard wanted > 0, !streams[slot].isRoomQueued, isLive(slot), streams[slot].sending == .open
    else { return }
    let worthwhile = min(Limits.roomBytesWorthwhile, settings.windows.autoBytesMin / 4)
    let least =
      streams[slot].queue.isEmpty
      ? min(wanted, Limits.roomBytesLeast) : max(wanted, worthwhile)
    guard roomBytes(slot) >= least else { return }
    streams[slot].isRoomQueued = true
    queue(.room, slot)
  }

  /// Acknowledgements have made room again for those that the link as a whole had none for.
  func noteStarved() {
    guard isStarving,
      unackedBytes + queuedBytes.total < Limits.quicUnackedBytesMax - Limits.streamQueueBytes
    else { return }
    isStarving = false
    let waiting = starved
    starved.removeAll(keepingCapacity: true)
    for slot in waiting where streams.contains(slot) {
      streams[slot].isStarved = false
      noteRoom(slot)
    }
  }

  // MARK: Small slices

  /// What is to be kept until acknowledged must not pin a large buffer each: small slices are
  /// copied together. The slice's reference is taken over; the result has one of its own.
  func compacted(_ slice: Slice) -> Slice {
    guard Int(slice.count) <= Limits.quicCopiedBytesMax,
      let copy = hold(store.bytes(slice))
    else { return slice }
    store.release(slice)
    return copy
  }

  /// Copies bytes behind those that were copied before; nil when the pool is empty.
  func hold(_ bytes: UnsafeRawBufferPointer) -> Slice? {
    let pool = store[endpoint.pools.hold]
    if let current = gathered, pool.shape.bytes - gatheredBytes < bytes.count {
      store.release(current)
      gathered = nil
    }
    if gathered == nil {
      guard bytes.count <= pool.shape.bytes, let buffer = pool.take() else { return nil }
      gathered = Slice(buffer: buffer, offset: 0, count: 0)
      gatheredBytes = 0
    }
    guard let current = gathered else { return nil }
    if gatheredBytes > 0, pool.isUnique(current.buffer) { gatheredBytes = 0 }
    let slice = Slice(buffer: current.buffer, offset: gatheredBytes, count: bytes.count)
    store.retain(slice)
    store.mutableBytes(slice).copyMemory(from: bytes)
    gatheredBytes += bytes.count
    return slice
  }

  // MARK: Credit

  /// The path's round trip, as windows go by it. Without our own queues: the least.
  var windowRoundTrip: Interval {
    max(roundTrip?.least ?? .zero, Limits.windowRoundTripMin)
  }

  /// Returns credit for what was consumed, if it is due.
  func returnCredit(_ slot: SlotID) {
    guard let link, !streams[slot].isReceiveFinished else { return }
    let step = streams[slot].tier == .sustained ? Limits.sustainedCreditStepBytes : Int.max
    let credit = streams[slot].receiveWindow.creditDue(
      target: windowTarget(slot), stepMax: max(step, settings.windows.autoBytesMin / 2))
    guard credit > 0 else { return }
    let before = grownBytes(slot)
    streams[slot].receiveWindow.returned(credit)
    budget.grownBytes += grownBytes(slot) - before
    quic_link_extend_stream(link, streams[slot].id, UInt64(credit))
    endpoint.markDirty(self)
  }

  /// How large the peer's window on a stream should be. Never less than three quarters of the first
  /// one: ngtcp2 tells the peer of credit when it is half of that.
  private func windowTarget(_ slot: SlotID) -> Int {
    let floor = settings.windows.autoBytesMin
    switch budget.pressure {
    case .none: return Int(streams[slot].tuner.target)
    case .high: return min(Int(streams[slot].tuner.target), floor)
    case .critical: return floor - floor / 4
    }
  }

  func grownBytes(_ slot: SlotID) -> Int {
    max(0, Int(streams[slot].receiveWindow.window) - settings.windows.autoBytesMin)
  }
}
