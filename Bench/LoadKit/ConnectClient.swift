// Connect, one exchange, close; then the next connection in the same place. The exchange is a
// message and its echo, or a request and a download of a fixed size.

import CLoadIO
import Glibc

/// Closed loop over connections. Latency is from connect to the reply's last byte.
struct ConnectClient: ~Copyable {
  private static let receiveBytesMax = 256 * 1024

  private struct Place {
    var socket: Int32 = -1
    var startedAt: UInt64 = 0
    /// Where the reply stands in the pattern.
    var offset: UInt64 = 0
    var received = 0
    var isSent = false
  }

  private let order: LoadOrder
  private let isDownload: Bool
  /// What the target is asked for, in front of the message.
  private let request: [UInt8]
  private let messageBytes: Int
  private let replyBytes: Int
  private let poller = Poller()
  private let pattern = Pattern()
  private let outgoing: UnsafeMutableRawPointer
  private let outgoingBytes: Int
  private let buffer: UnsafeMutableRawPointer
  private let bufferBytes: Int
  private var places: [Place]
  private var total: UInt64 = 0
  private var histogram = Histogram()

  static func run(_ order: LoadOrder) throws(LoadError) -> LoadResult {
    guard order.asks || order.workload.kind != .shortDown else {
      throw LoadError("short downloads need a target that can be asked")
    }
    var client = ConnectClient(order)
    return try client.run()
  }

  private init(_ order: LoadOrder) {
    self.order = order
    isDownload = order.workload.kind == .shortDown
    request = order.asks ? TargetRequest(for: order.workload).bytes : []
    messageBytes = isDownload ? 0 : order.workload.messageBytes ?? 0
    replyBytes = isDownload ? order.workload.downloadBytes ?? 0 : messageBytes
    outgoingBytes = request.count + messageBytes
    outgoing = .allocate(byteCount: outgoingBytes, alignment: 64)
    for (place, byte) in request.enumerated() {
      outgoing.storeBytes(of: byte, toByteOffset: place, as: UInt8.self)
    }
    bufferBytes = min(replyBytes, Self.receiveBytesMax)
    buffer = .allocate(byteCount: bufferBytes, alignment: 64)
    places = (0..<order.workload.connections).map { Place(offset: UInt64($0) * 8191) }
  }

  deinit {
    outgoing.deallocate()
    buffer.deallocate()
  }

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
    places[number].offset = isDownload ? 0 : places[number].offset + UInt64(messageBytes)
    let socket = try connectTo(order.host, order.port, congestion: order.congestion)
    places[number].socket = socket
    let sent = offer(number)
    places[number].isSent = sent == outgoingBytes
    guard sent == outgoingBytes || errno == EAGAIN || errno == ENOTCONN else {
      throw .system("send on a new connection")
    }
    let interest = sent == outgoingBytes ? Poller.readable : Poller.writable
    poller.add(socket, interest, number: number)
  }

  private mutating func send(_ number: Int) throws(LoadError) {
    let sent = offer(number)
    guard sent == outgoingBytes else { throw .system("send of a message returned \(sent)") }
    places[number].isSent = true
    poller.change(places[number].socket, Poller.readable, number: number)
  }

  /// What `send` says to request and message; they fit an empty socket buffer.
  private func offer(_ number: Int) -> Int {
    (outgoing + request.count).copyMemory(
      from: pattern.bytes(at: places[number].offset), byteCount: messageBytes)
    return Glibc.send(places[number].socket, outgoing, outgoingBytes, 0)
  }

  /// True when the reply is complete.
  private mutating func receive(_ number: Int) throws(LoadError) -> Bool {
    let received = places[number].received
    let count = recv(
      places[number].socket, buffer, min(bufferBytes, replyBytes - received), 0)
    guard count > 0 else {
      if count < 0, errno == EAGAIN { return false }
      throw ended(number, count)
    }
    let offset = places[number].offset + UInt64(received)
    let isRight =
      isDownload
      ? pattern.matches(buffer, count: count, at: offset)
      : memcmp(buffer, pattern.bytes(at: offset), count) == 0
    guard isRight else { throw LoadError("connection \(number): the reply is wrong") }
    places[number].received += count
    guard places[number].received == replyBytes else { return false }
    total += 1
    return true
  }
}
