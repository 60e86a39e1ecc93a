// Sockets of the simulated kernel and the byte streams between them.

import RIBase

/// One direction of a simulated TCP connection.
///
/// ```
/// bytes:  | arrived (readable) | in flight | unsent |
///           receive buffer ----------------   send buffer: all but `arrived`
/// ```
final class SimulatedPipe {
  enum Segment {
    case data(Int)
    case end

    var byteCount: Int { if case .data(let n) = self { n } else { 0 } }
  }
  static let segmentBytesMax = 1 << 16

  let from: SimulatedHost
  let to: SimulatedHost
  let line: SimulatedLine
  weak var writer: SimulatedSocket?
  weak var reader: SimulatedSocket?
  /// Bytes from `head` on; consumed in front.
  private var bytes: [UInt8] = []
  private var head = 0
  private(set) var arrived = 0
  /// All that was ever put in and taken out.
  private(set) var writtenBytes = 0
  private(set) var readBytes = 0
  private var inFlight = 0
  private var segments: [Segment] = []
  /// When the last segment on its way arrives: none overtakes it.
  var lastArrival = Instant(nanoseconds: 0)
  /// The writer sends no more (FIN), which follows the bytes.
  private(set) var isFinished = false
  private var isEndSent = false
  private(set) var isEndArrived = false
  /// The reader's socket is gone: what arrives is answered by a reset.
  var isReaderGone = false
  /// Reset: nothing moves any more.
  private(set) var isDead = false

  init(from writer: SimulatedSocket, to reader: SimulatedSocket, line: SimulatedLine) {
    from = writer.host
    to = reader.host
    self.line = line
    self.writer = writer
    self.reader = reader
  }

  private var count: Int { bytes.count - head }
  private var unsent: Int { count - arrived - inFlight }

  /// Bytes the send buffer still takes.
  func room(_ capacity: Int) -> Int { isDead ? 0 : max(0, capacity - (count - arrived)) }

  func write(_ source: UnsafeRawBufferPointer) {
    bytes.append(contentsOf: source)
    writtenBytes += source.count
  }

  func finish() { isFinished = true }

  /// The next segment to put on its way as far as the receive buffer has room; nil when none.
  func nextSegment(receiveCapacity: Int) -> Segment? {
    guard !isDead else { return nil }
    let n = min(unsent, receiveCapacity - arrived - inFlight, Self.segmentBytesMax)
    if n > 0 {
      inFlight += n
      segments.append(.data(n))
      return .data(n)
    }
    if isFinished, !isEndSent, unsent == 0 {
      isEndSent = true
      segments.append(.end)
      return .end
    }
    return nil
  }

  /// The oldest segment on its way arrives.
  func arrive() -> Segment? {
    guard !segments.isEmpty else { return nil }
    let segment = segments.removeFirst()
    switch segment {
    case .data(let n):
      inFlight -= n
      arrived += n
    case .end: isEndArrived = true
    }
    return segment
  }

  /// Takes arrived bytes out.
  func read(into target: UnsafeMutableRawBufferPointer) {
    precondition(target.count <= arrived)
    bytes.withUnsafeBytes {
      target.copyMemory(
        from: UnsafeRawBufferPointer(rebasing: $0[head..<head + target.count]))
    }
    head += target.count
    readBytes += target.count
    arrived -= target.count
    if head == bytes.count {
      bytes.removeAll(keepingCapacity: true)
      head = 0
    } else if head > 1 << 16, head > bytes.count / 2 {
      bytes.removeFirst(head)
      head = 0
    }
  }

  /// Drops what has not arrived; nothing more will.
  func kill() {
    isDead = true
    bytes.removeLast(count - arrived)
    inFlight = 0
    segments.removeAll()
  }
}

/// A datagram in flight or in a socket's queue.
struct SimulatedDatagram {
  var source: SocketAddress
  var destination: SocketAddress
  var payload: [UInt8]
  var congestionMarks: UInt8 = 0
}

/// A socket of the simulated kernel: one of a listener, a stream or a datagram socket.
final class SimulatedSocket {
  enum Role { case listener, stream, datagram }

  /// An accept or connect.
  struct Pending {
    var ring: Int
    var token: Token
  }
  struct PendingReceive {
    var ring: Int
    var token: Token
    var pool: PoolID
    var left: Int
  }
  struct PendingSend {
    var ring: Int
    var token: Token
    var queue: SliceQueue
    var sent: Int
    var total: Int
    var mode: SendMode
  }

  let role: Role
  let family: IPAddress.Family
  let host: SimulatedHost
  /// -1 until accepted, and once closed.
  var descriptor: Int32 = -1
  /// The ring whose process holds the descriptor.
  var owner = -1
  var isClosed = false
  var local: SocketAddress
  var remote: SocketAddress?
  var reusesPort = false
  var reportsCongestionMarks = false
  var sendCapacity: Int
  var receiveCapacity: Int
  /// Why the connection failed, as errno; 0 while it has not.
  var failure: Int32 = 0

  /// A datagram socket's failure, which is told once.
  func takeFailure() -> Int32 {
    defer { failure = 0 }
    return failure
  }

  var incoming: SimulatedPipe?
  var outgoing: SimulatedPipe?
  /// Whether the descriptor's owner may use the pipes: after connect or accept.
  var isConnected = false

  /// Connections of a listener that nobody has accepted.
  var backlog: [SimulatedSocket] = []
  var backlogMax = 0

  var datagrams: [SimulatedDatagram] = []
  var datagramBytes = 0

  /// Data is there but the application has not noticed (a fault).
  var isStalled = false
  /// Whether the socket stands in its ring's list of readable sockets.
  var isListed = false

  var accept: Pending?
  var connect: Pending?
  var receive: PendingReceive?
  var send: PendingSend?

  init(
    _ role: Role, _ local: SocketAddress, host: SimulatedHost, sendCapacity: Int,
    receiveCapacity: Int
  ) {
    self.role = role
    self.local = local
    self.family = local.ip.family
    self.host = host
    self.sendCapacity = sendCapacity
    self.receiveCapacity = receiveCapacity
  }

  /// Whether a receive would end or bring something.
  var isReadable: Bool {
    if isStalled { return false }
    if failure != 0 { return true }
    switch role {
    case .listener: return !backlog.isEmpty
    case .datagram: return !datagrams.isEmpty
    case .stream:
      guard let incoming, isConnected else { return false }
      return incoming.arrived > 0 || incoming.isEndArrived
    }
  }
}
