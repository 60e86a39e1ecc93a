// Client and target against each other, without anything between them.

import Glibc
import Testing

@testable import LoadKit

/// Runs the body on a thread of its own: it blocks for good.
private func detach(_ body: @escaping @Sendable () -> Void) {
  final class Box {
    let body: @Sendable () -> Void; init(_ b: @escaping @Sendable () -> Void) { body = b }
  }
  var thread = pthread_t()
  pthread_create(
    &thread, nil,
    { argument in
      if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
      return nil
    }, Unmanaged.passRetained(Box(body)).toOpaque())
}

@Suite("Load")
struct LoadTests {
  func workload(_ kind: LoadKind, connections: Int) throws -> Workload {
    try Workload(
      json: Array(
        """
        {"name": "t", "about": "", "kind": "\(kind.rawValue)", "connections": \(connections),
         "messageBytes": 64}
        """.utf8))
  }

  /// Runs a load against a target thread; the thread lives as long as the test process.
  func run(_ kind: LoadKind, connections: Int) throws -> LoadResult {
    let file = try SharedCounters.makeFile()
    let order = TargetOrder(
      TargetOrder.mode(for: kind), port: 0, expectsProxyLine: false, congestion: nil)
    var ends: [Int32] = [0, 0]
    try #require(pipe(&ends) == 0)
    let port = ends[1]
    detach {
      guard let counters = try? SharedCounters(mapping: file),
        let target = try? LoadTarget(order, counters: counters)
      else { return }
      writeText("\(target.port)\n", to: port)
      target.serve()
    }
    let line = try #require(readLine(from: ends[0]))
    let order2 = LoadOrder(
      workload: try workload(kind, connections: connections),
      port: try #require(UInt16(String(decoding: line, as: UTF8.self))), warmUpSeconds: 0.02,
      seconds: 0.1, watched: [getpid()], congestion: nil)
    return try runLoad(order2, counters: SharedCounters(mapping: file))
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
}
