// Drives one ring through a test: waits until something has happened, keeps every completion, and
// checks those parts of the contract that hold for all operations.

import Glibc
import RIBase
import Testing

@testable import RIRing

/// A ring with three pools and a record of all that completed.
final class RingDriver {
  static let small = PoolID(0)
  static let large = PoolID(1)
  /// Buffers that the largest datagram fits in.
  static let datagrams = PoolID(2)
  static let smallBytes = 4_096
  static let largeBytes = 65_536

  let store: BufferStore
  let ring: any IORing
  private(set) var completions: [Completion] = []
  private var byToken: [Token: [Completion]] = [:]
  private var lastToken: UInt64 = 0
  private var pending: Set<Token> = []
  /// Bytes received by token, their buffers released.
  private(set) var received: [Token: [UInt8]] = [:]
  /// Whether received buffers go back at once.
  var releasesBuffers = true
  private(set) var held: [Slice] = []
  /// Sockets of a real kernel that the test leaves open.
  private var open: Set<Int32> = []
  private var accepts: Set<Token> = []

  init(_ backend: Backend, smallCount: Int = 64) throws {
    store = BufferStore([
      BufferPoolShape(count: smallCount, bytes: Self.smallBytes),
      BufferPoolShape(count: 128, bytes: Self.largeBytes),
      BufferPoolShape(count: 32, bytes: 66_560),
    ])
    ring = try backend.makeRing(store)
  }

  deinit {
    guard !(ring is SimulatedRing) else { return }
    for descriptor in open { Glibc.close(descriptor) }
  }

  /// A token for one operation, whose terminal completion must come exactly once.
  func token() -> Token {
    lastToken += 1
    let token = Token(lastToken)
    pending.insert(token)
    return token
  }

  /// Operations that have not ended.
  var pendingCount: Int { pending.count }

  // MARK: Waiting

  /// Waits once and keeps what completed.
  @discardableResult
  func wait(until deadline: Instant?) -> [Completion] {
    let batch = Array(ring.wait(until: deadline))
    for completion in batch {
      #expect(pending.contains(completion.token), "a completion after the terminal one")
      if !completion.more { pending.remove(completion.token) }
      byToken[completion.token, default: []].append(completion)
      if accepts.contains(completion.token), completion.result >= 0 {
        open.insert(completion.result)
      }
      if let slice = completion.slice {
        #expect(slice.offset == 0 && slice.count == completion.result)
        received[completion.token, default: []] += store.bytes(slice)
        if releasesBuffers { store.release(slice) } else { held.append(slice) }
      }
    }
    completions += batch
    return batch
  }

  /// Waits until `condition` holds; false when it does not within ten seconds.
  func run(until condition: () -> Bool) -> Bool {
    let deadline = ring.updateNow() + .seconds(10)
    while !condition() {
      if ring.updateNow() >= deadline { return false }
      wait(until: deadline)
    }
    // What is there in time must end a wait in time.
    return ring.now < deadline
  }

  /// Waits for the terminal completion and returns its result.
  func result(of token: Token, _ location: SourceLocation = #_sourceLocation) throws -> Int32 {
    try #require(run { terminal(token) != nil }, "no completion", sourceLocation: location)
    return try #require(terminal(token)).result
  }

  func terminal(_ token: Token) -> Completion? {
    byToken[token]?.last { !$0.more }
  }

  func all(_ token: Token) -> [Completion] { byToken[token] ?? [] }
  func bytes(_ token: Token) -> [UInt8] { received[token] ?? [] }

  /// Lets things settle: waits for `interval` to pass.
  func pass(_ interval: Interval) {
    let deadline = ring.updateNow() + interval
    while ring.updateNow() < deadline { wait(until: deadline) }
  }

  func releaseHeld() {
    for slice in held { store.release(slice) }
    held.removeAll()
  }

  // MARK: Sockets

  /// Sees to it that a socket is closed with the driver if not before.
  func keep(_ socket: Socket) -> Socket {
    open.insert(socket.descriptor)
    return socket
  }

  func streamSocket(_ family: IPAddress.Family = .v4) throws -> Socket {
    keep(try ring.makeStreamSocket(family))
  }

  /// Accepts on a listener until it is closed.
  func accept(_ listener: Socket) -> Token {
    let token = token()
    accepts.insert(token)
    ring.accept(on: listener, token: token)
    return token
  }

  func connect(_ socket: Socket, _ address: SocketAddress) -> Token {
    let token = token()
    ring.connect(socket, to: address, token: token)
    return token
  }

  /// A listener on the loopback and where it listens.
  func listener(
    _ ip: IPAddress = .loopbackV4, backlog: Int = 128
  ) throws -> (Socket, SocketAddress) {
    let socket = keep(
      try ring.listen(on: SocketAddress(ip, 0), reusePort: false, backlog: backlog))
    return (socket, try #require(ring.localAddress(of: socket)))
  }

  /// Both ends of a connection. `configure` acts on the listener and the client before.
  func connection(
    _ ip: IPAddress = .loopbackV4, configure: (Socket) -> Void = { _ in }
  ) throws -> (client: Socket, server: Socket) {
    let (listener, address) = try listener(ip)
    configure(listener)
    let client = try streamSocket(ip.family)
    configure(client)
    let accept = accept(listener)
    let connect = connect(client, address)
    try #require(try result(of: connect) == 0)
    try #require(run { !all(accept).isEmpty })
    let server = Socket(descriptor: all(accept)[0].result)
    try #require(server.descriptor >= 0)
    try #require(try close(listener) == 0)
    return (client, server)
  }

  /// A connection whose socket buffers are small, so that it is soon full. Its congestion control
  /// does not pace: what is sent arrives at once, so full stays full.
  func narrowConnection() throws -> (client: Socket, server: Socket) {
    try connection {
      ring.set(.sendBufferBytes(16_384), on: $0)
      ring.set(.receiveBufferBytes(16_384), on: $0)
      ring.set(.congestionControl("cubic"), on: $0)
    }
  }

  @discardableResult
  func close(_ socket: Socket, _ mode: CloseMode = .graceful) throws -> Int32 {
    try result(of: startClose(socket, mode))
  }

  func startClose(_ socket: Socket, _ mode: CloseMode) -> Token {
    let token = token()
    open.remove(socket.descriptor)
    ring.close(socket, mode: mode, token: token)
    return token
  }

  // MARK: Operations

  func receive(
    _ socket: Socket, into pool: PoolID = RingDriver.small, limit: Int = 1 << 30
  ) -> Token {
    let token = token()
    ring.receive(on: socket, into: pool, limitBytes: limit, token: token)
    return token
  }

  func send(
    _ queue: SliceQueue, _ socket: Socket, _ mode: SendMode = .all, isPatient: Bool = false
  ) -> Token {
    let token = token()
    ring.send(queue, on: socket, mode: mode, isPatient: isPatient, token: token)
    return token
  }

  /// Sends bytes whole and drops their buffers.
  func sendAll(_ bytes: [UInt8], _ socket: Socket) throws {
    var queue = outgoing(bytes)
    defer { store.removeAll(from: &queue) }
    #expect(try result(of: send(queue, socket)) == Int32(bytes.count))
  }

  /// A queue of `bytes` cut into slices of `sliceBytes`, each in a large buffer of its own.
  func outgoing(_ bytes: [UInt8], sliceBytes: Int = RingDriver.largeBytes) -> SliceQueue {
    var queue = SliceQueue()
    var start = 0
    while start < bytes.count {
      let end = min(bytes.count, start + sliceBytes)
      store.append(slice(Array(bytes[start..<end])), to: &queue)
      start = end
    }
    return queue
  }

  /// A slice of `bytes` in a large buffer.
  func slice(_ bytes: [UInt8]) -> Slice {
    guard let buffer = store[Self.large].take() else { preconditionFailure("large pool is empty") }
    let slice = Slice(buffer: buffer, offset: 0, count: bytes.count)
    bytes.withUnsafeBytes { store.mutableBytes(slice).copyMemory(from: $0) }
    return slice
  }

  /// Random bytes, different for each seed. Cheap: cut from one block of a prime length.
  static func pattern(_ count: Int, seed: UInt64 = 0) -> [UInt8] {
    var start = Int(seed &* 7_919 % UInt64(block.count))
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    while bytes.count < count {
      bytes += block[start..<min(block.count, start + count - bytes.count)]
      start = 0
    }
    return bytes
  }

  private static let block: [UInt8] = {
    var random = SeededRandom(seed: 1)
    return (0..<65_521).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }()

  /// Fills a connection until it takes no more, and returns what it took.
  func fill(_ socket: Socket) throws -> [UInt8] {
    var sent: [UInt8] = []
    var idle = 0
    while idle < 5 {
      try #require(sent.count < 64 << 20, "the socket is never full")
      let bytes = Self.pattern(Self.largeBytes, seed: UInt64(sent.count))
      var queue = outgoing(bytes)
      let taken = try result(of: send(queue, socket, .attempt))
      store.removeAll(from: &queue)
      if taken > 0 { sent += bytes[..<Int(taken)] }
      // Bytes still move from the send buffer to the receive buffer: full is full five times.
      idle = taken == -EAGAIN ? idle + 1 : 0
      if taken == -EAGAIN { pass(.milliseconds(3)) }
    }
    return sent
  }
}
