// A target that does what each connection asks for, and the clients that ask.

import Glibc
import Testing

@testable import LoadKit

@Suite("Asked target")
struct AskedTargetTests {
  @Test("a request says all it holds, and what is none is refused")
  func request() throws {
    var request = TargetRequest(.sink, writeBytes: 4096)
    request.totalBytes = 1_000_000
    request.sendBufferBytes = 65_536
    #expect(request.bytes.count == TargetRequest.byteCount)
    #expect(TargetRequest(request.bytes) == request)
    for place in [0, 4, 8] {
      var bytes = request.bytes
      bytes[place] ^= 0x40
      bytes[place + 3] ^= 0x40
      #expect(TargetRequest(bytes) == nil, "byte \(place)")
    }
    #expect(TargetRequest(Array(request.bytes.dropLast())) == nil)
  }

  @Test("every kind gets what it asks for from one target")
  func kinds() throws {
    let target = try Target(.asked)
    for kind in ["bulk-down", "bulk-up", "rr", "crr"] {
      let result = try target.run(#""kind": "\#(kind)", "connections": 3, "messageBytes": 64"#)
      #expect(result.units > 0, "\(kind)")
    }
    #expect(try SharedCounters(mapping: target.counters).mismatches == 0)
  }

  @Test("PROXY line and request may come in pieces, with the load right behind")
  func pieces() throws {
    let target = try Target(.asked, expectsProxyLine: true)
    let counters = try SharedCounters(mapping: target.counters)
    let pattern = Pattern()
    let socket = try connected(to: target.port)
    let request = TargetRequest(.sink).bytes
    writeText("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r", to: socket)
    send(socket, Array("\n".utf8) + request.prefix(5), 6, 0)
    send(socket, Array(request.dropFirst(5)), request.count - 5, 0)
    send(socket, pattern.bytes(at: 0), 1000, 0)
    send(socket, pattern.bytes(at: 1000), 50_000, 0)
    shutdown(socket, Int32(SHUT_WR))
    #expect(readLine(from: socket) == nil)
    close(socket)
    #expect(counters.receivedBytes == 51_000)
    #expect(counters.mismatches == 0)
  }

  @Test("a connection that asks for nothing known is closed")
  func noRequest() throws {
    let target = try Target(.asked)
    let socket = try connected(to: target.port)
    defer { close(socket) }
    writeText(String(repeating: "x", count: TargetRequest.byteCount), to: socket)
    #expect(readLine(from: socket) == nil)
  }

  @Test("an echo is answered while downloads of the same target have no reader")
  func echoBesideStalled() throws {
    let target = try Target(.asked)
    var sockets: [Int32] = []
    defer { sockets.forEach { close($0) } }
    for _ in 0..<8 {
      let socket = try connected(to: target.port)
      try ask(TargetRequest(.source), on: socket)
      sockets.append(socket)
    }
    #expect(try target.run(#""kind": "rr", "connections": 2, "messageBytes": 64"#).units > 0)
  }

  @Test("echoes wait for a client that sends on without reading, and none is lost")
  func unreadEchoes() throws {
    let target = try Target(.asked)
    let socket = try connected(to: target.port)
    defer { close(socket) }
    let pattern = Pattern()
    try ask(TargetRequest(.echo), on: socket)
    // Sends until nothing more fits: the target has stopped reading, with an echo in hand.
    try #require(fcntl(socket, F_SETFL, O_NONBLOCK) == 0)
    var sent: UInt64 = 0
    var wanted = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
    while poll(&wanted, 1, 300) == 1 {
      let count = pattern.send(on: socket, from: sent)
      guard count > 0 else { break }
      sent += UInt64(count)
    }
    try #require(sent > 100_000)
    shutdown(socket, Int32(SHUT_WR))
    try #require(fcntl(socket, F_SETFL, 0) == 0)
    var received: UInt64 = 0
    var areRight = true
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while received < sent {
      let count = recv(socket, &buffer, buffer.count, 0)
      guard count > 0 else { break }
      areRight = areRight && pattern.matches(buffer, count: count, at: received)
      received += UInt64(count)
    }
    #expect(areRight && received == sent)
  }

  @Test("a short download has its size, is counted once, and is timed", arguments: [1, 300_001])
  func shortDownloads(bytes: Int) throws {
    let target = try Target(.asked)
    let result = try target.run(
      #""kind": "short-down", "connections": 4, "downloadBytes": \#(bytes)"#)
    #expect(result.units > 0)
    let latency = try #require(result.latency)
    #expect(latency.p50 > 0 && latency.p95 <= latency.p99 && latency.p99 <= latency.max)

    let socket = try connected(to: target.port)
    defer { close(socket) }
    var request = TargetRequest(.source, writeBytes: 1000)
    request.totalBytes = UInt64(bytes)
    try ask(request, on: socket)
    var received = [UInt8](repeating: 0, count: bytes)
    let count = recv(socket, &received, bytes, Int32(MSG_WAITALL))
    let isPattern = Pattern().matches(received, count: bytes, at: 0)
    #expect(count == bytes && isPattern)
    // Its end answers the client's, with nothing before it.
    shutdown(socket, Int32(SHUT_WR))
    #expect(recv(socket, &received, 1, 0) == 0)
  }

  @Test("downloads with appetites are counted apart, and their sum is the whole")
  func appetites() throws {
    let result = try Target(.asked).run(
      """
      "kind": "bulk-down", "connections": 3, "appetites": [
        {"receiveBytes": 1000, "writeBytes": 262144, "startMilliseconds": 0},
        {"receiveBytes": 262144, "writeBytes": 1000, "startMilliseconds": 5},
        {"receiveBytes": 64, "writeBytes": 64, "startMilliseconds": 10}]
      """)
    let streams = try #require(result.streamUnits)
    #expect(streams.count == 3)
    #expect(streams.reduce(0, +) == result.units)
  }

  @Test("what only an asked target can give is refused with another")
  func refusals() throws {
    let target = try Target(.source)
    #expect(throws: LoadError.self) {
      try target.run(#""kind": "short-down", "connections": 1, "downloadBytes": 10"#)
    }
    #expect(throws: LoadError.self) {
      try target.run(
        """
        "kind": "bulk-down", "connections": 1,
        "appetites": [{"receiveBytes": 1, "writeBytes": 1, "startMilliseconds": 0}]
        """)
    }
  }

  @Test("a client begins when it is told to, and its window is where it should be")
  func commonStart() throws {
    let start = clockNanoseconds() + 50_000_000
    let target = try Target { connection in
      // One who comes too early gets nothing.
      guard clockNanoseconds() >= start else { return _ = close(connection) }
      let pattern = Pattern()
      var offset: UInt64 = 0
      while true {
        let count = pattern.send(on: connection, from: offset, bytesMax: 1000)
        guard count > 0 else { return }
        offset += UInt64(count)
      }
    }
    let result = try target.run(
      #""kind": "bulk-down", "connections": 1"#, seconds: 0.5, startAt: start)
    #expect(clockNanoseconds() >= start + 520_000_000)
    #expect(result.units > 0)
  }
}
