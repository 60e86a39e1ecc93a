// Connect, one message, its echo, close; then the next connection in the same place.

import CLoadIO
import Glibc

/// Closed loop over connections. Latency is from connect to the echo's last byte.
struct ConnectClient: ~Copyable {
  private struct Place {
    var socket: Int32 = -1
    var startedAt: UInt64 = 0
    var offset: UInt64 = 0
    var received = 0
    var isSent = false
  }

  private let order: LoadOrder
  private let messageBytes: Int
  private let poller = Poller()
  private let pattern = Pattern()
  private let buffer: UnsafeMutableRawPointer
  private var places: [Place]
  private var total: UInt64 = 0
  private var histogram = Histogram()

  static func run(_ order: LoadOrder) throws(LoadError) -> LoadResult {
    var client = ConnectClient(order)
    return try client.run()
  }

  private init(_ order: LoadOrder) {
    self.order = order
    messageBytes = order.workload.messageBytes ?? 0
    buffer = .allocate(byteCount: messageBytes, alignment: 64)
    places = (0..<order.workload.connections).map { Place(offset: UInt64($0) * 8191) }
  }

  deinit { buffer.deallocate() }

  private mutating func run() throws(LoadError) -> LoadResult {
    var congestion = "unknown"
    for number in places.indices { try start(number) }
    var window = MeasuredWindow(order)
    while window.goesOn(at: clockNanoseconds(), units: total) {
      for i in 0..<poller.wait(until: window.nextChange) {
        let (number, what) = poller.event(i)
        if !places[number].isSent {
          if what & Poller.writable != 0 { try send(number) }
          continue
        }
        guard try receive(number) else { continue }
        if total == 1 { congestion = congestionControl(of: places[number].socket) }
        close(places[number].socket)
        if window.isMeasuring {
          histogram.record(clockNanoseconds() - places[number].startedAt)
        }
        try start(number)
      }
    }
    return try window.result(latency: histogram, congestion: congestion)
  }

  /// Connects and sends at once: on loopback the connection is mostly established by then.
  private mutating func start(_ number: Int) throws(LoadError) {
    places[number].startedAt = clockNanoseconds()
    places[number].received = 0
    places[number].isSent = false
    places[number].offset += UInt64(messageBytes)
    let socket = try connectTo(order.host, order.port, congestion: order.congestion)
    places[number].socket = socket
    let sent = Glibc.send(
      socket, pattern.bytes(at: places[number].offset), messageBytes,
      0)
    places[number].isSent = sent == messageBytes
    guard sent == messageBytes || errno == EAGAIN || errno == ENOTCONN else {
      throw .system("send on a new connection")
    }
    let interest = sent == messageBytes ? Poller.readable : Poller.writable
    poller.add(socket, interest, number: number)
  }

  private mutating func send(_ number: Int) throws(LoadError) {
    try sendMessage(pattern, places[number].offset, messageBytes, on: places[number].socket)
    places[number].isSent = true
    poller.change(places[number].socket, Poller.readable, number: number)
  }

  /// True when the echo is complete.
  private mutating func receive(_ number: Int) throws(LoadError) -> Bool {
    let received = places[number].received
    let count = recv(places[number].socket, buffer, messageBytes - received, 0)
    guard count > 0 else {
      if count < 0, errno == EAGAIN { return false }
      throw ended(number, count)
    }
    let expected = pattern.bytes(at: places[number].offset) + received
    guard memcmp(buffer, expected, count) == 0 else {
      throw LoadError("connection \(number): the echo is wrong")
    }
    places[number].received += count
    guard places[number].received == messageBytes else { return false }
    total += 1
    return true
  }
}
