// Receiving from streams. The kernel picks buffers when data arrives; how much one receive brings
// depends on the pool it receives into:
//
// - Buffers below 64 KiB (many connections, small messages): one multishot receive, a buffer for
//   each arrival.
// - Buffers of 64 to 256 KiB (bulk): receives that fill many buffers at once (bundles), at most
//   256 KiB, which takes the least CPU for each byte and still fits the cache.
// - Larger buffers (a tunnel's): one-shot receives that fill up to a whole buffer, so that what
//   belongs together lies together.
//
// A limit is a promise to the peer's flow control. A multishot receive can keep it only where the
// kernel counts (multishotLimit): elsewhere limited receives are one-shot and made again until the
// limit is reached. Without buffer rings we wait for data and then call recv into a buffer.

import CLinuxIO
import Glibc
import RIBase

extension UringRing {
  /// Buffers from this size on are for bulk.
  static let bulkBufferBytes = 64 * 1024
  /// Buffers from this size on are filled one at a time.
  static let wholeBufferBytes = 256 * 1024
  /// Bytes of one bundle: what is received is sealed next, and both should lie in the second-level
  /// cache.
  static let bundleBytesMax = 256 * 1024
  /// A limit past which a kernel that cannot count needs not: nobody grants it.
  static let unlimitedBytes = 1 << 40

  public func receive(on socket: Socket, into pool: PoolID, limitBytes: Int, token: Token) {
    var operation = Operation(token: token, kind: .receive, descriptor: socket.descriptor)
    operation.pool = pool
    operation.remaining = wholeBuffers(max(1, limitBytes), store[pool].shape.bytes)
    if !lend(pool) { operation.kind = .polledReceive }
    if let slot = begin(operation) { queueReceive(slot) }
  }

  /// Sees to it that the kernel can pick buffers of a pool; false where it cannot.
  func lend(_ pool: PoolID) -> Bool {
    // SAFETY: `lent` has an initialised place for each pool of the store, whose number is its id;
    // the ring owns it until its deinit.
    let place = lent + Int(pool.rawValue)
    if place.pointee != nil { return true }
    guard used.bufferRings else { return false }
    place.pointee = LentBuffers(queue, store[pool])
    return place.pointee != nil
  }

  /// A bundle is cut at its limit, and a cut buffer at the end would be a receive, a buffer and a
  /// send for a few bytes: a limit of more than a buffer is rounded up to whole ones. (Receives
  /// without bundles fill their last buffer anyway.)
  private func wholeBuffers(_ limit: Int, _ bufferBytes: Int) -> Int {
    guard used.receiveBundles, bufferBytes >= Self.bulkBufferBytes, limit > bufferBytes,
      limit < Self.unlimitedBytes
    else { return limit }
    return (limit + bufferBytes - 1) / bufferBytes * bufferBytes
  }

  private func queueReceive(_ slot: UInt32) {
    let operation = operations[slot].pointee
    guard operation.kind == .receive,
      let bufferBytes = lent[Int(operation.pool.rawValue)]?.bufferBytes
    else { return queuePoll(slot) }
    let fillsOne = bufferBytes >= Self.wholeBufferBytes
    let multishot =
      used.multishotReceive && !fillsOne
      && (used.multishotLimit || operation.remaining >= Self.unlimitedBytes)
    let bundle =
      used.receiveBundles && !fillsOne && (bufferBytes >= Self.bulkBufferBytes || !multishot)
    var length = 0
    var total = 0
    var flags: UInt16 = 0
    if multishot {
      flags |= UInt16(IORING_RECV_MULTISHOT)
      if used.multishotLimit {
        total = min(operation.remaining, 1 << 30)
        if bundle { length = Self.bundleBytesMax }
      }
    } else {
      length = min(operation.remaining, bundle ? Self.bundleBytesMax : bufferBytes)
      // A bundle of whole buffers is followed up by the kernel with all that is left in the socket
      // (6.15); a cut one ends where it was told to.
      if bundle, length % bufferBytes == 0 { length -= 1 }
    }
    if bundle { flags |= RI_RECVSEND_BUNDLE }
    if used.pollFirst, descriptors[operation.descriptor].pointee.isDrained {
      flags |= UInt16(IORING_RECVSEND_POLL_FIRST)
    }
    // SAFETY: an entry of the mapped queue, ours until the next submit. It names no memory: the
    // kernel picks among the buffers that it was lent, and `lent` keeps each until it is taken
    // back.
    let entry = entry()
    ri_prep_recv_select(
      entry, operation.descriptor, UInt32(length), UInt16(operation.pool.rawValue), flags,
      UInt32(total))
    entry.pointee.user_data = UInt64(slot)
  }

  func received(_ slot: UInt32, _ result: Int32, _ flags: UInt32) {
    // SAFETY: operations never move, and this one is not removed before `finish`, after which it is
    // not read.
    let operation = operations[slot]
    let goesOn = flags & IORING_CQE_F_MORE != 0
    var buffer = Int(flags >> UInt32(IORING_CQE_BUFFER_SHIFT))
    guard result > 0, flags & IORING_CQE_F_BUFFER != 0 else {
      if flags & IORING_CQE_F_BUFFER != 0 { putBack(buffer, operation.pointee.pool) }
      if !goesOn { receiveEnded(slot, result) }
      return
    }
    descriptors[operation.pointee.descriptor].pointee.isDrained =
      flags & IORING_CQE_F_SOCK_NONEMPTY == 0
    let (token, pool) = (operation.pointee.token, Int(operation.pointee.pool.rawValue))
    operation.pointee.remaining -= Int(result)
    let isLast = !goesOn && (operation.pointee.remaining <= 0 || operation.pointee.isCancelled)
    var left = Int(result)
    while let (handle, capacity) = lent[pool]?.take(buffer) {
      let count = min(left, capacity)
      left -= count
      let slice = Slice(buffer: handle, offset: 0, count: count)
      if left == 0 {
        if isLast { return finish(slot, Int32(count), slice: slice) }
        emit(token, Int32(count), more: true, slice: slice)
        break
      }
      emit(token, Int32(count), more: true, slice: slice)
      buffer += 1
    }
    precondition(left == 0, "the kernel filled a buffer that it was not lent")
    if !goesOn { queueReceive(slot) }
  }

  /// The kernel is done with a receive that brought nothing.
  private func receiveEnded(_ slot: UInt32, _ result: Int32) {
    let operation = operations[slot].pointee
    if !operation.isCancelled {
      if result == -EINTR { return queueReceive(slot) }
      // The ring ran dry, but the pool may not have.
      if result == -ENOBUFS, hasLentBuffers(operation.pool) { return queueReceive(slot) }
    }
    finishReceive(slot, result)
  }

  /// Completes a receive that brought nothing; a reset is no end of stream.
  private func finishReceive(_ slot: UInt32, _ result: Int32) {
    let descriptor = operations[slot].pointee.descriptor
    finish(slot, result == 0 ? -descriptors[descriptor].pointee.failure : result)
  }

  /// Whether the kernel holds buffers of a pool, once it has been lent what there is.
  func hasLentBuffers(_ pool: PoolID) -> Bool {
    lent[Int(pool.rawValue)]?.refill()
    return lent[Int(pool.rawValue)].map { $0.count > 0 } ?? false
  }

  /// Returns a buffer that the kernel has taken and not used.
  func putBack(_ buffer: Int, _ pool: PoolID) {
    if let (handle, _) = lent[Int(pool.rawValue)]?.take(buffer) { store.release(handle) }
  }

  // MARK: Without buffer rings

  /// Waits for something to receive.
  func queuePoll(_ slot: UInt32) {
    let entry = entry()
    io_uring_prep_poll_add(entry, operations[slot].pointee.descriptor, UInt32(POLLIN))
    entry.pointee.user_data = UInt64(slot)
  }

  func readyToReceive(_ slot: UInt32, _ result: Int32) {
    let operation = operations[slot]
    if result < 0 { return finish(slot, result) }
    if operation.pointee.isCancelled { return finish(slot, -ECANCELED) }
    let pool = store[operation.pointee.pool]
    guard let handle = pool.take() else { return finish(slot, -ENOBUFS) }
    // SAFETY: `room` is at most a whole buffer, on loan to us alone until it is released or goes to
    // the caller with its slice. The operation never moves and is not read after `finish`.
    let room = min(operation.pointee.remaining, pool.shape.bytes)
    let count = recv(
      operation.pointee.descriptor, pool.pointer(handle), room, Int32(MSG_DONTWAIT))
    guard count > 0 else {
      let code = errno
      pool.release(handle)
      if count < 0, code == EAGAIN || code == EINTR { return queuePoll(slot) }
      // The poll saw an error that a send has taken since: this is no end of stream.
      if count == 0, result & Int32(POLLERR) != 0 { return finish(slot, -ECONNRESET) }
      return finishReceive(slot, count == 0 ? 0 : -code)
    }
    operation.pointee.remaining -= count
    let slice = Slice(buffer: handle, offset: 0, count: count)
    if operation.pointee.remaining <= 0 { return finish(slot, Int32(count), slice: slice) }
    emit(operation.pointee.token, Int32(count), more: true, slice: slice)
    queuePoll(slot)
  }
}
