// Client and target against each other, without anything between them.

import Glibc
import Testing

@testable import LoadKit

@Suite("Load")
struct LoadTests {
  /// A target on a thread of its own, which lives as long as the test process.
  struct Target {
    var port: UInt16
    var counters: Int32

    init(_ mode: TargetOrder.Mode, expectsProxyLine: Bool = false) throws {
      let counters = try SharedCounters.makeFile()
      var ends: [Int32] = [0, 0]
      try #require(pipe(&ends) == 0)
      let (answer, report) = (ends[0], ends[1])
      detach {
        let order = TargetOrder(
          mode, port: 0, expectsProxyLine: expectsProxyLine, congestion: nil)
        guard let counters = try? SharedCounters(mapping: counters),
          let target = try? LoadTarget(order, counters: counters)
        else { return }
        writeText("\(target.port)\n", to: report)
        target.serve()
      }
      let line = try #require(readLine(from: answer))
      port = try #require(UInt16(String(decoding: line, as: UTF8.self)))
      self.counters = counters
    }
  }

  func run(_ kind: LoadKind, connections: Int) throws -> LoadResult {
    let target = try Target(TargetOrder.mode(for: kind))
    let workload = try Workload(
      json: Array(
        """
        {"name": "t", "about": "", "kind": "\(kind.rawValue)", "connections": \(connections),
         "messageBytes": 64}
        """.utf8))
    let order = LoadOrder(
      workload: workload, port: target.port, warmUpSeconds: 0.02, seconds: 0.1,
      watched: [getpid()], congestion: nil)
    return try runLoad(order, counters: SharedCounters(mapping: target.counters))
  }

  @Test("bytes arrive and are counted in both directions", arguments: [1, 4])
  func bulk(connections: Int) throws {
    for kind in [LoadKind.bulkDown, .bulkUp] {
      let result = try run(kind, connections: connections)
      #expect(result.units > 0)
      #expect(result.watchedCPUSeconds.count == 1)
      #expect(result.latency == nil)
    }
  }

  @Test("each echo is counted and timed", arguments: [1, 8])
  func echoes(connections: Int) throws {
    for kind in [LoadKind.requests, .connects] {
      let result = try run(kind, connections: connections)
      #expect(result.units > 0)
      let latency = try #require(result.latency)
      #expect(latency.p50 > 0 && latency.p50 <= latency.p99 && latency.p99 <= latency.max)
    }
  }

  @Test("a PROXY line in two pieces is no part of the load")
  func proxyLine() throws {
    let target = try Target(.echo, expectsProxyLine: true)
    let socket = try connected(to: target.port)
    defer { close(socket) }
    writeText("PROXY TCP4 127.0.0.1 ", to: socket)
    writeText("127.0.0.1 1 2\r\nabc\n", to: socket)
    #expect(readLine(from: socket) == Array("abc".utf8))
  }

  @Test("a connection without its PROXY line is closed")
  func missingProxyLine() throws {
    let target = try Target(.echo, expectsProxyLine: true)
    let socket = try connected(to: target.port)
    defer { close(socket) }
    writeText(String(repeating: "x", count: 200), to: socket)
    #expect(readLine(from: socket) == nil)
  }

  @Test("a sink notices wrong bytes and counts all")
  func mismatch() throws {
    let target = try Target(.sink)
    let counters = try SharedCounters(mapping: target.counters)
    let socket = try connected(to: target.port)
    writeText("not the pattern", to: socket)
    shutdown(socket, Int32(SHUT_WR))
    #expect(readLine(from: socket) == nil)
    close(socket)
    #expect(counters.receivedBytes == 15)
    #expect(counters.mismatches == 1)
  }

  /// A blocking connection.
  func connected(to port: UInt16) throws -> Int32 {
    let socket = try connectToLoopback(port)
    try #require(fcntl(socket, F_SETFL, 0) == 0)
    var wanted = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
    try #require(poll(&wanted, 1, 5_000) == 1)
    return socket
  }
}

/// Runs the body on a thread of its own: it blocks for good.
private func detach(_ body: @escaping @Sendable () -> Void) {
  var thread = pthread_t()
  let argument = Unmanaged.passRetained(ThreadBody(run: body)).toOpaque()
  pthread_create(
    &thread, nil,
    { argument in
      if let argument { Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run() }
      return nil
    }, argument)
}

private final class ThreadBody: Sendable {
  let run: @Sendable () -> Void
  init(run: @escaping @Sendable () -> Void) { self.run = run }
}
