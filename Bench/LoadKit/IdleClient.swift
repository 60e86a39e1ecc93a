// Connections that rest: each is opened at a steady pace, carries one message and its echo, and
// then only has to be kept.

import CLoadIO
import Glibc

/// The warm-up belongs to the window: the connections come in it. All leave at once, with this
/// process.
struct IdleClient: ~Copyable {
  private struct Resting {
    var socket: Int32
    var received = 0
    var isEnded = false
  }

  private var order: LoadOrder
  private let request: [UInt8]
  private let messageBytes: Int
  private let nanosecondsPerConnect: UInt64
  private let poller = Poller()
  private let pattern = Pattern()
  private let start = clockNanoseconds()
  private var connections: [Resting] = []
  private var answered = 0

  static func run(_ order: LoadOrder) throws(LoadError) -> LoadResult {
    var client = IdleClient(order)
    return try client.run()
  }

  private init(_ order: LoadOrder) {
    self.order = order
    self.order.seconds += order.warmUpSeconds
    self.order.warmUpSeconds = 0
    request = order.asks ? TargetRequest(for: order.workload).bytes : []
    messageBytes = order.workload.messageBytes ?? 1
    nanosecondsPerConnect = 1_000_000_000 / UInt64(order.workload.connectsPerSecond ?? 1)
  }

  private mutating func run() throws(LoadError) -> LoadResult {
    var window = MeasuredWindow(order)
    while window.goesOn(at: clockNanoseconds(), units: UInt64(answered)) {
      try connectWhatIsDue()
      for i in 0..<poller.wait(until: min(window.nextChange, nextConnect ?? .max)) {
        let (number, what) = poller.event(i)
        try handle(number, what)
      }
    }
    guard let first = connections.first else { throw LoadError("nobody connected") }
    var result = try window.result(latency: nil, congestion: congestionControl(of: first.socket))
    result.idle = IdleCounts(answered: answered, ended: connections.count { $0.isEnded })
    return result
  }

  private var nextConnect: UInt64? {
    guard connections.count < order.workload.connections else { return nil }
    return start + UInt64(connections.count) * nanosecondsPerConnect
  }

  private mutating func connectWhatIsDue() throws(LoadError) {
    while let due = nextConnect, due <= clockNanoseconds() {
      let socket = try connectTo(order.host, order.port, congestion: order.congestion)
      poller.add(socket, Poller.writable, number: connections.count)
      connections.append(Resting(socket: socket))
    }
  }

  private mutating func handle(_ number: Int, _ what: UInt32) throws(LoadError) {
    let socket = connections[number].socket
    if what == Poller.writable {
      // Request and message fit an empty socket buffer.
      let message = request + UnsafeBufferPointer(start: pattern.bytes(at: 0), count: messageBytes)
      guard send(socket, message, message.count, 0) == message.count else {
        throw .system("send of a message")
      }
      poller.change(socket, Poller.readable | Poller.ended, number: number)
      return
    }
    var bytes = [UInt8](repeating: 0, count: messageBytes)
    let received = connections[number].received
    let count = recv(socket, &bytes, messageBytes - received, 0)
    guard count > 0 else {
      if count < 0, errno == EAGAIN { return }
      connections[number].isEnded = true
      poller.remove(socket)
      return
    }
    guard pattern.equals(bytes, count: count, at: UInt64(received)) else {
      throw LoadError("connection \(number): the echo is wrong")
    }
    connections[number].received += count
    if connections[number].received == messageBytes { answered += 1 }
  }
}
