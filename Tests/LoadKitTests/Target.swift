// Targets for the clients under test: the real one, and ones that misbehave.

import Glibc
import Testing

@testable import LoadKit

/// A target on a thread of its own, which lives as long as the test process.
struct Target {
  var port: UInt16
  var counters: Int32
  private var isAsked: Bool
  /// It is gone with its first connection.
  private var servesOnce = false

  init(_ mode: TargetOrder.Mode, expectsProxyLine: Bool = false) throws {
    let counters = try SharedCounters.makeFile()
    var ends: [Int32] = [0, 0]
    try #require(pipe(&ends) == 0)
    let (answer, report) = (ends[0], ends[1])
    startThread {
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
    isAsked = mode == .asked
  }

  /// A server that does as the body says with its first connection, a blocking one.
  init(serving body: @escaping @Sendable (Int32) -> Void) throws {
    let listener = try listenOnLoopback(0)
    port = localPort(listener)
    counters = try SharedCounters.makeFile()
    isAsked = false
    servesOnce = true
    startThread {
      var wanted = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
      guard poll(&wanted, 1, 10_000) == 1, let connection = acceptFromLoopback(listener) else {
        return
      }
      guard fcntl(connection, F_SETFL, 0) == 0 else { return }
      body(connection)
    }
  }

  /// Runs a workload against it; `fields` are those of its JSON behind name and about.
  func run(
    _ fields: String, warmUpSeconds: Double = 0.02, seconds: Double = 0.1, startAt: UInt64? = nil
  ) throws -> LoadResult {
    let workload = try Workload(json: Array(#"{"name": "t", "about": "", \#(fields)}"#.utf8))
    func run(_ seconds: Double) throws -> LoadResult {
      let order = LoadOrder(
        workload: workload, port: port, warmUpSeconds: warmUpSeconds, seconds: seconds,
        watched: [getpid()], congestion: nil, startAt: startAt, asks: isAsked)
      return try runLoad(order, counters: SharedCounters(mapping: counters))
    }
    return try servesOnce ? run(seconds) : untilTraffic(seconds, run)
  }
}

/// A load, in a window of `seconds`. A machine that is busy with other things may let such a short
/// one pass without any traffic: then in a longer one.
func untilTraffic<Result>(
  _ seconds: Double, _ load: (Double) throws -> Result
) throws -> Result {
  var seconds = seconds
  while true {
    do {
      return try load(seconds)
    } catch let error as LoadError where error.description.hasSuffix("came through") {
      seconds *= 4
      if seconds > 10 { throw error }
    }
  }
}

/// A blocking connection.
func connected(to port: UInt16) throws -> Int32 {
  let socket = try connectToLoopback(port)
  try #require(fcntl(socket, F_SETFL, 0) == 0)
  var wanted = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
  try #require(poll(&wanted, 1, 5_000) == 1)
  return socket
}
