// Socket calls that act at once, and the operations that set up and end connections.

import CLinuxIO
import Glibc
import RIBase

extension UringRing {
  public func listen(
    on address: SocketAddress, reusePort: Bool, backlog: Int
  ) throws(RingError) -> Socket {
    try sockets.listen(on: address, reusePort: reusePort, backlog: backlog)
  }

  public func bindDatagram(to address: SocketAddress, reusePort: Bool) throws(RingError) -> Socket {
    try sockets.bindDatagram(to: address, reusePort: reusePort)
  }

  public func makeStreamSocket(_ family: IPAddress.Family) throws(RingError) -> Socket {
    try sockets.makeStreamSocket(family)
  }

  public func connectDatagram(
    to address: SocketAddress, from source: SocketAddress?
  ) throws(RingError) -> Socket {
    try sockets.connectDatagram(to: address, from: source)
  }

  public func localAddress(of socket: Socket) -> SocketAddress? { sockets.localAddress(of: socket) }
  public func peerAddress(of socket: Socket) -> SocketAddress? { sockets.peerAddress(of: socket) }
  public func minimumRoundTrip(of socket: Socket) -> Interval? {
    sockets.minimumRoundTrip(of: socket)
  }
  public func set(_ option: SocketOption, on socket: Socket) { sockets.set(option, on: socket) }
  public func bufferBytes(of socket: Socket) -> (receive: Int, send: Int)? {
    sockets.bufferBytes(of: socket)
  }
  public func watchAddresses() throws(RingError) -> Socket { try sockets.watchAddresses() }
  public func shutdownSending(_ socket: Socket) { sockets.shutdownSending(socket) }

  // MARK: Accept

  public func accept(on listener: Socket, token: Token) {
    let operation = Operation(token: token, kind: .accept, descriptor: listener.descriptor)
    if let slot = begin(operation) { queueAccept(slot) }
  }

  private func queueAccept(_ slot: UInt32) {
    let entry = entry()
    // SAFETY: the entry is in the mapped queue and ours until the next submit; without room for the
    // peer's address, accept writes nothing of ours.
    let descriptor = operations[slot].pointee.descriptor
    if used.multishotAccept {
      io_uring_prep_multishot_accept(entry, descriptor, nil, nil, sockets.acceptFlags)
    } else {
      io_uring_prep_accept(entry, descriptor, nil, nil, sockets.acceptFlags)
    }
    entry.pointee.user_data = UInt64(slot)
  }

  /// A connection that ended while it waited (ECONNABORTED) is no reason to stop.
  func accepted(_ slot: UInt32, _ result: Int32, _ flags: UInt32) {
    let operation = operations[slot].pointee
    let goesOn = flags & IORING_CQE_F_MORE != 0
    let canContinue = result >= 0 || result == -ECONNABORTED || result == -EINTR
    guard goesOn || (canContinue && !operation.isCancelled) else { return finish(slot, result) }
    if result >= 0 { emit(operation.token, result, more: true) }
    if !goesOn { queueAccept(slot) }
  }

  // MARK: Connect

  public func connect(_ socket: Socket, to address: SocketAddress, token: Token) {
    let operation = Operation(token: token, kind: .single, descriptor: socket.descriptor)
    guard let slot = begin(operation) else { return }
    let room = SocketAddress.kernelBytesMax
    let entry = entry(arenaBytes: room + 16)
    // SAFETY: a piece of the arena with room for either form of address. The kernel alone reads it
    // as a sockaddr, and copies it when it takes the entry, before the arena is reset.
    let name = UnsafeMutableRawBufferPointer(start: arenaBytes(room), count: room)
    let count = address.encode(into: name)
    io_uring_prep_connect(
      entry, socket.descriptor, name.baseAddress?.assumingMemoryBound(to: sockaddr.self), count)
    entry.pointee.user_data = UInt64(slot)
  }

  // MARK: Timeout

  public func timeout(at deadline: Instant, token: Token) {
    guard let slot = begin(Operation(token: token, kind: .timeout, descriptor: -1)) else { return }
    let bytes = MemoryLayout<__kernel_timespec>.size
    let entry = entry(arenaBytes: bytes + 16)
    // SAFETY: a piece of the arena with the size and at least the alignment of the time; the kernel
    // copies it when it takes the entry.
    let time = arenaBytes(bytes).bindMemory(to: __kernel_timespec.self, capacity: 1)
    time.initialize(
      to: __kernel_timespec(
        tv_sec: Int64(deadline.nanoseconds / 1_000_000_000),
        tv_nsec: Int64(deadline.nanoseconds % 1_000_000_000)))
    io_uring_prep_timeout(entry, time, 0, IORING_TIMEOUT_ABS)
    entry.pointee.user_data = UInt64(slot)
  }

  // MARK: Cancel and close

  public func cancel(_ token: Token) {
    if let slot = operations.find(token) { cancel(slot) } else { cancelResolve(token) }
  }

  private func cancel(_ slot: UInt32) {
    operations[slot].pointee.isCancelled = true
    if operations[slot].pointee.isSilent { isHurried = true }
    let entry = entry()
    io_uring_prep_cancel64(entry, UInt64(slot), 0)
    entry.pointee.user_data = UserData.ignored
  }

  public func close(_ socket: Socket, mode: CloseMode, token: Token) {
    // SAFETY: the state stays in place until another descriptor is named: cancelling may submit,
    // but what that completes is put off until `wait`. Operations never move.
    let state = descriptors[socket.descriptor]
    precondition(!state.pointee.isClosing, "socket closed twice")
    state.pointee.isClosing = true
    state.pointee.closeMode = mode
    state.pointee.closeToken = token
    var slot = state.pointee.firstOperation
    guard slot != OperationTable.none else { return closeDescriptor(socket.descriptor) }
    while slot != OperationTable.none {
      cancel(slot)
      slot = operations[slot].pointee.next
    }
  }

  /// Closes a descriptor on which nothing is pending. Its number may come back at once.
  func closeDescriptor(_ descriptor: Int32) {
    // SAFETY: as above; no descriptor is named while the state is in use.
    let state = descriptors[descriptor]
    let (mode, token) = (state.pointee.closeMode, state.pointee.closeToken)
    state.pointee = DescriptorState()
    if mode == .reset { sockets.resetOnClose(Socket(descriptor: descriptor)) }
    guard let slot = begin(Operation(token: token, kind: .single, descriptor: -1)) else { return }
    let entry = entry()
    io_uring_prep_close(entry, descriptor)
    entry.pointee.user_data = UInt64(slot)
  }
}
