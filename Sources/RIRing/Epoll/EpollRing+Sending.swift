// connect, send and sendDatagram on epoll.

import CLinuxIO
import Glibc
import RIBase

extension EpollRing {
  public func connect(_ socket: Socket, to address: SocketAddress, token: Token) {
    let descriptor = socket.descriptor
    let result = KernelAddress(address).withSockaddr { Glibc.connect(descriptor, $0, $1) }
    if result == 0 { return completions.append(token, 0) }
    // An interrupted connect goes on as one in progress does (connect(2)).
    guard errno == EINPROGRESS || errno == EINTR, watch(descriptor) else {
      return completions.append(token, -errno)
    }
    let state = table.state(descriptor)
    precondition(state.pointee.output == .none, "a connect is pending")
    state.pointee.output = .connect
    state.pointee.outputToken = token
    state.pointee.outputSent = 0
    state.pointee.mayWrite = false
    tokens.insert(token, Operation.output(descriptor).value)
  }

  func finishConnect(_ descriptor: Int32) {
    endOutput(descriptor, -sockets.pendingError(of: Socket(descriptor: descriptor)))
  }

  public func send(
    _ queue: SliceQueue, on socket: Socket, mode: SendMode, isPatient: Bool, token: Token
  ) {
    let descriptor = socket.descriptor
    // SAFETY: the state stays in place until a higher descriptor is named: neither the first try
    // nor `watch` names another.
    let state = table.state(descriptor)
    precondition(state.pointee.output == .none, "a send is pending")
    state.pointee.output = .send
    state.pointee.outputMode = mode
    state.pointee.outputToken = token
    state.pointee.outputQueue = queue
    state.pointee.outputSent = 0
    state.pointee.outputTotal = Int32(truncatingIfNeeded: store.sendableBytes(queue))
    state.pointee.isOutputPatient = isPatient
    if state.pointee.mayWrite || mode == .attempt { sendSome(descriptor) }
    state.pointee.isOutputPatient = false
    guard state.pointee.output == .send else { return }
    tokens.insert(token, Operation.output(descriptor).value)
    if !watch(descriptor) { endOutput(descriptor, -errno) }
  }

  func endOutput(_ descriptor: Int32, _ result: Int32) {
    let state = table.state(descriptor)
    state.pointee.output = .none
    tokens.remove(state.pointee.outputToken)
    let isWhole = result == state.pointee.outputTotal
    completions.append(
      state.pointee.outputToken, result, isPatient: isWhole && state.pointee.isOutputPatient)
  }

  /// Sends what the socket takes, and ends the send where its mode says so.
  func sendSome(_ descriptor: Int32) {
    let state = table.state(descriptor)
    // SAFETY: `vectors` is the ring's, with room for the sendSlicesMax that `gather` lists at most.
    // They point into buffers that the caller's queue holds until the send has completed, and
    // sendmsg is done with all of it when it returns.
    var message = msghdr()
    message.msg_iov = vectors
    message.msg_iovlen = store.gather(
      state.pointee.outputQueue, from: Int(state.pointee.outputSent),
      to: Int(state.pointee.outputTotal), into: vectors)
    var count = 0
    repeat {
      count = sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL))
    } while count < 0 && errno == EINTR
    if count < 0, errno != EAGAIN {
      let code = errno
      if code != EPIPE { state.pointee.failure = code }
      return endOutput(descriptor, -code)
    }
    state.pointee.outputSent += Int32(truncatingIfNeeded: max(count, 0))
    let sent = state.pointee.outputSent
    let isComplete = sent == state.pointee.outputTotal
    // A short write has filled the socket: the next edge tells of room.
    if !isComplete { state.pointee.mayWrite = false }
    switch state.pointee.outputMode {
    case .attempt: return endOutput(descriptor, sent > 0 || isComplete ? sent : -EAGAIN)
    case .some where sent > 0 || isComplete: return endOutput(descriptor, sent)
    case .all where isComplete: return endOutput(descriptor, sent)
    case .some, .all: break
    }
  }

  // MARK: Datagrams

  public func sendDatagram(
    _ slice: Slice, segmentBytes: Int, on socket: Socket, to destination: SocketAddress?,
    from source: IPAddress?, congestionMarks: UInt8, token: Token
  ) {
    let bytes = store.mutableBytes(slice)
    let isRun = segmentBytes > 0 && segmentBytes < bytes.count
    var result: Int32 = -EIO
    if !isRun || Sockets.cutsSegments {
      result = sendMessage(socket, bytes, segmentBytes, destination, source, congestionMarks)
    }
    if isRun, result == -EIO || result == -EINVAL || result == -EMSGSIZE {
      // The kernel, the device or the path does not take them together: one by one.
      result = 0
      while Int(result) < bytes.count {
        let end = min(bytes.count, Int(result) + segmentBytes)
        let part = UnsafeMutableRawBufferPointer(rebasing: bytes[Int(result)..<end])
        let sent = sendMessage(socket, part, 0, destination, source, congestionMarks)
        if sent < 0 {
          if result == 0 { result = sent }
          break
        }
        result += sent
      }
    }
    completions.append(token, result)
  }

  private func sendMessage(
    _ socket: Socket, _ bytes: UnsafeMutableRawBufferPointer, _ segmentBytes: Int,
    _ destination: SocketAddress?, _ source: IPAddress?, _ congestionMarks: UInt8
  ) -> Int32 {
    withUnsafeTemporaryAllocation(byteCount: OutgoingDatagram.byteCount, alignment: 8) { memory in
      // SAFETY: `memory` has the size and alignment that `encode` asks for and outlives the call of
      // sendmsg, as does the payload: the kernel keeps no pointer to either.
      guard let base = memory.baseAddress else { return -ENOMEM }
      let message = OutgoingDatagram.encode(
        bytes, segmentBytes: segmentBytes, to: destination, from: source,
        congestionMarks: congestionMarks, into: base)
      var count = 0
      repeat {
        count = sendmsg(socket.descriptor, message, Int32(MSG_NOSIGNAL))
      } while count < 0 && errno == EINTR
      return count < 0 ? -errno : Int32(truncatingIfNeeded: count)
    }
  }
}
