// The loop of a target over its connections: one thread, one epoll. A connection comes in by the
// listener or, once it has said that it is bulk, from the loop that has it.

import CLoadIO
import Glibc

/// One connection of a target.
struct TargetConnection: BitwiseCopyable {
  /// `asked` until it has said what it wants.
  var mode: TargetOrder.Mode
  /// Bytes sent by a source or received by a sink.
  var offset: UInt64 = 0
  /// Where a source ends.
  var end = UInt64.max
  /// Bytes of a source's writes.
  var writeBytes = Pattern.sendBytes
  /// Bytes of the PROXY line so far; -1 when it is over or there is none.
  var proxyLineBytes: Int
}

/// Serves connections; `run` never returns.
struct TargetLoop: ~Copyable {
  /// Where connections come from.
  enum Door {
    case listener(Int32)
    /// A pipe with a `Handed` for each connection.
    case inbox(Int32)
  }

  /// A connection on its way to another loop; small enough for a pipe to keep it whole.
  private struct Handed: BitwiseCopyable {
    var descriptor: Int32 = -1
    var connection = TargetConnection(mode: .asked, proxyLineBytes: -1)
  }

  private static let receiveBytes = 256 * 1024
  /// Events carry a descriptor; the door's stand out by this.
  private static let doorNumber = -1
  /// proxy-protocol.txt 2.1: 107 bytes with CR LF.
  private static let proxyLineBytesMax = 107

  private let order: TargetOrder
  private let counters: SharedCounters
  private let door: Door
  /// The other loop's inbox, for what is not an echo.
  private let bulk: Int32?
  private let poller = Poller()
  private let pattern = Pattern()
  private let buffer: UnsafeMutableRawPointer
  /// By descriptor.
  private var connections: [TargetConnection] = []
  /// Requests of which a part has arrived, by descriptor.
  private var requests: [Int32: [UInt8]] = [:]
  /// Echoes that did not fit their sockets, by descriptor; these are not read meanwhile.
  private var unsent: [Int32: [UInt8]] = [:]

  init(
    _ order: TargetOrder, _ counters: consuming SharedCounters, door: Door, bulk: Int32? = nil
  ) {
    self.order = order
    self.counters = counters
    self.door = door
    self.bulk = bulk
    buffer = .allocate(byteCount: Self.receiveBytes, alignment: 4096)
    switch door {
    case .listener(let descriptor), .inbox(let descriptor):
      poller.add(descriptor, Poller.readable, number: Self.doorNumber)
    }
  }

  deinit {
    switch door {
    case .listener(let descriptor), .inbox(let descriptor): close(descriptor)
    }
    buffer.deallocate()
  }

  consuming func run() -> Never {
    while true {
      for i in 0..<poller.wait() {
        let (number, what) = poller.event(i)
        if number == Self.doorNumber {
          open(door)
          continue
        }
        let descriptor = Int32(truncatingIfNeeded: number)
        if what & ~Poller.writable != 0, !receive(descriptor) { continue }
        if what & Poller.writable != 0 { sendMore(descriptor) }
      }
    }
  }

  private mutating func open(_ door: Door) {
    switch door {
    case .listener(let listener):
      while let descriptor = acceptFromLoopback(listener) {
        add(
          descriptor,
          TargetConnection(mode: order.mode, proxyLineBytes: order.expectsProxyLine ? 0 : -1))
      }
    case .inbox(let inbox):
      var handed = Handed()
      let size = MemoryLayout<Handed>.size
      guard read(inbox, &handed, size) == size else { return }
      add(handed.descriptor, handed.connection)
    }
  }

  private mutating func add(_ descriptor: Int32, _ connection: TargetConnection) {
    while connections.count <= Int(descriptor) {
      connections.append(TargetConnection(mode: .asked, proxyLineBytes: -1))
    }
    connections[Int(descriptor)] = connection
    let interest =
      connection.mode == .source ? Poller.readable | Poller.writable : Poller.readable
    poller.add(descriptor, interest, number: Int(descriptor))
  }

  // MARK: Sending

  private mutating func sendMore(_ descriptor: Int32) {
    if connections[Int(descriptor)].mode == .source {
      sendPattern(descriptor)
    } else if let echo = unsent.removeValue(forKey: descriptor) {
      guard sendEcho(echo, echo.count, descriptor), unsent[descriptor] == nil else { return }
      poller.change(descriptor, Poller.readable, number: Int(descriptor))
    }
  }

  /// Moves up to `sendBytes` in writes of the connection's size, so that a small size costs more
  /// and yields no less.
  private mutating func sendPattern(_ descriptor: Int32) {
    var connection = connections[Int(descriptor)]
    var budget = Pattern.sendBytes
    while budget > 0, connection.offset < connection.end {
      let left = connection.end - connection.offset
      let wanted = Int(min(UInt64(min(connection.writeBytes, budget)), left))
      let count = pattern.send(on: descriptor, from: connection.offset, bytesMax: wanted)
      guard count > 0 else { break }
      connection.offset += UInt64(count)
      budget -= count
      if count < wanted { break }
    }
    connections[Int(descriptor)] = connection
    // At its end a source waits for the client to close.
    if connection.offset == connection.end {
      poller.change(descriptor, Poller.readable, number: Int(descriptor))
    }
  }

  /// Sends an echo; what does not fit goes when the socket has room. False when the connection is
  /// over.
  private mutating func sendEcho(
    _ bytes: UnsafeRawPointer, _ count: Int, _ descriptor: Int32
  ) -> Bool {
    var sent = send(descriptor, bytes, count, 0)
    if sent == count { return true }
    if sent < 0 {
      guard errno == EAGAIN else { return finish(descriptor) }
      sent = 0
    }
    unsent[descriptor] = Array(UnsafeRawBufferPointer(start: bytes + sent, count: count - sent))
    poller.change(descriptor, Poller.writable, number: Int(descriptor))
    return true
  }

  // MARK: Receiving

  /// False when the connection is over or another loop's.
  private mutating func receive(_ descriptor: Int32) -> Bool {
    let count = recv(descriptor, buffer, Self.receiveBytes, 0)
    if count < 0, errno == EAGAIN { return true }
    guard count > 0 else { return finish(descriptor) }
    let line = skipProxyLine(descriptor, count)
    guard line >= 0 else {
      complain("a connection did not begin with a PROXY line")
      return finish(descriptor)
    }
    guard line < count else { return true }
    guard connections[Int(descriptor)].mode == .asked else {
      return take(buffer + line, count - line, from: descriptor)
    }
    return takeRequest(buffer + line, count - line, from: descriptor)
  }

  private mutating func take(
    _ bytes: UnsafeMutableRawPointer, _ count: Int, from descriptor: Int32
  ) -> Bool {
    switch connections[Int(descriptor)].mode {
    case .source, .asked: break
    case .sink:
      let offset = connections[Int(descriptor)].offset
      if !pattern.matches(bytes, count: count, at: offset) { counters.addMismatch() }
      connections[Int(descriptor)].offset += UInt64(count)
      counters.addReceived(count)
    case .echo:
      return sendEcho(bytes, count, descriptor)
    }
    return true
  }

  /// Once the request is whole, what follows it is the load, and bulk goes to its own loop.
  private mutating func takeRequest(
    _ bytes: UnsafeMutableRawPointer, _ count: Int, from descriptor: Int32
  ) -> Bool {
    var request = requests.removeValue(forKey: descriptor) ?? []
    let part = min(count, TargetRequest.byteCount - request.count)
    request += UnsafeRawBufferPointer(start: bytes, count: part)
    guard request.count == TargetRequest.byteCount else {
      requests[descriptor] = request
      return true
    }
    guard let wanted = TargetRequest(request) else {
      complain("a connection did not say what it wants")
      return finish(descriptor)
    }
    connections[Int(descriptor)].mode = wanted.mode
    connections[Int(descriptor)].writeBytes = wanted.writeBytes
    if wanted.totalBytes > 0 { connections[Int(descriptor)].end = wanted.totalBytes }
    if wanted.sendBufferBytes > 0 { limitSendBuffer(descriptor, wanted.sendBufferBytes) }
    if part < count, !take(bytes + part, count - part, from: descriptor) { return false }
    guard wanted.mode != .echo, let bulk else { return true }
    poller.remove(descriptor)
    var handed = Handed(descriptor: descriptor, connection: connections[Int(descriptor)])
    let size = MemoryLayout<Handed>.size
    guard write(bulk, &handed, size) == size else { return finish(descriptor) }
    return false
  }

  /// How many of the received bytes belong to the PROXY line; -1 when it is too long to be one.
  private mutating func skipProxyLine(_ descriptor: Int32, _ count: Int) -> Int {
    var seen = connections[Int(descriptor)].proxyLineBytes
    guard seen >= 0 else { return 0 }
    for i in 0..<count {
      seen += 1
      if buffer.load(fromByteOffset: i, as: UInt8.self) == UInt8(ascii: "\n") {
        connections[Int(descriptor)].proxyLineBytes = -1
        return i + 1
      }
      if seen >= Self.proxyLineBytesMax { return -1 }
    }
    connections[Int(descriptor)].proxyLineBytes = seen
    return count
  }

  /// Closes the connection; false, for whoever asked whether it goes on.
  private mutating func finish(_ descriptor: Int32) -> Bool {
    requests.removeValue(forKey: descriptor)
    unsent.removeValue(forKey: descriptor)
    close(descriptor)
    return false
  }

  private func complain(_ text: String) {
    writeText("target: \(text)\n", to: 2)
  }
}
