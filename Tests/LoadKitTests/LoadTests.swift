// Client and target against each other, without anything between them.

import Glibc
import Testing

@testable import LoadKit

@Suite("Load")
struct LoadTests {
  func run(_ kind: LoadKind, connections: Int) throws -> LoadResult {
    let target = try Target(TargetOrder.mode(for: kind))
    let workload = #""kind": "\#(kind.rawValue)", "connections": \#(connections)"#
    return try target.run(workload + #", "messageBytes": 64"#)
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
}
