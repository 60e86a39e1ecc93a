// Sending on streams: one slice by send, several gathered by sendmsg.
//
// A patient send is tried once and keeps silent when the kernel has taken all of it: then no
// completion has to be reaped, which would take a call of its own before the ring can sleep. One
// that meets a full socket tells how much was taken, and goes on as any other.

import CLinuxIO
import Glibc
import RIBase

extension UringRing {
  /// Of a send that is tried once: in full, or it fails.
  static let silentFlags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT) | Int32(MSG_WAITALL)

  public func send(
    _ queue: SliceQueue, on socket: Socket, mode: SendMode, isPatient: Bool, token: Token
  ) {
    var operation = Operation(token: token, kind: .send, descriptor: socket.descriptor)
    operation.mode = mode
    operation.queue = queue
    operation.remaining = store.sendableBytes(queue)
    guard operation.remaining > 0 else { return emit(token, 0) }
    operation.isSilent = isPatient && used.silentSends
    guard let slot = begin(operation) else { return }
    queueSend(slot)
    if operation.isSilent { silentSends.append(slot) }
  }

  /// Hands the bytes of an operation that are not sent yet to the kernel.
  private func queueSend(_ slot: UInt32) {
    let operation = operations[slot].pointee
    var flags = Int32(MSG_NOSIGNAL)
    switch operation.mode {
    case .attempt: flags |= Int32(MSG_DONTWAIT)
    case .some: break
    case .all: flags |= Int32(MSG_WAITALL)
    }
    if operation.isSilent { flags = Self.silentFlags }
    let vectorBytes = Limits.sendSlicesMax * MemoryLayout<iovec>.stride
    let messageBytes = MemoryLayout<msghdr>.stride
    let isSingle = operation.queue.sliceCount == 1
    let entry = entry(arenaBytes: isSingle ? 0 : vectorBytes + messageBytes + 32)
    // SAFETY: vectors and message are pieces of the arena, with the room asked for along with the
    // entry, and the kernel copies them when it takes it. The bytes themselves stay with the
    // caller, who removes nothing from the queue before the completion; `done + remaining` never
    // exceeds those that the send was asked for.
    if isSingle, let slice = store.first(of: operation.queue) {
      let bytes = store.bytes(slice)
      io_uring_prep_send(
        entry, operation.descriptor, bytes.baseAddress.map { $0 + operation.done },
        operation.remaining, flags)
    } else {
      let vectors = arenaBytes(vectorBytes).bindMemory(
        to: iovec.self, capacity: Limits.sendSlicesMax)
      let count = store.gather(
        operation.queue, from: operation.done, to: operation.done + operation.remaining,
        into: vectors)
      let message = arenaBytes(messageBytes).bindMemory(to: msghdr.self, capacity: 1)
      message.initialize(to: msghdr())
      message.pointee.msg_iov = vectors
      message.pointee.msg_iovlen = count
      io_uring_prep_sendmsg(entry, operation.descriptor, message, UInt32(bitPattern: flags))
    }
    if operation.isSilent { entry.pointee.flags |= RI_IOSQE_CQE_SKIP_SUCCESS }
    entry.pointee.user_data = UInt64(slot)
  }

  /// Completes the silent sends that the kernel has taken and said nothing of. Its completions so
  /// far must have been reaped.
  func settleSilentSends() {
    guard silentTaken > 0 else { return }
    for slot in silentSends[..<silentTaken] where operations[slot].pointee.isSilent {
      operations[slot].pointee.isSilent = false
      finish(slot, Int32(clamping: operations[slot].pointee.remaining), isPatient: true)
    }
    silentSends.removeFirst(silentTaken)
    silentTaken = 0
  }

  func sent(_ slot: UInt32, _ result: Int32) {
    // SAFETY: operations never move, and this one is not removed before `finish`, after which it is
    // not read.
    let operation = operations[slot]
    let wasSilent = operation.pointee.isSilent
    operation.pointee.isSilent = false
    if result > 0 {
      operation.pointee.done += Int(result)
      operation.pointee.remaining -= Int(result)
    }
    if result != -EAGAIN { noteFailure(operation.pointee, result) }
    let (done, isCancelled) = (operation.pointee.done, operation.pointee.isCancelled)
    guard operation.pointee.mode == .all else {
      return finish(slot, result == -EINTR ? -EAGAIN : result)
    }
    let isShort = result > 0 && operation.pointee.remaining > 0
    let mustWait = wasSilent && result == -EAGAIN
    if (isShort || mustWait || result == -EINTR) && !isCancelled { return queueSend(slot) }
    // A cancelled one reports what it sent; a failed one fails, for the rest can never follow.
    finish(slot, result < 0 && !(isCancelled && done > 0) ? result : Int32(clamping: done))
  }

  /// Keeps the error of a broken connection for its receive. A send that is to take everything and
  /// has sent a part reports the part alone, and the error is gone.
  private func noteFailure(_ operation: Operation, _ result: Int32) {
    // SAFETY: the state stays in place until another descriptor is named, and none is here.
    let state = descriptors[operation.descriptor]
    switch -result {
    case ECONNRESET, ECONNABORTED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH:
      state.pointee.failure = -result
    case ..<0 where operation.mode == .all && operation.remaining > 0:
      if sockets.isDisconnected(Socket(descriptor: operation.descriptor)) {
        state.pointee.failure = ECONNRESET
      }
    default: break
    }
  }
}
