// The other end of a load: a server that sends, swallows or echoes.

import CLoadIO
import Glibc

/// What a target is told to do.
public struct TargetOrder: Codable, Sendable {
  public enum Mode: String, Codable, Sendable { case source, sink, echo }

  public var mode: Mode
  /// Whether each connection begins with a PROXY v1 line, which is not part of the load.
  public var expectsProxyLine: Bool
  /// 0 takes a free port.
  public var port: UInt16
  public var host = loopbackHost
  public var congestion: CongestionControl?

  public init(
    _ mode: Mode, port: UInt16, expectsProxyLine: Bool, congestion: CongestionControl?
  ) {
    self.mode = mode
    self.port = port
    self.expectsProxyLine = expectsProxyLine
    self.congestion = congestion
  }

  /// The mode that a kind of load needs.
  public static func mode(for kind: LoadKind) -> Mode {
    switch kind {
    case .bulkDown: .source
    case .bulkUp: .sink
    case .requests, .connects: .echo
    }
  }
}

/// A listening target. One thread; `serve` never returns.
public struct LoadTarget: ~Copyable {
  private static let receiveBytes = 256 * 1024
  /// Events carry a descriptor; the listener's stand out by this.
  private static let listenerNumber = -1
  /// proxy-protocol.txt 2.1: 107 bytes with CR LF.
  private static let proxyLineBytesMax = 107

  private struct Connection {
    var offset: UInt64 = 0
    /// Bytes of the PROXY line so far; -1 when it is over or there is none.
    var proxyLineBytes = -1
  }

  private let order: TargetOrder
  private let counters: SharedCounters
  private let listener: Int32
  private let poller = Poller()
  private let pattern = Pattern()
  private let buffer: UnsafeMutableRawPointer
  /// By descriptor.
  private var connections: [Connection] = []

  public init(_ order: TargetOrder, counters: consuming SharedCounters) throws(LoadError) {
    listener = try listenOn(order.host, order.port, congestion: order.congestion)
    self.order = order
    self.counters = counters
    buffer = .allocate(byteCount: Self.receiveBytes, alignment: 4096)
    poller.add(listener, Poller.readable, number: Self.listenerNumber)
  }

  deinit {
    close(listener)
    buffer.deallocate()
  }

  public var port: UInt16 { localPort(listener) }

  public consuming func serve() -> Never {
    signal(SIGPIPE, SIG_IGN)
    while true {
      for i in 0..<poller.wait() {
        let (number, what) = poller.event(i)
        if number == Self.listenerNumber {
          acceptAll()
          continue
        }
        let descriptor = Int32(truncatingIfNeeded: number)
        if what & ~Poller.writable != 0, !receive(descriptor) { continue }
        if what & Poller.writable != 0 { sendPattern(descriptor) }
      }
    }
  }

  private mutating func acceptAll() {
    while let descriptor = acceptFromLoopback(listener) {
      while connections.count <= Int(descriptor) { connections.append(Connection()) }
      connections[Int(descriptor)] = Connection(
        proxyLineBytes: order.expectsProxyLine ? 0 : -1)
      let interest = order.mode == .source ? Poller.readable | Poller.writable : Poller.readable
      poller.add(descriptor, interest, number: Int(descriptor))
    }
  }

  private mutating func sendPattern(_ descriptor: Int32) {
    let count = pattern.send(on: descriptor, from: connections[Int(descriptor)].offset)
    if count > 0 { connections[Int(descriptor)].offset += UInt64(count) }
  }

  /// False when the connection is over.
  private mutating func receive(_ descriptor: Int32) -> Bool {
    let count = recv(descriptor, buffer, Self.receiveBytes, 0)
    if count < 0, errno == EAGAIN { return true }
    guard count > 0 else {
      close(descriptor)
      return false
    }
    let line = skipProxyLine(descriptor, count)
    guard line >= 0 else {
      complain("a connection did not begin with a PROXY line")
      close(descriptor)
      return false
    }
    guard line < count else { return true }
    return take(buffer + line, count - line, from: descriptor)
  }

  private mutating func take(
    _ bytes: UnsafeMutableRawPointer, _ count: Int, from descriptor: Int32
  ) -> Bool {
    switch order.mode {
    case .source: break
    case .sink:
      let offset = connections[Int(descriptor)].offset
      if !pattern.matches(bytes, count: count, at: offset) { counters.mismatches += 1 }
      connections[Int(descriptor)].offset += UInt64(count)
      counters.receivedBytes += UInt64(count)
    case .echo:
      // A closed loop has one message under way, which an empty socket buffer takes whole.
      guard send(descriptor, bytes, count, 0) == count else {
        if errno != EPIPE && errno != ECONNRESET { complain("an echo did not fit") }
        close(descriptor)
        return false
      }
    }
    return true
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

  private func complain(_ text: String) {
    writeText("target: \(text)\n", to: 2)
  }
}
