// The ring on epoll(7): edge-triggered readiness, and the system calls made here.
//
// An operation is tried when it is asked for, where that is likely to succeed, else when epoll says
// that the descriptor is ready. `wait` gives each ready descriptor one turn, so that no stream
// keeps the others waiting. Receiving is in EpollRing+Receiving, sending in +Sending.

import CLinuxIO
import Glibc
import RIBase

/// A ring for kernels and containers without io_uring. Linux 5.11 on for waits of less than a
/// millisecond.
///
/// Its state is used by one thread and never inside a closure that calls back into the ring, so it
/// goes without the dynamic exclusivity checks that would cost a call for each access.
public final class EpollRing: IORing {
  /// What a token names, as TokenTable keeps it.
  enum Operation {
    case input(Int32)
    case output(Int32)
    case timer(UInt32)

    var value: UInt64 {
      switch self {
      case .input(let descriptor): UInt64(UInt32(bitPattern: descriptor))
      case .output(let descriptor): 1 << 32 | UInt64(UInt32(bitPattern: descriptor))
      case .timer(let slot): 2 << 32 | UInt64(slot)
      }
    }

    init(_ value: UInt64) {
      let number = UInt32(truncatingIfNeeded: value)
      switch value >> 32 {
      case 0: self = .input(Int32(bitPattern: number))
      case 1: self = .output(Int32(bitPattern: number))
      default: self = .timer(number)
      }
    }
  }

  /// Events of one epoll_wait(2); more are there at the next.
  static let eventsMax = 512

  public let store: BufferStore
  @exclusivity(unchecked) public private(set) var now: Instant
  let sockets = Sockets(nonblocking: true)
  @exclusivity(unchecked) var table = EpollTable()
  @exclusivity(unchecked) var tokens = TokenTable()
  @exclusivity(unchecked) var completions = CompletionQueue()
  /// Scratch for the gathering calls.
  let vectors = UnsafeMutablePointer<iovec>.allocate(capacity: Limits.sendSlicesMax)
  let handles = UnsafeMutablePointer<BufferHandle>.allocate(capacity: receiveBuffersMax)
  let datagrams = DatagramBatch()
  private let descriptor: Int32
  private let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: eventsMax)
  @exclusivity(unchecked) private var timers = TimerHeap()
  @exclusivity(unchecked) private var resolver: Resolver
  @exclusivity(unchecked) private var chance = KernelRandom()
  private let eventWaker: EventWaker
  @exclusivity(unchecked) private var hasNanosecondWait = true

  /// Fails where the process has no descriptors left.
  public init(store: BufferStore) throws(RingError) {
    self.store = store
    now = KernelClock.now()
    eventWaker = try EventWaker()
    resolver = Resolver(waker: eventWaker)
    descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
    if descriptor < 0 { throw RingError(call: "epoll_create1", code: errno) }
    var event = epoll_event()
    event.events = RI_EPOLLIN | RI_EPOLLET
    event.data.fd = eventWaker.descriptor
    if epoll_ctl(descriptor, EPOLL_CTL_ADD, eventWaker.descriptor, &event) != 0 {
      throw RingError(call: "epoll_ctl", code: errno)
    }
  }

  deinit {
    if descriptor >= 0 { Glibc.close(descriptor) }
    events.deallocate()
    vectors.deallocate()
    handles.deallocate()
  }

  public var backendName: String { "epoll" }
  public var features: [String] {
    ["wait: \(hasNanosecondWait ? "epoll_pwait2" : "epoll_wait")"]
  }

  // MARK: Time and chance

  public func updateNow() -> Instant {
    now = KernelClock.now()
    return now
  }

  public var wallClockSeconds: Double { KernelClock.wallClockSeconds() }
  public func random() -> UInt64 { chance.next() }

  // MARK: Sockets

  public func listen(
    on address: SocketAddress, reusePort: Bool, backlog: Int
  ) throws(RingError) -> Socket {
    try sockets.listen(on: address, reusePort: reusePort, backlog: backlog)
  }

  public func bindDatagram(
    to address: SocketAddress, reusePort: Bool
  ) throws(RingError) -> Socket {
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

  public func localAddress(of socket: Socket) -> SocketAddress? {
    sockets.localAddress(of: socket)
  }
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

  // MARK: Other operations

  public func timeout(at deadline: Instant, token: Token) {
    tokens.insert(token, Operation.timer(timers.insert(deadline, token)).value)
  }

  public func resolve(host: String, port: Port, token: Token) {
    resolver.start(host: host, port: port, token: token)
    // Literals are answered by the next `wait`, which must not go to sleep then.
    eventWaker.wake()
  }

  public func cancel(_ token: Token) {
    guard let value = tokens.find(token) else {
      if resolver.cancel(token) { completions.append(token, -ECANCELED) }
      return
    }
    switch Operation(value) {
    case .input(let descriptor): endInput(descriptor, -ECANCELED)
    case .output(let descriptor): cancelOutput(descriptor)
    case .timer(let slot):
      timers.remove(slot)
      tokens.remove(token)
      completions.append(token, -ECANCELED)
    }
  }

  public func close(_ socket: Socket, mode: CloseMode, token: Token) {
    // SAFETY: the state stays in place until a higher descriptor is named; what is called while we
    // hold it names this one. So it is wherever the ring keeps a state.
    let state = table.state(socket.descriptor)
    if state.pointee.input != .none { endInput(socket.descriptor, -ECANCELED) }
    if state.pointee.output != .none { cancelOutput(socket.descriptor) }
    table.reset(socket.descriptor)
    if mode == .reset { sockets.resetOnClose(socket) }
    // Closing also ends epoll's interest in the descriptor.
    sockets.closeNow(socket)
    completions.append(token, 0)
  }

  private func cancelOutput(_ descriptor: Int32) {
    let sent = table.state(descriptor).pointee.outputSent
    endOutput(descriptor, sent > 0 ? sent : -ECANCELED)
  }

  // MARK: Completions

  public func wait(until deadline: Instant?) -> UnsafeBufferPointer<Completion> {
    var woken = poll(until: deadline)
    while !completions.endsWait, !woken, deadline.map({ $0 > now }) ?? true {
      woken = poll(until: deadline)
    }
    return completions.lend()
  }

  public func datagram(in completion: Completion, of socket: Socket) -> Datagram? {
    guard let slice = completion.slice else { return nil }
    // recvmmsg(2) names the source on connected sockets too.
    return DatagramLayout.decode(slice, store.bytes(slice), peer: nil)
  }

  public func takeAddresses(_ token: Token) -> [SocketAddress] { resolver.takeAddresses(token) }
  public var waker: any RingWaker { eventWaker }

  // MARK: Readiness

  /// Has epoll watch a descriptor in both directions; its current readiness is the first edge.
  func watch(_ descriptor: Int32) -> Bool {
    let state = table.state(descriptor)
    if state.pointee.isWatched { return true }
    var event = epoll_event()
    event.events = RI_EPOLLIN | RI_EPOLLOUT | RI_EPOLLRDHUP | RI_EPOLLET
    event.data.fd = descriptor
    guard epoll_ctl(self.descriptor, EPOLL_CTL_ADD, descriptor, &event) == 0 else { return false }
    state.pointee.isWatched = true
    return true
  }

  /// Asks for readiness once, sleeping only when nothing is there already, and gives every ready
  /// descriptor its turn; true when a waker ended the sleep.
  private func poll(until deadline: Instant?) -> Bool {
    var wake = deadline
    if let timer = timers.first, wake.map({ timer < $0 }) ?? true { wake = timer }
    if completions.endsWait || table.readyCount > 0 { wake = Instant(nanoseconds: 0) }
    // SAFETY: `events` has room for the `eventsMax` that epoll is told of; the first `count` are
    // initialised when it returns, and only those are read.
    let count = epollWait(until: wake)
    now = KernelClock.now()
    var woken = false
    for i in 0..<max(0, Int(count)) {
      let event = events[i]
      if event.data.fd == eventWaker.descriptor {
        woken = eventWaker.awaitWake()
      } else {
        noteEvent(event.data.fd, event.events)
      }
    }
    for _ in 0..<table.readyCount {
      if let descriptor = table.popReady() { serve(descriptor) }
    }
    while let token = timers.pop(at: now) {
      tokens.remove(token)
      completions.append(token, 0)
    }
    if resolver.isActive { resolver.poll { completions.append($0, $1) } }
    return woken
  }

  private func noteEvent(_ descriptor: Int32, _ events: UInt32) {
    let state = table.state(descriptor)
    guard state.pointee.isWatched else { return }
    let ending = events & (RI_EPOLLRDHUP | RI_EPOLLHUP | RI_EPOLLERR) != 0
    if ending { state.pointee.isEnding = true }
    if ending || events & RI_EPOLLIN != 0 { state.pointee.mayRead = true }
    if events & (RI_EPOLLOUT | RI_EPOLLHUP | RI_EPOLLERR) != 0 { state.pointee.mayWrite = true }
    if state.pointee.input != .none || state.pointee.output != .none { table.list(descriptor) }
  }

  /// One turn of a ready descriptor.
  private func serve(_ descriptor: Int32) {
    let state = table.state(descriptor)
    if state.pointee.mayRead {
      switch state.pointee.input {
      case .none: break
      case .accept: acceptSome(descriptor)
      case .receive: receiveSome(descriptor)
      case .receiveDatagrams: receiveDatagrams(descriptor)
      }
    }
    if state.pointee.mayWrite {
      switch state.pointee.output {
      case .none: break
      case .connect: finishConnect(descriptor)
      case .send: sendSome(descriptor)
      }
    }
    if state.pointee.mayRead, state.pointee.input != .none { table.list(descriptor) }
  }

  private func epollWait(until deadline: Instant?) -> Int32 {
    let capacity = Int32(Self.eventsMax)
    guard let deadline else { return epoll_wait(descriptor, events, capacity, -1) }
    let now = deadline.nanoseconds == 0 ? deadline : KernelClock.now()
    guard deadline > now else { return epoll_wait(descriptor, events, capacity, 0) }
    let left = deadline - now
    if hasNanosecondWait {
      var time = timespec(
        tv_sec: Int(left.nanoseconds / 1_000_000_000),
        tv_nsec: Int(left.nanoseconds % 1_000_000_000))
      let count = epoll_pwait2(descriptor, events, capacity, &time, nil)
      if count >= 0 || errno != ENOSYS { return count }
      hasNanosecondWait = false
    }
    // Rounded up: a wait never ends before its deadline.
    let milliseconds = min(left.nanoseconds / 1_000_000 + 1, Int64(Int32.max))
    return epoll_wait(descriptor, events, capacity, Int32(milliseconds))
  }
}
