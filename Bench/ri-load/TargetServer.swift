// The target of a load: reads the PROXY header where there is one, answers the request with who the
// client is, and echoes, sends or checks. One thread, one epoll, TCP and UDP on the same port.

import CLoadIO
import Glibc
import LoadKit

/// What a target is told.
struct TargetPlan {
  var listen: Endpoint
  var seconds: Double
  var connectionsMax: Int
  /// Whether a connection without a PROXY header is refused.
  var requiresHeader: Bool
}

final class TargetServer {
  /// One connection. It goes through header and request; then it is a load.
  private final class Connection {
    enum Stage { case header, request, echo, download, upload, finished }

    var stage = Stage.header
    /// Of header and request, while they are not whole.
    var head: [UInt8] = []
    var client: Endpoint
    var hasHeader = false
    /// What the pattern's place of its next byte is, and of a download where it ends.
    var offset: UInt64 = 0
    var end = UInt64.max
    var received: UInt64 = 0
    /// What a full socket has refused; the connection is not read meanwhile.
    var unsent: [UInt8] = []

    init(_ client: Endpoint) { self.client = client }
  }

  private static let receiveBytes = 256 * 1024
  private static let listenerNumber = -1
  private static let datagramNumber = -2
  /// Enough for any header with its extensions, and a request.
  private static let headBytesMax = 4_096

  private let plan: TargetPlan
  private let tally = TargetTally()
  private let poller = Poller(capacity: 512)
  private let pattern = Pattern()
  private let listener: Int32
  private let datagrams: TargetDatagrams
  private let buffer: UnsafeMutablePointer<UInt8>
  private var connections: [Int32: Connection] = [:]

  init(_ plan: TargetPlan) throws(LoadError) {
    self.plan = plan
    let listener = try plan.listen.socket(SOCK_STREAM)
    setOption(listener, SOL_SOCKET, SO_REUSEADDR)
    guard plan.listen.withName({ bind(listener, $0, $1) }) == 0, Glibc.listen(listener, 4096) == 0
    else { throw failure("listen on \(plan.listen)") }
    self.listener = listener
    var bound = plan.listen
    bound.port = Endpoint.local(listener)?.port ?? 0
    datagrams = try TargetDatagrams(bound, tally)
    buffer = .allocate(capacity: Self.receiveBytes)
    poller.add(listener, Poller.readable, number: Self.listenerNumber)
    poller.add(datagrams.socket, Poller.readable, number: Self.datagramNumber)
  }

  deinit {
    close(listener)
    buffer.deallocate()
  }

  var endpoint: Endpoint { Endpoint.local(listener) ?? plan.listen }

  /// Serves until the time is over or a signal comes.
  func serve() -> TargetResult {
    let start = clockNanoseconds()
    let end = start + UInt64(plan.seconds * 1e9)
    var (second, nextLine) = (0, start + 1_000_000_000)
    while clockNanoseconds() < end, !isEndRequested {
      for i in 0..<poller.wait(until: min(end, nextLine)) {
        let (number, what) = poller.event(i)
        switch number {
        case Self.listenerNumber: acceptAll()
        case Self.datagramNumber: datagrams.echo()
        default: handle(Int32(truncatingIfNeeded: number), what)
        }
      }
      if clockNanoseconds() >= nextLine {
        second += 1
        nextLine += 1_000_000_000
        writeText("\(tally.line(second, open: connections.count))\n", to: 2)
      }
    }
    return tally.finish(seconds: Double(clockNanoseconds() - start) / 1e9)
  }

  private func acceptAll() {
    while true {
      let descriptor = load_accept(listener)
      guard descriptor >= 0 else { return }
      guard connections.count < plan.connectionsMax, let client = Endpoint.peer(descriptor) else {
        tally.result.refused += 1
        close(descriptor)
        continue
      }
      setOption(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY)
      tally.result.connections += 1
      connections[descriptor] = Connection(client)
      poller.add(descriptor, Poller.readable, number: Int(descriptor))
    }
  }

  private func finish(_ descriptor: Int32) {
    connections.removeValue(forKey: descriptor)
    close(descriptor)
  }

  private func refuse(_ descriptor: Int32) {
    tally.result.refused += 1
    finish(descriptor)
  }

  private func handle(_ descriptor: Int32, _ what: UInt32) {
    guard let connection = connections[descriptor] else { return }
    if what & Poller.writable != 0 { sendMore(descriptor, connection) }
    guard connections[descriptor] === connection, what & ~Poller.writable != 0 else { return }
    let count = recv(descriptor, buffer, Self.receiveBytes, 0)
    guard count > 0 else {
      if count < 0, errno == EAGAIN { return }
      return clientEnded(descriptor, connection, isReset: count < 0)
    }
    tally.result.bytesReceived += UInt64(count)
    take(UnsafeMutableBufferPointer(start: buffer, count: count), descriptor, connection)
  }

  /// An upload that ends gets its receipt.
  private func clientEnded(_ descriptor: Int32, _ connection: Connection, isReset: Bool) {
    if connection.stage == .upload, !isReset {
      let receipt = Receipt(bytesReceived: connection.received, isWrong: false)
      send(receipt.bytes, descriptor, connection)
    }
    if connections[descriptor] != nil { finish(descriptor) }
  }

  // MARK: Header and request

  private func take(
    _ bytes: UnsafeMutableBufferPointer<UInt8>, _ descriptor: Int32, _ connection: Connection
  ) {
    switch connection.stage {
    case .header, .request:
      connection.head += bytes
      takeHead(descriptor, connection)
    case .echo: send(Array(bytes), descriptor, connection)
    case .upload: check(bytes, descriptor, connection)
    case .download, .finished: break
    }
  }

  private func takeHead(_ descriptor: Int32, _ connection: Connection) {
    if connection.stage == .header {
      switch ProxyHeader.parse(connection.head) {
      case .incomplete:
        if connection.head.count > Self.headBytesMax { refuse(descriptor) }
        return
      case .wrong: return refuse(descriptor)
      case .absent:
        guard !plan.requiresHeader else { return refuse(descriptor) }
        tally.result.headersAbsent += 1
      case .header(let header):
        if header.version == 1 { tally.result.headersV1 += 1 } else { tally.result.headersV2 += 1 }
        connection.hasHeader = header.source != nil
        connection.client = header.source ?? connection.client
        connection.head.removeFirst(header.byteCount)
      }
      connection.stage = .request
      tally.saw(connection.client)
    }
    guard connection.head.count >= Request.byteCount else { return }
    guard let request = Request(connection.head.prefix(Request.byteCount)) else {
      return refuse(descriptor)
    }
    let rest = Array(connection.head.dropFirst(Request.byteCount))
    connection.head = []
    begin(request, rest, descriptor, connection)
  }

  private func begin(
    _ request: Request, _ rest: [UInt8], _ descriptor: Int32, _ connection: Connection
  ) {
    connection.offset = request.offset
    let reply = Reply(client: connection.client, isFromHeader: connection.hasHeader, to: request)
    switch request.mode {
    case .echo: connection.stage = .echo
    case .upload: connection.stage = .upload
    case .download:
      connection.stage = .download
      if request.totalBytes > 0 { connection.end = request.offset + request.totalBytes }
    }
    send(reply.bytes, descriptor, connection)
    guard connections[descriptor] != nil else { return }
    if connection.stage == .download { watch(descriptor, connection) }
    guard !rest.isEmpty else { return }
    var rest = rest
    rest.withUnsafeMutableBufferPointer { take($0, descriptor, connection) }
  }

  // MARK: The load

  private func check(
    _ bytes: UnsafeMutableBufferPointer<UInt8>, _ descriptor: Int32, _ connection: Connection
  ) {
    guard let base = bytes.baseAddress else { return }
    let place = connection.offset + connection.received
    guard pattern.equals(base, count: bytes.count, at: place) else {
      tally.result.wrongUploads += 1
      let receipt = Receipt(bytesReceived: connection.received, isWrong: true)
      connection.stage = .finished
      return send(receipt.bytes, descriptor, connection)
    }
    connection.received += UInt64(bytes.count)
  }

  private func send(_ bytes: [UInt8], _ descriptor: Int32, _ connection: Connection) {
    guard connection.unsent.isEmpty else { return connection.unsent += bytes }
    var count = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    if count < 0 {
      guard errno == EAGAIN else { return finish(descriptor) }
      count = 0
    }
    tally.result.bytesSent += UInt64(count)
    guard count < bytes.count else { return }
    connection.unsent = Array(bytes[count...])
    watch(descriptor, connection)
  }

  private func sendMore(_ descriptor: Int32, _ connection: Connection) {
    if !connection.unsent.isEmpty {
      let bytes = connection.unsent
      connection.unsent = []
      send(bytes, descriptor, connection)
      guard connections[descriptor] != nil, connection.unsent.isEmpty else { return }
    }
    if connection.stage == .download, connection.offset < connection.end {
      let wanted = min(UInt64(Pattern.sendBytes), connection.end - connection.offset)
      let count = pattern.send(on: descriptor, from: connection.offset, bytesMax: Int(wanted))
      if count > 0 {
        connection.offset += UInt64(count)
        tally.result.bytesSent += UInt64(count)
      }
    }
    watch(descriptor, connection)
  }

  /// What it waits for: room while something is to be sent, and not for more while an echo is.
  private func watch(_ descriptor: Int32, _ connection: Connection) {
    let hasMore = connection.stage == .download && connection.offset < connection.end
    let isFull = !connection.unsent.isEmpty
    let interest =
      (isFull || hasMore ? Poller.writable : 0) | (isFull ? 0 : Poller.readable)
    poller.change(descriptor, interest, number: Int(descriptor))
  }
}
