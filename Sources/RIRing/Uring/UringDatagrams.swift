// Datagrams: received with what the kernel tells of them (see `DatagramLayout`), sent with it.

import CLinuxIO
import Glibc
import RIBase

extension UringRing {
  public func receiveDatagrams(on socket: Socket, into pool: PoolID, token: Token) {
    var operation = Operation(token: token, kind: .datagrams, descriptor: socket.descriptor)
    operation.pool = pool
    if !used.multishotReceive || !lend(pool) { operation.kind = .polledDatagrams }
    if let slot = begin(operation) { queueDatagrams(slot) }
  }

  private func queueDatagrams(_ slot: UInt32) {
    let operation = operations[slot].pointee
    guard operation.kind == .datagrams else { return queuePoll(slot) }
    let bytes = MemoryLayout<msghdr>.stride
    let entry = entry(arenaBytes: bytes + 16)
    // SAFETY: a piece of the arena with the size and at least the alignment of a msghdr, asked for
    // with the entry; the kernel copies it when it takes the entry, before the arena is reset.
    let message = arenaBytes(bytes).bindMemory(to: msghdr.self, capacity: 1)
    message.initialize(to: msghdr())
    message.pointee.msg_namelen = socklen_t(DatagramLayout.nameBytes)
    message.pointee.msg_controllen = DatagramLayout.controlBytes
    ri_prep_recvmsg_select(
      entry, operation.descriptor, message, UInt16(operation.pool.rawValue),
      UInt16(IORING_RECV_MULTISHOT))
    entry.pointee.user_data = UInt64(slot)
  }

  func receivedDatagram(_ slot: UInt32, _ result: Int32, _ flags: UInt32) {
    let operation = operations[slot].pointee
    let goesOn = flags & IORING_CQE_F_MORE != 0
    let buffer = Int(flags >> UInt32(IORING_CQE_BUFFER_SHIFT))
    if flags & IORING_CQE_F_BUFFER != 0 {
      if result > 0, let (handle, _) = lent[Int(operation.pool.rawValue)]?.take(buffer) {
        let slice = Slice(buffer: handle, offset: 0, count: Int(result))
        if !goesOn, operation.isCancelled { return finish(slot, result, slice: slice) }
        emit(operation.token, result, more: true, slice: slice)
      } else {
        putBack(buffer, operation.pool)
      }
    }
    if goesOn { return }
    let canContinue =
      result > 0 || result == -EINTR || (result == -ENOBUFS && hasLentBuffers(operation.pool))
    if canContinue, !operation.isCancelled { return queueDatagrams(slot) }
    finish(slot, result)
  }

  /// Without multishot receives: one datagram by a call, in the same layout.
  func readyForDatagrams(_ slot: UInt32, _ result: Int32) {
    let operation = operations[slot].pointee
    if result < 0 { return finish(slot, result) }
    if operation.isCancelled { return finish(slot, -ECANCELED) }
    let pool = store[operation.pool]
    guard let handle = pool.take() else { return finish(slot, -ENOBUFS) }
    // SAFETY: the pool's buffers have `shape.bytes`, and this one is on loan to us alone until it
    // is released or goes to the caller with its slice.
    let room = UnsafeMutableRawBufferPointer(
      start: pool.pointer(handle), count: pool.shape.bytes)
    let count = DatagramLayout.receive(from: operation.descriptor, into: room)
    guard count > 0 else {
      pool.release(handle)
      if count == -EAGAIN || count == -EINTR { return queuePoll(slot) }
      return finish(slot, count)
    }
    let slice = Slice(buffer: handle, offset: 0, count: Int(count))
    emit(operation.token, count, more: true, slice: slice)
    queuePoll(slot)
  }

  public func datagram(in completion: Completion, of socket: Socket) -> Datagram? {
    guard let slice = completion.slice else { return nil }
    return DatagramLayout.decode(slice, store.bytes(slice), peer: nil)
  }

  public func sendDatagram(
    _ slice: Slice, segmentBytes: Int, on socket: Socket, to destination: SocketAddress?,
    from source: IPAddress?, congestionMarks: UInt8, token: Token
  ) {
    let operation = Operation(token: token, kind: .single, descriptor: socket.descriptor)
    guard let slot = begin(operation) else { return }
    let entry = entry(arenaBytes: OutgoingDatagram.byteCount + 16)
    // SAFETY: the message lies in the arena, which holds it until the kernel has copied it with the
    // entry. The payload is not copied: the caller keeps the slice until the completion.
    let memory = arenaBytes(OutgoingDatagram.byteCount)
    let message = OutgoingDatagram.encode(
      store.mutableBytes(slice), segmentBytes: segmentBytes, to: destination, from: source,
      congestionMarks: congestionMarks, into: memory)
    io_uring_prep_sendmsg(entry, socket.descriptor, message, UInt32(MSG_NOSIGNAL))
    entry.pointee.user_data = UInt64(slot)
  }
}
