// Small shards for tests of the simulated kernel, built as engines are: a `tick` that waits once.

import Glibc
import RIBase

@testable import RIRing

/// What the shards of a test share.
class SimulatedShard {
  let ring: SimulatedRing
  let store: BufferStore
  private(set) var ticks = 0
  /// What this shard has seen: equal for equal seeds.
  private(set) var trace: UInt64 = 0

  init(_ kernel: SimulatedKernel, _ host: SimulatedHost, buffers: Int = 16) {
    store = BufferStore([BufferPoolShape(count: buffers, bytes: 4_096)])
    ring = SimulatedRing(kernel: kernel, host: host, store: store)
  }

  var turn: SimulatedTurn { SimulatedTurn(ring) { [unowned self] in tick() } }
  var deadline: Instant? { nil }

  func tick() {
    ticks += 1
    for completion in ring.wait(until: deadline) {
      for word in [completion.token.rawValue, UInt64(bitPattern: Int64(completion.result))] {
        trace = (trace ^ word ^ ring.now.nanoseconds) &* 0x9E37_79B9_7F4A_7C15
      }
      handle(completion)
    }
  }

  func handle(_ completion: Completion) {}
}

/// Sends back whatever each connection brings, one buffer at a time, and closes when it ends.
final class EchoShard: SimulatedShard {
  private static let acceptToken = Token(0)
  private enum Step: UInt64 { case receive = 1, send, close }
  private var connections: [Int32: SliceQueue] = [:]
  private(set) var address = SocketAddress(.anyV4, 0)
  private(set) var accepted = 0
  private(set) var failures: [Int32] = []
  var isEmpty: Bool { connections.isEmpty }

  func start(_ ip: IPAddress = .anyV4, port: Port = 7) throws {
    let listener = try ring.listen(on: SocketAddress(ip, port), reusePort: true, backlog: 64)
    ring.accept(on: listener, token: Self.acceptToken)
  }

  private func token(_ step: Step, _ descriptor: Int32) -> Token {
    Token(UInt64(descriptor) << 8 | step.rawValue)
  }

  private func receive(_ descriptor: Int32) {
    ring.receive(
      on: Socket(descriptor: descriptor), into: PoolID(0), limitBytes: 4_096,
      token: token(.receive, descriptor))
  }

  override func handle(_ completion: Completion) {
    if completion.token == Self.acceptToken {
      guard completion.result >= 0 else { return failures.append(completion.result) }
      accepted += 1
      connections[completion.result] = SliceQueue()
      return receive(completion.result)
    }
    let descriptor = Int32(completion.token.rawValue >> 8)
    let socket = Socket(descriptor: descriptor)
    guard let step = Step(rawValue: completion.token.rawValue & 0xFF) else { return }
    switch step {
    case .receive:
      if let slice = completion.slice {
        store.append(slice, to: &connections[descriptor, default: SliceQueue()])
        // The limit may be reached in several pieces.
        if completion.more { return }
        let queue = connections[descriptor] ?? SliceQueue()
        ring.send(queue, on: socket, mode: .all, token: token(.send, descriptor))
      } else if completion.result == 0, let queue = connections[descriptor], !queue.isEmpty {
        ring.send(queue, on: socket, mode: .all, token: token(.send, descriptor))
      } else {
        if completion.result < 0 { failures.append(completion.result) }
        ring.close(
          socket, mode: completion.result < 0 ? .reset : .graceful,
          token: token(.close, descriptor))
      }
    case .send:
      store.removeAll(from: &connections[descriptor, default: SliceQueue()])
      if completion.result < 0 {
        failures.append(completion.result)
        ring.close(socket, mode: .reset, token: token(.close, descriptor))
      } else {
        receive(descriptor)
      }
    case .close:
      if var queue = connections.removeValue(forKey: descriptor) { store.removeAll(from: &queue) }
    }
  }
}

/// Connects, sends bytes, ends its direction, and keeps what comes back.
final class ClientShard: SimulatedShard {
  private enum Step: UInt64 { case connect, send, receive, close }
  private let bytes: [UInt8]
  private var position = 0
  private var queue = SliceQueue()
  private var socket = Socket(descriptor: -1)
  private(set) var connectResult: Int32?
  private(set) var received: [UInt8] = []
  /// The result of the last receive or send.
  private(set) var end: Int32?
  private(set) var isDone = false
  var deadlineOfTest: Instant?

  init(_ kernel: SimulatedKernel, _ host: SimulatedHost, sending bytes: [UInt8]) {
    self.bytes = bytes
    super.init(kernel, host)
  }

  override var deadline: Instant? { deadlineOfTest }

  func start(to address: SocketAddress) throws {
    socket = try ring.makeStreamSocket(address.ip.family)
    ring.connect(socket, to: address, token: Token(Step.connect.rawValue))
  }

  private func sendMore() {
    guard position < bytes.count else { return ring.shutdownSending(socket) }
    guard let buffer = store[PoolID(0)].take() else { preconditionFailure("no buffer") }
    let slice = Slice(buffer: buffer, offset: 0, count: min(4_096, bytes.count - position))
    bytes[position..<position + Int(slice.count)].withUnsafeBytes {
      store.mutableBytes(slice).copyMemory(from: $0)
    }
    position += Int(slice.count)
    store.append(slice, to: &queue)
    ring.send(queue, on: socket, mode: .all, token: Token(Step.send.rawValue))
  }

  private func receive() {
    ring.receive(
      on: socket, into: PoolID(0), limitBytes: 1 << 30, token: Token(Step.receive.rawValue))
  }

  private func finish(_ result: Int32) {
    guard end == nil else { return }
    end = result
    ring.close(socket, mode: .reset, token: Token(Step.close.rawValue))
  }

  override func handle(_ completion: Completion) {
    switch Step(rawValue: completion.token.rawValue) {
    case .connect:
      connectResult = completion.result
      guard completion.result == 0 else { return finish(completion.result) }
      receive()
      sendMore()
    case .send:
      store.removeAll(from: &queue)
      if completion.result < 0 { finish(completion.result) } else if end == nil { sendMore() }
    case .receive:
      if let slice = completion.slice {
        received += store.bytes(slice)
        store.release(slice)
        if !completion.more { receive() }
      } else if completion.result == -ENOBUFS {
        receive()
      } else {
        finish(completion.result)
      }
    case .close: isDone = true
    case nil: break
    }
  }
}
