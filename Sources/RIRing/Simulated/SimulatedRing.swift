// The ring of one simulated shard: the contract of IORing on a SimulatedKernel.

import Glibc
import RIBase
import Synchronization

/// A ring whose kernel, network and clock are simulated.
///
/// `wait` returns at once with what is due: time passes in `SimulatedKernel.run`, when every shard
/// rests. A ring with `passesTime` lets it pass in `wait` itself, as if it were alone in the world.
public final class SimulatedRing: IORing {
  enum Operation {
    case accept(SimulatedSocket)
    case connect(SimulatedSocket)
    case receive(SimulatedSocket)
    case send(SimulatedSocket)
    case timeout(id: UInt64, at: Instant)
    case resolve(id: UInt64)
  }

  public let store: BufferStore
  public let kernel: SimulatedKernel
  public let host: SimulatedHost
  public private(set) var now: Instant
  /// Whether `wait` moves the kernel's time on until something happens.
  public var passesTime = false
  /// Whether the faults of completions befall it: those of rings.
  public var takesFaults = false
  /// Whether the last `wait` has left completions for the next: what is counted by sockets is then
  /// ahead of what the ring's owner knows.
  public private(set) var isPartlyReaped = false
  /// Descriptors of this ring's process, if fewer than the kernel's.
  public var descriptorsMax = Int.max
  public internal(set) var descriptorCount = 0
  /// Its clocks go ahead of the kernel's time by so much.
  private var ahead = Interval.zero
  private var wallClockAhead = 0.0
  let index: Int
  var readable: [SimulatedSocket] = []
  /// What the last `wait` was ready to wait for, when it found nothing to do.
  private(set) var deadline: Instant?
  private var isResting = false
  /// Its last turn did not wait: whatever has completed since, nobody asks for it.
  private var hasEnded = false
  private var completions = CompletionQueue()
  /// The patient send that is being tried, and its bytes.
  private var patientToken: Token?
  private var patientBytes: Int32 = 0
  private var operations: [Token: Operation] = [:]
  /// Addresses whose completions wait, and those of the completions lent.
  private var answers: [Token: [SocketAddress]] = [:]
  private var lentAnswers: [Token: [SocketAddress]] = [:]
  private var nextID: UInt64 = 0
  private let flag = SimulatedWaker()

  /// A ring of a shard on `host`, one of the kernel's.
  public init(kernel: SimulatedKernel, host: SimulatedHost, store: BufferStore) {
    self.kernel = kernel
    self.host = host
    self.store = store
    now = kernel.now
    index = kernel.rings.count
    kernel.rings.append(SimulatedKernel.RingPlace(ring: self))
  }

  deinit { kernel.closeAll(of: index) }

  /// Ends the ring as a killed process ends: its sockets are closed by the kernel, and nothing
  /// completes any more.
  public func kill() {
    operations.removeAll()
    completions = CompletionQueue()
    readable.removeAll()
    kernel.closeAll(of: index)
  }

  public var backendName: String { "simulated" }
  public var features: [String] { ["host: \(host.index)"] }
  /// Operations that have not ended.
  public var pendingCount: Int { operations.count }
  /// The lookups among them, which no kernel can cancel.
  public var lookupCount: Int {
    operations.values.count { if case .resolve = $0 { true } else { false } }
  }

  // MARK: Time and chance

  public func updateNow() -> Instant {
    now = kernel.now + ahead
    return now
  }

  public var wallClockSeconds: Double {
    1.7e9 + wallClockAhead + Double(kernel.now.nanoseconds) / 1e9
  }

  /// The process's clocks jump: the monotonic one ahead, as after a pause of its machine, the wall
  /// clock anywhere. What is due by then is due at once.
  public func jumpClocks(by span: Interval, wall seconds: Double) {
    precondition(span >= .zero, "a monotonic clock never goes back")
    kernel.tally.clockJumps += 1
    ahead = Interval(nanoseconds: ahead.nanoseconds + span.nanoseconds)
    wallClockAhead += seconds
    deadline = deadline.map { $0 + Interval(nanoseconds: -span.nanoseconds) }
    let timeouts = operations.compactMap { token, operation in
      if case .timeout(let id, let time) = operation {
        (token: token, id: id, time: time)
      } else {
        nil
      }
    }
    for timeout in timeouts.sorted(by: { $0.id < $1.id }) {
      schedule(timeout.token, id: timeout.id, at: timeout.time)
    }
  }

  /// Time of this ring as the kernel's.
  private func kernelTime(_ time: Instant) -> Instant {
    time + Interval(nanoseconds: -ahead.nanoseconds)
  }

  /// One that comes after the timeout has ended means nothing.
  private func schedule(_ token: Token, id: UInt64, at time: Instant) {
    kernel.schedule(.timeout(ring: index, token, id: id), at: kernelTime(time))
  }
  public func random() -> UInt64 { kernel.chance.next() }

  // MARK: Turns

  /// Whether a turn would find something to do.
  var needsTurn: Bool {
    if hasEnded { return false }
    if !isResting || completions.endsWait || !readable.isEmpty || flag.isSet { return true }
    guard let deadline else { return false }
    return deadline <= kernel.now
  }

  /// Unless the turn waits, the shard is taken to have ended.
  func beginTurn() {
    isResting = true
    hasEnded = true
    deadline = nil
  }

  // MARK: Sockets

  public func listen(
    on address: SocketAddress, reusePort: Bool, backlog: Int
  ) throws(RingError) -> Socket {
    let socket = try kernel.makeSocket(.listener, at: address, reusePort: reusePort, ring: self)
    socket.backlogMax = max(1, backlog)
    return Socket(descriptor: socket.descriptor)
  }

  public func bindDatagram(
    to address: SocketAddress, reusePort: Bool
  ) throws(RingError) -> Socket {
    let socket = try kernel.makeSocket(.datagram, at: address, reusePort: reusePort, ring: self)
    return Socket(descriptor: socket.descriptor)
  }

  public func makeStreamSocket(_ family: IPAddress.Family) throws(RingError) -> Socket {
    let any = SocketAddress(family == .v4 ? .anyV4 : .anyV6, 0)
    let socket = try kernel.makeSocket(.stream, at: any, reusePort: false, ring: self)
    return Socket(descriptor: socket.descriptor)
  }

  public func connectDatagram(
    to address: SocketAddress, from source: SocketAddress?
  ) throws(RingError) -> Socket {
    let local = source ?? SocketAddress(kernel.sourceAddress(on: host, to: address.ip), 0)
    let socket = try kernel.makeSocket(
      .datagram, at: local, reusePort: source != nil, ring: self)
    socket.remote = address
    return Socket(descriptor: socket.descriptor)
  }

  public func localAddress(of socket: Socket) -> SocketAddress? {
    kernel.socket(socket.descriptor)?.local
  }

  public func peerAddress(of socket: Socket) -> SocketAddress? {
    kernel.socket(socket.descriptor)?.remote
  }

  public func minimumRoundTrip(of socket: Socket) -> Interval? {
    guard let socket = kernel.socket(socket.descriptor), socket.isConnected,
      let line = socket.outgoing?.line
    else { return nil }
    let delay = line.path?.delay ?? kernel.faults.delay
    return Interval(nanoseconds: 2 * delay.lowerBound.nanoseconds)
  }

  public func set(_ option: SocketOption, on socket: Socket) {
    guard let socket = kernel.socket(socket.descriptor) else { return }
    switch option {
    case .receiveBufferBytes(let bytes): socket.receiveCapacity = max(1, bytes)
    case .sendBufferBytes(let bytes): socket.sendCapacity = max(1, bytes)
    case .congestionMarks: socket.reportsCongestionMarks = true
    case .noDelay, .notSentLowWater, .receiveBufferHeld, .receiveBufferReleased,
      .congestionControl, .unfragmented, .pickedByConnectionID, .pickedByAddresses:
      break
    }
  }

  public func bufferBytes(of socket: Socket) -> (receive: Int, send: Int)? {
    kernel.socket(socket.descriptor).map { ($0.receiveCapacity, $0.sendCapacity) }
  }

  /// Hosts here keep their addresses.
  public func watchAddresses() throws(RingError) -> Socket {
    throw RingError(call: "socket", code: EAFNOSUPPORT)
  }

  public func shutdownSending(_ socket: Socket) {
    guard let socket = kernel.socket(socket.descriptor) else { return }
    kernel.shutdownSending(socket)
  }

  // MARK: Operations

  public func accept(on listener: Socket, token: Token) {
    guard let socket = kernel.socket(listener.descriptor), socket.role == .listener else {
      return completions.append(token, -EBADF)
    }
    precondition(socket.accept == nil, "an accept is pending")
    socket.accept = SimulatedSocket.Pending(ring: index, token: token)
    operations[token] = .accept(socket)
    kernel.list(socket)
  }

  public func connect(_ socket: Socket, to address: SocketAddress, token: Token) {
    guard let socket = kernel.socket(socket.descriptor) else {
      return completions.append(token, -EBADF)
    }
    precondition(socket.connect == nil && socket.remote == nil, "connected already")
    socket.connect = SimulatedSocket.Pending(ring: index, token: token)
    operations[token] = .connect(socket)
    kernel.startConnect(socket, to: address)
  }

  public func receive(on socket: Socket, into pool: PoolID, limitBytes: Int, token: Token) {
    precondition(limitBytes > 0)
    startReceive(on: socket, into: pool, limitBytes: limitBytes, token: token)
  }

  public func receiveDatagrams(on socket: Socket, into pool: PoolID, token: Token) {
    startReceive(on: socket, into: pool, limitBytes: .max, token: token)
  }

  private func startReceive(
    on socket: Socket, into pool: PoolID, limitBytes: Int, token: Token
  ) {
    guard let socket = kernel.socket(socket.descriptor) else {
      return completions.append(token, -EBADF)
    }
    precondition(socket.receive == nil, "a receive is pending")
    guard socket.role == .datagram || socket.isConnected || socket.failure != 0 else {
      return completions.append(token, -ENOTCONN)
    }
    socket.receive = SimulatedSocket.PendingReceive(
      ring: index, token: token, pool: pool, left: limitBytes)
    operations[token] = .receive(socket)
    kernel.list(socket)
  }

  public func send(
    _ queue: SliceQueue, on socket: Socket, mode: SendMode, isPatient: Bool, token: Token
  ) {
    guard let socket = kernel.socket(socket.descriptor) else {
      return completions.append(token, -EBADF)
    }
    precondition(socket.send == nil, "a send is pending")
    socket.send = SimulatedSocket.PendingSend(
      ring: index, token: token, queue: queue, sent: 0, total: store.sendableBytes(queue),
      mode: mode)
    operations[token] = .send(socket)
    patientToken = isPatient ? token : nil
    patientBytes = Int32(clamping: store.sendableBytes(queue))
    kernel.progressSend(socket)
    patientToken = nil
  }

  public func sendDatagram(
    _ slice: Slice, segmentBytes: Int, on socket: Socket, to destination: SocketAddress?,
    from source: IPAddress?, congestionMarks: UInt8, token: Token
  ) {
    guard let socket = kernel.socket(socket.descriptor), socket.role == .datagram else {
      return completions.append(token, -EBADF)
    }
    completions.append(
      token,
      kernel.sendDatagrams(
        store.bytes(slice), segmentBytes: segmentBytes, on: socket, to: destination,
        from: source, congestionMarks: congestionMarks))
  }

  public func timeout(at deadline: Instant, token: Token) {
    nextID += 1
    operations[token] = .timeout(id: nextID, at: deadline)
    schedule(token, id: nextID, at: deadline)
  }

  public func resolve(host: String, port: Port, token: Token) {
    nextID += 1
    operations[token] = .resolve(id: nextID)
    let addresses = kernel.addresses(of: host, port: port)
    var time = kernel.now + kernel.delay()
    if takesFaults, kernel.chance.chance(kernel.faults.slowLookup) {
      let longest = Int(kernel.faults.lookupTime.nanoseconds)
      time = time + Interval(nanoseconds: Int64(kernel.chance.below(longest + 1)))
      kernel.tally.slowLookups += 1
    }
    kernel.schedule(.resolved(ring: index, token, id: nextID, addresses), at: time)
  }

  public func cancel(_ token: Token) {
    guard let operation = operations[token] else { return }
    switch operation {
    case .accept(let socket): socket.accept = nil
    case .connect(let socket): socket.connect = nil
    case .receive(let socket):
      bringLate(socket)
      guard socket.receive != nil else { return }
      socket.receive = nil
    case .send(let socket):
      let sent = socket.send?.sent ?? 0
      socket.send = nil
      if sent > 0 { return end(token, Int32(sent)) }
    case .timeout, .resolve: break
    }
    end(token, -ECANCELED)
  }

  public func close(_ socket: Socket, mode: CloseMode, token: Token) {
    guard let socket = kernel.socket(socket.descriptor) else {
      return completions.append(token, -EBADF)
    }
    for pending in [socket.accept?.token, socket.connect?.token, socket.receive?.token] {
      if let pending { cancel(pending) }
    }
    if let send = socket.send { cancel(send.token) }
    kernel.close(socket, mode: mode)
    completions.append(token, 0)
  }

  /// The cancellation may have come too late for what was there, or just then.
  private func bringLate(_ socket: SimulatedSocket) {
    guard takesFaults, kernel.chance.chance(kernel.faults.lateCancel) else { return }
    kernel.hasten(socket)
    guard socket.isReadable else { return }
    kernel.tally.lateReceives += 1
    if socket.role == .stream { receiveStream(socket) } else { receiveDatagrams(socket) }
  }

  // MARK: Completions

  public func wait(until deadline: Instant?) -> UnsafeBufferPointer<Completion> {
    hasEnded = false
    kernel.deliverDue()
    var woken = flag.take()
    serveReadable()
    if passesTime {
      let limit = deadline.map { kernelTime($0) }
      while !woken, !completions.endsWait, limit.map({ $0 > kernel.now }) ?? true {
        if !kernel.step(until: limit) { sched_yield() }
        serveReadable()
        woken = flag.take()
      }
    }
    _ = updateNow()
    isResting = !completions.endsWait && !woken && deadline.map { $0 > now } ?? true
    self.deadline = deadline.map { kernelTime($0) }
    // It would sleep: what ends no wait is not seen yet.
    if isResting { return UnsafeBufferPointer(start: nil, count: 0) }
    lentAnswers.removeAll(keepingCapacity: true)
    swap(&lentAnswers, &answers)
    return lend()
  }

  /// All completions that are there, or the first of them.
  private func lend() -> UnsafeBufferPointer<Completion> {
    let all = completions.lend()
    isPartlyReaped = false
    guard takesFaults, all.count > 1, kernel.chance.chance(kernel.faults.partialReap) else {
      return all
    }
    // A ring looks at the pool itself when it tells of an empty one: this is not told late.
    let told = all.lastIndex { $0.result == -ENOBUFS }.map { $0 + 1 } ?? 0
    let count = max(1 + kernel.chance.below(all.count - 1), told)
    guard count < all.count else { return all }
    kernel.tally.partialReaps += 1
    isPartlyReaped = true
    for later in all[count...] {
      completions.append(later.token, later.result, more: later.more, slice: later.slice)
      answers[later.token] = lentAnswers.removeValue(forKey: later.token)
    }
    return UnsafeBufferPointer(rebasing: all[..<count])
  }

  public func datagram(in completion: Completion, of socket: Socket) -> Datagram? {
    guard let slice = completion.slice else { return nil }
    return DatagramLayout.decode(slice, store.bytes(slice), peer: peerAddress(of: socket))
  }

  public func takeAddresses(_ token: Token) -> [SocketAddress] {
    lentAnswers.removeValue(forKey: token) ?? []
  }

  public var waker: any RingWaker { flag }

  // MARK: What the kernel calls

  /// Ends an operation.
  func end(_ token: Token, _ result: Int32) {
    operations[token] = nil
    completions.append(token, result, isPatient: token == patientToken && result == patientBytes)
  }

  func timerFired(_ token: Token, id: UInt64) {
    if case .timeout(id, _) = operations[token] { end(token, 0) }
  }

  func lookupEnded(_ token: Token, id: UInt64, _ addresses: [SocketAddress]) {
    guard case .resolve(id) = operations[token] else { return }
    if !addresses.isEmpty { answers[token] = addresses }
    end(token, addresses.isEmpty ? -ENOENT : Int32(addresses.count))
  }

  // MARK: Receiving

  private func serveReadable() {
    defer { readable.removeAll(keepingCapacity: true) }
    for socket in readable {
      socket.isListed = false
      switch socket.role {
      case .listener: acceptAll(socket)
      case .stream: receiveStream(socket)
      case .datagram: receiveDatagrams(socket)
      }
    }
  }

  private func acceptAll(_ listener: SimulatedSocket) {
    while let operation = listener.accept, listener.isReadable {
      guard kernel.open(listener.backlog[0], in: self) else {
        listener.accept = nil
        return end(operation.token, -EMFILE)
      }
      let socket = listener.backlog.removeFirst()
      socket.isConnected = true
      completions.append(operation.token, socket.descriptor, more: true)
    }
  }

  private func receiveStream(_ socket: SimulatedSocket) {
    while let operation = socket.receive, socket.isReadable, let pipe = socket.incoming {
      guard pipe.arrived > 0 else {
        socket.receive = nil
        // An end that arrived stands before a reset behind it.
        return end(operation.token, pipe.isEndArrived ? 0 : -socket.failure)
      }
      guard let buffer = store[operation.pool].take() else {
        kernel.tally.poolsEmpty += 1
        socket.receive = nil
        return end(operation.token, -ENOBUFS)
      }
      var count = min(pipe.arrived, store[operation.pool].shape.bytes)
      if count > 1, kernel.chance.chance(kernel.faults.shortReceive) {
        count = 1 + kernel.chance.below(count)
        kernel.tally.shortReceives += 1
      }
      let slice = Slice(buffer: buffer, offset: 0, count: count)
      pipe.read(into: store.mutableBytes(slice))
      kernel.transmit(pipe)
      deliver(slice, on: socket, operation)
    }
  }

  private func receiveDatagrams(_ socket: SimulatedSocket) {
    if let operation = socket.receive, socket.failure != 0, !socket.isStalled {
      socket.receive = nil
      return end(operation.token, -socket.takeFailure())
    }
    while let operation = socket.receive, var datagram = socket.datagrams.first, socket.isReadable {
      guard let buffer = store[operation.pool].take() else {
        kernel.tally.poolsEmpty += 1
        socket.receive = nil
        return end(operation.token, -ENOBUFS)
      }
      socket.datagrams.removeFirst()
      socket.datagramBytes -= datagram.payload.count
      if !socket.reportsCongestionMarks { datagram.congestionMarks = 0 }
      var slice = Slice(
        buffer: buffer, offset: 0, count: store[operation.pool].shape.bytes)
      slice.count = Int32(datagram.write(to: store.mutableBytes(slice)))
      deliver(slice, on: socket, operation)
    }
  }

  private func deliver(
    _ slice: Slice, on socket: SimulatedSocket, _ operation: SimulatedSocket.PendingReceive
  ) {
    let left = operation.left - Int(slice.count)
    completions.append(operation.token, slice.count, more: left > 0, slice: slice)
    socket.receive?.left = left
    guard left <= 0 else { return }
    socket.receive = nil
    operations[operation.token] = nil
  }
}

/// Wakes a simulated ring. Any thread may.
final class SimulatedWaker: RingWaker {
  private let state = Atomic(false)

  var isSet: Bool { state.load(ordering: .relaxed) }

  func take() -> Bool {
    isSet && state.exchange(false, ordering: .acquiring)
  }

  func wake() { state.store(true, ordering: .releasing) }
}

extension SimulatedKernel {
  /// Closes a process' sockets as the kernel does when it ends.
  func closeAll(of ring: Int) {
    for case let socket? in sockets {
      if socket.accept?.ring == ring { socket.accept = nil }
      if socket.connect?.ring == ring { socket.connect = nil }
      if socket.receive?.ring == ring { socket.receive = nil }
      if socket.send?.ring == ring { socket.send = nil }
      if socket.owner == ring { close(socket, mode: .graceful) }
    }
  }
}
