// The load generator: one thread, one epoll, buffers that are used again. It shares the cores with
// what it measures, so it does no more than the load needs.

import CLoadIO
import Glibc

/// Does what the order says and reports what it measured. `counters` is the target's.
public func runLoad(
  _ order: LoadOrder, counters: borrowing SharedCounters
) throws(LoadError) -> LoadResult {
  signal(SIGPIPE, SIG_IGN)
  if let startAt = order.startAt { sleep(until: startAt) }
  switch order.workload.kind {
  case .bulkDown: return try BulkDownClient.run(order)
  case .bulkUp: return try BulkUpClient.run(order, counters: counters)
  case .requests: return try RequestClient.run(order)
  case .connects, .shortDown: return try ConnectClient.run(order)
  case .paced: return try PacedClient.run(order)
  case .stalled, .slow: return try StalledClient.run(order)
  case .idle: return try IdleClient.run(order)
  }
}

/// Sends as much as goes; what counts is what the target has received.
enum BulkUpClient {
  static func run(
    _ order: LoadOrder, counters: borrowing SharedCounters
  ) throws(LoadError) -> LoadResult {
    let poller = Poller()
    let pattern = Pattern()
    let sockets = try connectAll(order, to: poller, interest: Poller.writable)
    var offsets = [UInt64](repeating: 0, count: sockets.count)
    var window = MeasuredWindow(order)
    while window.goesOn(at: clockNanoseconds(), units: counters.receivedBytes) {
      for i in 0..<poller.wait(until: window.nextChange) {
        let (number, _) = poller.event(i)
        let count = pattern.send(on: sockets[number], from: offsets[number])
        guard count > 0 else {
          if errno == EAGAIN { continue }
          throw ended(number, count)
        }
        offsets[number] += UInt64(count)
      }
    }
    guard counters.mismatches == 0 else { throw LoadError("the target received wrong bytes") }
    return try window.result(latency: nil, congestion: congestionControl(of: sockets[0]))
  }
}

/// Closed loop: a message, its echo, the next message. Latency is from send to the echo's last
/// byte.
enum RequestClient {
  private struct Connection {
    var socket: Int32
    var offset: UInt64
    var received = 0
    var sentAt: UInt64
  }

  static func run(_ order: LoadOrder) throws(LoadError) -> LoadResult {
    let poller = Poller()
    let pattern = Pattern()
    let messageBytes = order.workload.messageBytes ?? 0
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: messageBytes, alignment: 64)
    defer { buffer.deallocate() }
    let sockets = try connectAll(order, to: poller, interest: Poller.readable)
    var connections = sockets.enumerated().map {
      Connection(socket: $0.element, offset: UInt64($0.offset) * 8191, sentAt: 0)
    }
    for number in connections.indices {
      try awaitWritable(sockets[number])
      connections[number].sentAt = clockNanoseconds()
      try sendMessage(pattern, connections[number].offset, messageBytes, on: sockets[number])
    }
    var total: UInt64 = 0
    var histogram = Histogram()
    var window = MeasuredWindow(order)
    while window.goesOn(at: clockNanoseconds(), units: total) {
      for i in 0..<poller.wait(until: window.nextChange) {
        let (number, _) = poller.event(i)
        var connection = connections[number]
        let count = recv(connection.socket, buffer, messageBytes - connection.received, 0)
        guard count > 0 else {
          if count < 0, errno == EAGAIN { continue }
          throw ended(number, count)
        }
        let expected = pattern.bytes(at: connection.offset) + connection.received
        guard memcmp(buffer, expected, count) == 0 else {
          throw LoadError("connection \(number): the echo is wrong")
        }
        connection.received += count
        if connection.received == messageBytes {
          let now = clockNanoseconds()
          if window.isMeasuring { histogram.record(now - connection.sentAt) }
          total += 1
          connection.offset += UInt64(messageBytes)
          connection.received = 0
          connection.sentAt = now
          try sendMessage(pattern, connection.offset, messageBytes, on: connection.socket)
        }
        connections[number] = connection
      }
    }
    return try window.result(
      latency: histogram, congestion: congestionControl(of: sockets[0]))
  }
}

// MARK: Shared by the clients

/// Opened before the client waits for the last of them: more would overflow a listener's backlog,
/// and the kernel tries again only after a second.
private let connectsUnderWayMax = 256

/// Opens the order's connections; an event's number is the socket's place.
func connectAll(
  _ order: LoadOrder, to poller: borrowing Poller, interest: UInt32
) throws(LoadError) -> [Int32] {
  var sockets: [Int32] = []
  for number in 0..<order.workload.connections {
    let socket = try connectTo(order.host, order.port, congestion: order.congestion)
    if order.asks { try ask(TargetRequest(for: order.workload), on: socket) }
    poller.add(socket, interest, number: number)
    sockets.append(socket)
    if sockets.count % connectsUnderWayMax == 0 { try awaitWritable(socket) }
  }
  return sockets
}

/// Tells the target what the connection is for, as soon as it is established.
func ask(_ request: TargetRequest, on socket: Int32) throws(LoadError) {
  try awaitWritable(socket)
  let sent = send(socket, request.bytes, TargetRequest.byteCount, 0)
  guard sent == TargetRequest.byteCount else { throw .system("send of a request") }
}

/// Sends one message whole: it fits an empty socket buffer.
func sendMessage(
  _ pattern: Pattern, _ offset: UInt64, _ count: Int, on socket: Int32
) throws(LoadError) {
  let sent = send(socket, pattern.bytes(at: offset), count, 0)
  guard sent == count else { throw .system("send of a message returned \(sent)") }
}

func ended(_ number: Int, _ result: Int) -> LoadError {
  let why = result == 0 ? "closed by the other side" : String(cString: strerror(errno))
  return LoadError("connection \(number): \(why)")
}

func awaitWritable(_ socket: Int32) throws(LoadError) {
  var wanted = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
  guard poll(&wanted, 1, 5_000) == 1 else { throw LoadError("no connection within 5 s") }
}
