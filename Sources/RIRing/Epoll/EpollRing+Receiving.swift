// accept, receive and receiveDatagrams on epoll.

import CLinuxIO
import Glibc
import RIBase

extension EpollRing {
  /// Connections taken in one turn.
  static var acceptsPerTurn: Int { 64 }
  /// Buffers and bytes of one receive. More bytes a call cost less CPU each, up to the size of the
  /// second-level cache.
  static var receiveBuffersMax: Int { 16 }
  static var receiveBytesMax: Int { 1 << 20 }

  public func accept(on listener: Socket, token: Token) {
    startInput(.accept, listener, PoolID(0), .max, token)
  }

  public func receive(on socket: Socket, into pool: PoolID, limitBytes: Int, token: Token) {
    precondition(limitBytes > 0)
    startInput(.receive, socket, pool, limitBytes, token)
  }

  public func receiveDatagrams(on socket: Socket, into pool: PoolID, token: Token) {
    precondition(store[pool].shape.bytes > DatagramLayout.payloadOffset)
    startInput(.receiveDatagrams, socket, pool, .max, token)
  }

  private func startInput(
    _ input: EpollDescriptor.Input, _ socket: Socket, _ pool: PoolID, _ limit: Int, _ token: Token
  ) {
    guard watch(socket.descriptor) else { return completions.append(token, -errno) }
    let state = table.state(socket.descriptor)
    precondition(state.pointee.input == .none, "an accept or receive is pending")
    state.pointee.input = input
    state.pointee.inputPool = pool
    state.pointee.inputLeft = limit
    state.pointee.inputToken = token
    tokens.insert(token, Operation.input(socket.descriptor).value)
    if state.pointee.mayRead { table.list(socket.descriptor) }
  }

  func endInput(_ descriptor: Int32, _ result: Int32) {
    let state = table.state(descriptor)
    state.pointee.input = .none
    tokens.remove(state.pointee.inputToken)
    completions.append(state.pointee.inputToken, result)
  }

  // MARK: Turns

  func acceptSome(_ listener: Int32) {
    let token = table.state(listener).pointee.inputToken
    for _ in 0..<Self.acceptsPerTurn {
      let accepted = ri_accept4(listener, sockets.acceptFlags)
      if accepted >= 0 {
        completions.append(token, accepted, more: true)
        continue
      }
      switch errno {
      case EAGAIN:
        table.state(listener).pointee.mayRead = false
        return
      // The connection is gone, not the listener (accept(2), "Error handling").
      case EINTR, ECONNABORTED, ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
        EOPNOTSUPP, ENETUNREACH:
        continue
      default: return endInput(listener, -errno)
      }
    }
  }

  func receiveSome(_ descriptor: Int32) {
    let state = table.state(descriptor)
    let pool = store[state.pointee.inputPool]
    let (count, asked) = takeBuffers(pool, Int(state.pointee.inputBuffers), state.pointee.inputLeft)
    guard count > 0 else { return endInput(descriptor, -ENOBUFS) }
    // recv is cheaper than readv: 6 % of an echo of 64 bytes.
    let received =
      count == 1
      ? recv(descriptor, vectors[0].iov_base, vectors[0].iov_len, 0)
      : readv(descriptor, vectors, Int32(count))
    let code = errno
    let used = deliver(descriptor, pool, max(received, 0), of: count)
    switch received {
    case asked:
      let most = max(1, min(Self.receiveBuffersMax, Self.receiveBytesMax / pool.shape.bytes))
      state.pointee.inputBuffers = UInt8(min(most, count * 2))
    case 1...:
      // A short read has emptied the socket.
      if !state.pointee.isEnding { state.pointee.mayRead = false }
      state.pointee.inputBuffers = UInt8(used)
    case 0: endInput(descriptor, -state.pointee.failure)
    default: receiveFailed(state, descriptor, code)
    }
  }

  /// Takes up to `most` buffers for `limit` bytes into `vectors`, whole ones where the limit is
  /// more than one; returns their number and bytes.
  private func takeBuffers(_ pool: BufferPool, _ most: Int, _ limit: Int) -> (Int, Int) {
    var count = 0
    var bytes = 0
    while count < most, bytes < limit, let buffer = pool.take() {
      let size = min(pool.shape.bytes, limit)
      handles[count] = buffer
      vectors[count] = iovec(iov_base: pool.pointer(buffer), iov_len: size)
      bytes += size
      count += 1
    }
    return (count, bytes)
  }

  /// Completes with `received` bytes in the first of `count` buffers and returns the others; the
  /// number of buffers that went out.
  private func deliver(
    _ descriptor: Int32, _ pool: BufferPool, _ received: Int, of count: Int
  ) -> Int {
    let state = table.state(descriptor)
    let token = state.pointee.inputToken
    var left = received
    var used = 0
    while left > 0 {
      let size = min(left, vectors[used].iov_len)
      left -= size
      state.pointee.inputLeft -= size
      completions.append(
        token, Int32(truncatingIfNeeded: size), more: state.pointee.inputLeft > 0,
        slice: Slice(buffer: handles[used], offset: 0, count: size))
      used += 1
    }
    for i in used..<count { pool.release(handles[i]) }
    if state.pointee.inputLeft <= 0 {
      state.pointee.input = .none
      tokens.remove(token)
    }
    return used
  }

  func receiveDatagrams(_ descriptor: Int32) {
    let state = table.state(descriptor)
    let pool = store[state.pointee.inputPool]
    let asked = datagrams.takeBuffers(pool, Int(state.pointee.inputBuffers))
    guard asked > 0 else { return endInput(descriptor, -ENOBUFS) }
    let received = Int(ri_recvmmsg(descriptor, datagrams.messages, UInt32(asked)))
    let code = errno
    for i in 0..<max(received, 0) {
      let slice = datagrams.finish(i, pool)
      completions.append(state.pointee.inputToken, slice.count, more: true, slice: slice)
    }
    for i in max(received, 0)..<asked { pool.release(datagrams.buffers[i]) }
    if received == asked {
      state.pointee.inputBuffers = UInt8(min(DatagramBatch.capacity, asked * 2))
    } else if received > 0 {
      state.pointee.inputBuffers = UInt8(received)
      if !state.pointee.isEnding { state.pointee.mayRead = false }
    } else {
      receiveFailed(state, descriptor, code)
    }
  }

  private func receiveFailed(
    _ state: UnsafeMutablePointer<EpollDescriptor>, _ descriptor: Int32, _ code: Int32
  ) {
    switch code {
    case EAGAIN:
      state.pointee.mayRead = false
      state.pointee.isEnding = false
      state.pointee.inputBuffers = 1
    case EINTR: break
    default: endInput(descriptor, -code)
    }
  }
}

/// Buffers laid out for one recvmmsg(2), as DatagramLayout has it.
struct DatagramBatch: ~Copyable {
  static let capacity = 16
  let messages = UnsafeMutablePointer<ri_mmsghdr>.allocate(capacity: capacity)
  let buffers = UnsafeMutablePointer<BufferHandle>.allocate(capacity: capacity)
  private let vectors = UnsafeMutablePointer<iovec>.allocate(capacity: capacity)

  init() {}

  deinit {
    messages.deallocate()
    buffers.deallocate()
    vectors.deallocate()
  }

  /// Prepares up to `most` messages, as far as the pool has buffers; returns their number.
  func takeBuffers(_ pool: BufferPool, _ most: Int) -> Int {
    let layout = DatagramLayout.self
    var count = 0
    while count < most, let buffer = pool.take() {
      // SAFETY: the pool's buffers hold more than `payloadOffset` bytes (checked when the receive
      // was armed), so name, control data and payload lie inside this one, which is on loan to us.
      let start = pool.pointer(buffer)
      buffers[count] = buffer
      vectors[count] = iovec(
        iov_base: start + layout.payloadOffset,
        iov_len: pool.shape.bytes - layout.payloadOffset)
      var message = ri_mmsghdr()
      message.header.msg_name = start + layout.headerBytes
      message.header.msg_namelen = socklen_t(layout.nameBytes)
      message.header.msg_iov = vectors + count
      message.header.msg_iovlen = 1
      message.header.msg_control = start + layout.controlOffset
      message.header.msg_controllen = layout.controlBytes
      messages[count] = message
      count += 1
    }
    return count
  }

  /// Writes the header of a datagram that arrived; the slice is all of it.
  func finish(_ index: Int, _ pool: BufferPool) -> Slice {
    let message = messages[index]
    let start = pool.pointer(buffers[index])
    let header = message.header
    start.storeBytes(of: header.msg_namelen, as: UInt32.self)
    start.storeBytes(of: UInt32(header.msg_controllen), toByteOffset: 4, as: UInt32.self)
    start.storeBytes(of: message.count, toByteOffset: 8, as: UInt32.self)
    start.storeBytes(of: UInt32(bitPattern: header.msg_flags), toByteOffset: 12, as: UInt32.self)
    return Slice(
      buffer: buffers[index], offset: 0,
      count: DatagramLayout.payloadOffset + Int(message.count))
  }
}
