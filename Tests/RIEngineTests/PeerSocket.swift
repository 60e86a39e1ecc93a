// Clients and targets on the simulated network: sockets that send a content which is a function of
// stream and offset, and check what they receive against it.

import Glibc
import RIBase
import RIRing
import TestRandom

/// One end of a stream as seen from outside the tunnel.
final class PeerSocket {
  enum Step: UInt64 { case connect = 1, send, receive, pauseSend, pauseReceive, close }

  let id: UInt64
  let socket: Socket
  let isClient: Bool
  var plan: PeerPlan
  /// The stream's name: the client's port. A target learns it from the PROXY line.
  var key: UInt64?
  var connectResult: Int32?

  fileprivate(set) var sent = 0
  /// The same with the bytes of a send that failed halfway.
  fileprivate(set) var offered = 0
  fileprivate(set) var received = 0
  /// Where the received bytes were first not what was sent.
  fileprivate(set) var wrongAt: Int?
  fileprivate(set) var sawEnd = false
  /// The error that ended it: a reset, mostly.
  fileprivate(set) var failure: Int32?
  /// Its own doing: a reset, or a close while bytes were still to come.
  fileprivate(set) var brokeOff = false
  /// The network reset its connection.
  fileprivate(set) var wasCut = false
  /// When it was connected or accepted, and when its end was seen or made.
  fileprivate(set) var openedAt: Instant?
  fileprivate(set) var endedAt: Instant?
  fileprivate(set) var isFinished = false
  fileprivate(set) var isClosing = false
  fileprivate(set) var isClosed = false
  /// The first line a target reads.
  fileprivate(set) var header: [UInt8] = []

  fileprivate var outgoing = SliceQueue()
  fileprivate var toProduce: Int
  fileprivate var isSending = false
  fileprivate var isReceiving = false
  fileprivate var isSendPaused = false
  fileprivate var isReceivePaused = false
  fileprivate var hasRested = false
  fileprivate var servicePlan: ((UInt64) -> PeerPlan)?
  /// Called with a client's key once it is connected.
  var onConnected: (UInt64) -> Void = { _ in }

  fileprivate init(id: UInt64, socket: Socket, isClient: Bool, plan: PeerPlan) {
    self.id = id
    self.socket = socket
    self.isClient = isClient
    self.plan = plan
    toProduce = plan.sends
  }

  /// What it should receive at `offset`.
  fileprivate var incomingKey: UInt64 {
    // An echo sends the client's own content back.
    guard let key else { return 0 }
    return isClient && !peerEchoes ? key * 2 + 1 : key * 2
  }
  fileprivate var outgoingKey: UInt64 { (key ?? 0) * 2 + (isClient ? 0 : 1) }
  /// For clients: whether the target echoes.
  var peerEchoes = false
}

/// The sockets of a host's clients and targets, on a ring of their own.
final class PeerRing {
  let ring: SimulatedRing
  let store = BufferStore([
    BufferPoolShape(count: 4_096, bytes: 16 * 1024),
    BufferPoolShape(count: 4_096, bytes: 64 * 1024),
  ])
  private var random: SplitMix64
  private(set) var sockets: [UInt64: PeerSocket] = [:]
  private var nextID: UInt64 = 1
  /// Nobody rests any more: who opens from now on reads, and clients end when they have sent.
  var isCalm = false
  /// What targets do, by port.
  private var services: [UInt64: (Port, (UInt64) -> PeerPlan)] = [:]
  private var listenerSockets: [Port: Socket] = [:]
  /// Called with each accepted target connection once its key is known.
  var onTarget: (PeerSocket) -> Void = { _ in }

  init(_ kernel: SimulatedKernel, _ host: SimulatedHost, seed: UInt64) {
    ring = SimulatedRing(kernel: kernel, host: host, store: store)
    random = SplitMix64(seed)
  }

  var turn: SimulatedTurn { SimulatedTurn(ring) { [unowned self] in tick() } }
  /// Sockets that are not closed yet.
  private(set) var openCount = 0
  /// All that there were, as they came.
  var inOrder: [PeerSocket] { sockets.values.sorted { $0.id < $1.id } }
  /// Buffers that sockets hold.
  var held: Int { store[PoolID(0)].usedCount + store[PoolID(1)].usedCount }

  // MARK: Verbs

  @discardableResult
  func connect(to address: SocketAddress, _ plan: PeerPlan) throws -> PeerSocket {
    let socket = try ring.makeStreamSocket(address.ip.family)
    let peer = add(socket, isClient: true, plan)
    ring.connect(socket, to: address, token: token(.connect, peer))
    return peer
  }

  /// Accepts on a port; `plan` is asked for each connection with its key.
  func serve(
    _ port: Port, on ip: IPAddress = .anyV4, _ plan: @escaping (UInt64) -> PeerPlan
  ) throws {
    let socket = try ring.listen(on: SocketAddress(ip, port), reusePort: false, backlog: 1_024)
    listenerSockets[port] = socket
    services[UInt64(port)] = (port, plan)
    ring.accept(on: socket, token: Token(UInt64(port)))
  }

  func stopServing(_ port: Port) {
    guard let socket = listenerSockets.removeValue(forKey: port) else { return }
    ring.close(socket, mode: .graceful, token: Token(0))
  }

  func reset(_ peer: PeerSocket) {
    peer.brokeOff = true
    close(peer, .reset)
  }

  /// Has the network reset its connection.
  func cut(_ peer: PeerSocket) {
    guard !peer.isClosing else { return }
    peer.wasCut = true
    ring.kernel.resetConnection(of: peer.socket)
  }

  /// Ends the direction of a socket that holds.
  func finish(_ peer: PeerSocket) {
    peer.plan.end = .finish
    sendMore(peer)
  }

  /// Sends so much more of its content.
  func send(_ bytes: Int, on peer: PeerSocket) {
    peer.toProduce += bytes
    sendMore(peer)
  }

  /// Has all who rest go on, and those who come later not rest.
  func goOn() {
    isCalm = true
    for peer in inOrder where !peer.isClosed {
      goOn(peer)
      guard peer.openedAt != nil else { continue }
      receiveMore(peer)
      sendMore(peer)
    }
  }

  private func goOn(_ peer: PeerSocket) {
    if case .never = peer.plan.reads { peer.plan.reads = .all }
    if peer.isClient, case .hold = peer.plan.end { peer.plan.end = .finish }
  }

  /// Reads everything from now on.
  func readAll(_ peer: PeerSocket) {
    peer.plan.reads = .all
    if peer.openedAt != nil { receiveMore(peer) }
  }

  // MARK: Ticks

  private func add(_ socket: Socket, isClient: Bool, _ plan: PeerPlan) -> PeerSocket {
    let peer = PeerSocket(id: nextID, socket: socket, isClient: isClient, plan: plan)
    nextID += 1
    sockets[peer.id] = peer
    openCount += 1
    return peer
  }

  private func token(_ step: PeerSocket.Step, _ peer: PeerSocket) -> Token {
    Token(peer.id << 24 | step.rawValue << 16)
  }

  private func tick() {
    for completion in ring.wait(until: nil) { handle(completion) }
  }

  private func handle(_ completion: Completion) {
    let raw = completion.token.rawValue
    if raw < 1 << 16 { return accepted(raw, completion.result) }
    guard let peer = sockets[raw >> 24], let step = PeerSocket.Step(rawValue: raw >> 16 & 0xFF)
    else { return }
    switch step {
    case .connect: connected(peer, completion.result)
    case .send: sent(peer, completion.result)
    case .receive: received(peer, completion)
    case .pauseSend:
      peer.isSendPaused = false
      sendMore(peer)
    case .pauseReceive:
      peer.isReceivePaused = false
      receiveMore(peer)
    case .close:
      store.removeAll(from: &peer.outgoing)
      peer.isClosed = true
      openCount -= 1
    }
  }

  private func accepted(_ service: UInt64, _ result: Int32) {
    guard result >= 0, let (_, plan) = services[service] else { return }
    // Its plan is made when its key is known; until then it reads its line.
    var first = PeerPlan()
    first.end = .hold
    let peer = add(Socket(descriptor: result), isClient: false, first)
    peer.servicePlan = plan
    peer.openedAt = ring.now
    receiveMore(peer)
  }

  private func connected(_ peer: PeerSocket, _ result: Int32) {
    peer.connectResult = result
    guard result == 0 else {
      peer.failure = -result
      return close(peer, .reset)
    }
    peer.key = ring.localAddress(of: peer.socket).map { UInt64($0.port) }
    peer.openedAt = ring.now
    if let key = peer.key { peer.onConnected(key) }
    start(peer)
  }

  private func start(_ peer: PeerSocket) {
    if isCalm { goOn(peer) }
    if case .until(0) = peer.plan.reads {
      peer.brokeOff = true
      return close(peer, .graceful)
    }
    sendMore(peer)
    receiveMore(peer)
  }

  // MARK: Sending

  private func sendMore(_ peer: PeerSocket) {
    guard peer.key != nil, !peer.isSending, !peer.isSendPaused, !peer.isClosing else { return }
    if peer.outgoing.isEmpty, peer.toProduce > 0 { produce(peer) }
    if !peer.outgoing.isEmpty {
      peer.isSending = true
      peer.offered = peer.sent + Int(peer.outgoing.byteCount)
      return ring.send(peer.outgoing, on: peer.socket, mode: .all, token: token(.send, peer))
    }
    guard peer.toProduce == 0, !peer.isFinished else { return }
    switch peer.plan.end {
    case .finish:
      guard !peer.plan.echoes || peer.sawEnd else { return }
      finishSending(peer)
    case .reset:
      peer.brokeOff = true
      close(peer, .reset)
    case .hold: if peer.sawEnd { finishSending(peer) }
    }
  }

  private func finishSending(_ peer: PeerSocket) {
    peer.isFinished = true
    ring.shutdownSending(peer.socket)
    if peer.sawEnd { close(peer, .graceful) }
  }

  private func produce(_ peer: PeerSocket) {
    guard let buffer = store[PoolID(1)].take() else { return pauseSend(peer, .milliseconds(1)) }
    let count = min(peer.toProduce, Int.random(in: peer.plan.chunkBytes, using: &random))
    let slice = Slice(buffer: buffer, offset: 0, count: count)
    Content.with(peer.outgoingKey, peer.sent, count) { bytes in
      store.mutableBytes(slice).copyMemory(from: bytes)
    }
    peer.toProduce -= count
    store.append(slice, to: &peer.outgoing)
  }

  private func sent(_ peer: PeerSocket, _ result: Int32) {
    peer.isSending = false
    if result > 0 {
      peer.sent += Int(result)
      store.dropFirst(Int(result), from: &peer.outgoing)
    }
    guard !peer.isClosing else { return }
    guard result > 0 else { return failed(peer, -result) }
    if peer.plan.echoes { receiveMore(peer) }
    let pause = pause(peer)
    if pause > .zero { pauseSend(peer, pause) } else { sendMore(peer) }
  }

  private func pause(_ peer: PeerSocket) -> Interval {
    guard peer.plan.pause > .zero, Int.random(in: 0..<4, using: &random) == 0 else { return .zero }
    return Interval(
      nanoseconds: Int64.random(in: 0...peer.plan.pause.nanoseconds, using: &random))
  }

  private func pauseSend(_ peer: PeerSocket, _ pause: Interval) {
    peer.isSendPaused = true
    ring.timeout(at: ring.now + pause, token: token(.pauseSend, peer))
  }

  // MARK: Receiving

  private func receiveMore(_ peer: PeerSocket) {
    guard !peer.isReceiving, !peer.isReceivePaused, !peer.isClosing, !peer.sawEnd else { return }
    if case .never = peer.plan.reads { return }
    if peer.plan.echoes, peer.outgoing.byteCount > 256 * 1024 { return }
    peer.isReceiving = true
    ring.receive(
      on: peer.socket, into: PoolID(0),
      limitBytes: Int.random(in: peer.plan.chunkBytes, using: &random),
      token: token(.receive, peer))
  }

  private func received(_ peer: PeerSocket, _ completion: Completion) {
    if !completion.more { peer.isReceiving = false }
    if let slice = completion.slice {
      if peer.isClosing { store.release(slice) } else { take(slice, for: peer) }
    }
    guard !completion.more, !peer.isClosing else { return }
    switch completion.result {
    case 1...:
      let pause = rest(peer) ?? pause(peer)
      if pause == .zero { return receiveMore(peer) }
      pauseReceive(peer, pause)
    case 0: ended(peer)
    case -ENOBUFS: pauseReceive(peer, .milliseconds(1))
    default: failed(peer, -completion.result)
    }
  }

  private func rest(_ peer: PeerSocket) -> Interval? {
    guard case .rests(let after, let span) = peer.plan.reads, !peer.hasRested,
      peer.received >= after
    else { return nil }
    peer.hasRested = true
    return span
  }

  private func pauseReceive(_ peer: PeerSocket, _ pause: Interval) {
    peer.isReceivePaused = true
    ring.timeout(at: ring.now + pause, token: token(.pauseReceive, peer))
  }

  private func take(_ received: Slice, for peer: PeerSocket) {
    var slice = received
    while peer.key == nil, slice.count > 0 {
      let byte = slice.removePrefix(1)
      readHeader(store.bytes(byte)[0], for: peer)
    }
    check(slice, for: peer)
    if peer.plan.echoes, slice.count > 0, !peer.isClosing {
      store.append(slice, to: &peer.outgoing)
      sendMore(peer)
    } else {
      store.release(slice)
    }
    if case .until(let count) = peer.plan.reads, peer.received >= count, !peer.isClosing {
      peer.brokeOff = true
      close(peer, .graceful)
    }
  }

  private func check(_ slice: Slice, for peer: PeerSocket) {
    let count = Int(slice.count)
    guard count > 0 else { return }
    let isRight = Content.with(peer.incomingKey, peer.received, count) { expected in
      guard let a = expected.baseAddress, let b = store.bytes(slice).baseAddress else {
        return true
      }
      return memcmp(a, b, count) == 0
    }
    if !isRight, peer.wrongAt == nil { peer.wrongAt = peer.received }
    peer.received += count
  }

  /// A target's first line: `PROXY TCP4 source destination sourcePort destinationPort\r\n`.
  private func readHeader(_ byte: UInt8, for peer: PeerSocket) {
    peer.header.append(byte)
    guard byte == UInt8(ascii: "\n") else { return }
    let fields = String(decoding: peer.header, as: UTF8.self).split(separator: " ")
    guard fields.count == 6, let key = UInt64(fields[4]) else {
      peer.wrongAt = -1
      peer.key = 0
      return
    }
    peer.key = key
    if let plan = peer.servicePlan {
      peer.plan = plan(key)
      peer.toProduce = peer.plan.sends
    }
    onTarget(peer)
    start(peer)
  }

  private func ended(_ peer: PeerSocket) {
    peer.sawEnd = true
    if peer.isFinished { return close(peer, .graceful) }
    sendMore(peer)
    // A socket that ended before its line says nothing.
    if peer.key == nil { close(peer, .graceful) }
  }

  private func failed(_ peer: PeerSocket, _ code: Int32) {
    peer.failure = code
    close(peer, .reset)
  }

  private func close(_ peer: PeerSocket, _ mode: CloseMode) {
    guard !peer.isClosing else { return }
    peer.isClosing = true
    peer.endedAt = ring.now
    ring.close(peer.socket, mode: mode, token: token(.close, peer))
  }
}
