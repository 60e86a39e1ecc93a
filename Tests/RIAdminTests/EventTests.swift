// /events: what a listener hears, and what becomes of one that does not listen.

import RIControl
import RemoteIngress
import Testing

@testable import RIAdmin

struct EventTests {
  private static let begun = ": events from here on\n\n"

  @Test func anEventHasItsNameAndItsData() async throws {
    let source = FakeSource(.hub)
    try await withServer(source) { port async throws in
      let client = try RawClient(port)
      try await client.get("/events")
      let head = try await client.read(until: "\r\n\r\n").lowercased()
      #expect(head.contains(" 200 ok") && head.contains("content-type: text/event-stream"))
      #expect(try await client.read(until: Self.begun).contains("retry: 2000\n"))
      source.send(AdminEvent(name: "edgeConnected", data: #"{"edgeId":"e1"}"#))
      #expect(
        try await client.read(until: "}\n\n").hasSuffix(
          "event: edgeConnected\ndata: {\"edgeId\":\"e1\"}\n\n"))
      source.send(AdminEvent(name: "edgeDisconnected", data: "{}", lost: 7))
      let next = try await client.read(until: "data: {}\n\n")
      #expect(next.contains("event: eventsLost\ndata: {\"count\":7}\n\nevent: edgeDisconnected"))
      source.finish()
      _ = try await client.read(until: "0\r\n\r\n")
    }
  }

  @Test func eventsOfStreamsCanBeLeftOut() async throws {
    let source = FakeSource(.hub)
    try await withServer(source) { port async throws in
      for path in ["/events", "/events?streams=0", "/events?streams=1"] {
        let client = try RawClient(port)
        try await client.get(path)
        _ = try await client.read(until: Self.begun)
      }
      #expect(source.wantedStreams == [true, false, true])
    }
  }

  @Test func aSilentStreamHasAHeartbeat() async throws {
    var limits = AdminLimits()
    limits.heartbeatSeconds = 1
    try await withServer(FakeSource(.hub), limits: limits) { port async throws in
      let client = try RawClient(port)
      try await client.get("/events")
      _ = try await client.read(until: ": alive\n\n")
    }
  }

  /// Who does not read loses the oldest events, is told how many, and costs a bounded amount.
  @Test func aSlowReaderIsBounded() async throws {
    let source = FakeSource(.hub)
    let total = 100_000
    try await withServer(source) { port async throws in
      let client = try RawClient(port, receiveBytes: 32 << 10)
      try await client.send(
        "GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
      _ = try await client.read(until: Self.begun)
      let data = #"{"text":"\#(String(repeating: "x", count: 200))"}"#
      for _ in 0..<total { source.send(AdminEvent(name: "streamOpened", data: data)) }
      source.finish()
      let text = try await client.readToEnd()
      let lines = text.split { $0.isNewline }
      let received = lines.count { $0 == "event: streamOpened" }
      let lost = lines.filter { $0.hasPrefix("data: {\"count\":") }
        .compactMap { Int($0.filter(\.isNumber)) }.reduce(0, +)
      #expect(received + lost == total, "\(received) received, \(lost) lost")
      #expect(received >= 256)
      // 23 MB were sent; queue, channel and sockets hold no more than a few of them.
      #expect(received < total / 3, "\(received) were kept")
    }
  }

  @Test func aReaderThatReadsNothingForLongIsCutOff() async throws {
    let source = FakeSource(.hub)
    var limits = AdminLimits()
    limits.unreadSeconds = 1
    limits.eventStreamsMax = 1
    try await withServer(source, limits: limits) { port async throws in
      let client = try RawClient(port, receiveBytes: 4 << 10)
      try await client.get("/events")
      _ = try await client.read(until: Self.begun)
      let data = String(repeating: "x", count: 10_000)
      for _ in 0..<1_000 { source.send(AdminEvent(name: "streamOpened", data: data)) }
      // Its place is free again when it is gone.
      try await wait(for: "the end of the unread stream") {
        (try? await Self.status(port)) == "HTTP/1.1 200 OK\r\n"
      }
    }
  }

  @Test func placesAreLimitedAndComeBack() async throws {
    var limits = AdminLimits()
    limits.eventStreamsMax = 2
    try await withServer(FakeSource(.hub), limits: limits) { port async throws in
      var clients: [RawClient] = []
      for _ in 0..<2 {
        let client = try RawClient(port)
        try await client.get("/events")
        _ = try await client.read(until: Self.begun)
        clients.append(client)
      }
      #expect(try await Self.status(port).contains(" 503 "))
      #expect(try await curl(port, "/status").status == 200)
      clients.removeLast()
      try await wait(for: "a free place") {
        (try? await Self.status(port)) == "HTTP/1.1 200 OK\r\n"
      }
    }
  }

  @Test func aServerThatStopsEndsItsStreams() async throws {
    let source = FakeSource(.hub)
    nonisolated(unsafe) var client: RawClient?
    try await withServer(source) { port async throws in
      client = try RawClient(port)
      try await client?.get("/events")
      _ = try await client?.read(until: Self.begun)
    }
    _ = try await client?.readToEnd()
  }

  private static func status(_ port: Int) async throws -> String {
    let client = try RawClient(port)
    try await client.get("/events")
    return try await client.read(until: "\r\n")
  }
}
