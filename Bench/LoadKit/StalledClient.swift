// Clients that ask for a download and never read, or read slowly: they hold whatever was sent to
// them, and whoever sent it.

import CLoadIO
import Glibc

/// Opens connections at a steady pace and keeps them until its window is over; then they all leave
/// at once, with this process. The warm-up belongs to the window: the clients stall in it too.
struct StalledClient: ~Copyable {
  /// What sockets of client and target may hold. They stand for other machines, but their memory
  /// counts against this one's limit (net.ipv4.tcp_mem), which is for edge and hub to use.
  static let socketBufferBytes = 16_384
  /// How much of what waits is looked at, without taking it.
  private static let peekBytes = 4096

  /// Slow readers read this often.
  private static let readNanoseconds: UInt64 = 100_000_000

  private struct Stalled {
    var socket: Int32
    var isEnded = false
    /// Bytes that it has read.
    var offset: UInt64 = 0
  }

  private var order: LoadOrder
  private let request: [UInt8]
  private let nanosecondsPerConnect: UInt64
  /// What a slow reader reads at a time; 0 for one that never does.
  private let readBytes: Int
  private let buffer: UnsafeMutableRawPointer
  private let poller = Poller()
  private let pattern = Pattern()
  private let start = clockNanoseconds()
  private var connections: [Stalled] = []
  private var requested = 0
  private var nextRead: UInt64

  static func run(_ order: LoadOrder) throws(LoadError) -> LoadResult {
    var client = StalledClient(order)
    return try client.run()
  }

  private init(_ order: LoadOrder) {
    self.order = order
    self.order.seconds += order.warmUpSeconds
    self.order.warmUpSeconds = 0
    request = order.asks ? TargetRequest(for: order.workload).bytes : []
    nanosecondsPerConnect = 1_000_000_000 / UInt64(order.workload.connectsPerSecond ?? 1)
    readBytes = order.workload.readBytesPerSecond.map { max(1, $0 / 10) } ?? 0
    buffer = .allocate(byteCount: max(1, readBytes), alignment: 64)
    nextRead = readBytes > 0 ? start + Self.readNanoseconds : .max
  }

  deinit { buffer.deallocate() }

  private mutating func run() throws(LoadError) -> LoadResult {
    var window = MeasuredWindow(order)
    while window.goesOn(at: clockNanoseconds(), units: UInt64(requested)) {
      try connectWhatIsDue()
      for i in 0..<poller.wait(until: min(window.nextChange, nextConnect ?? .max, nextRead)) {
        let (number, what) = poller.event(i)
        try handle(number, what)
      }
      if clockNanoseconds() >= nextRead {
        nextRead += Self.readNanoseconds
        for number in connections.indices where !connections[number].isEnded {
          try read(number)
        }
      }
    }
    let served = try countServed()
    guard let first = connections.first else { throw LoadError("nobody connected") }
    var result = try window.result(latency: nil, congestion: congestionControl(of: first.socket))
    result.stalled = StalledCounts(
      requested: requested, served: served, ended: connections.count { $0.isEnded },
      readBytes: readBytes > 0 ? connections.reduce(0) { $0 + $1.offset } : nil)
    return result
  }

  private var nextConnect: UInt64? {
    guard connections.count < order.workload.connections else { return nil }
    return start + UInt64(connections.count) * nanosecondsPerConnect
  }

  private mutating func connectWhatIsDue() throws(LoadError) {
    while let due = nextConnect, due <= clockNanoseconds() {
      let socket = try connectTo(
        order.host, order.port, congestion: order.congestion,
        receiveBufferBytes: Self.socketBufferBytes)
      poller.add(socket, Poller.writable, number: connections.count)
      connections.append(Stalled(socket: socket))
    }
  }

  private mutating func handle(_ number: Int, _ what: UInt32) throws(LoadError) {
    let socket = connections[number].socket
    guard what & ~Poller.writable == 0 else {
      connections[number].isEnded = true
      poller.remove(socket)
      return
    }
    if !request.isEmpty {
      let sent = send(socket, request, request.count, 0)
      guard sent == request.count else { throw .system("send of a request") }
    }
    requested += 1
    poller.change(socket, Poller.ended, number: number)
  }

  /// What is there, up to what is due, and checked to the byte.
  private mutating func read(_ number: Int) throws(LoadError) {
    let count = recv(connections[number].socket, buffer, readBytes, 0)
    guard count > 0 else { return }
    let offset = connections[number].offset
    guard pattern.equals(buffer, count: count, at: offset) else {
      throw LoadError("connection \(number): wrong bytes at or after \(offset)")
    }
    connections[number].offset += UInt64(count)
  }

  /// How many have read something, or have the first bytes of their download waiting. These stay
  /// where they are.
  private func countServed() throws(LoadError) -> Int {
    var bytes = [UInt8](repeating: 0, count: Self.peekBytes)
    var served = 0
    for (number, connection) in connections.enumerated() {
      guard connection.offset == 0 else {
        served += 1
        continue
      }
      let count = recv(connection.socket, &bytes, bytes.count, Int32(MSG_PEEK))
      guard count > 0 else { continue }
      guard memcmp(bytes, pattern.bytes(at: 0), count) == 0 else {
        throw LoadError("connection \(number): wrong bytes wait to be read")
      }
      served += 1
    }
    return served
  }
}
