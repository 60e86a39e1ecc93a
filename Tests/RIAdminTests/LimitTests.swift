// What the admin HTTP takes of clients that ask too much, too slowly or too often.

import Testing

@testable import RIAdmin

struct LimitTests {
  @Test func longHeadersAreRefused() async throws {
    try await withServer(FakeSource(.hub)) { port async throws in
      let long = try RawClient(port)
      try await long.send(
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "
          + String(repeating: "x", count: 20_000) + "\r\n")
      #expect(try await long.readToEnd().hasPrefix("HTTP/1.1 400 "))
      let many = try RawClient(port)
      try await many.send(
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
          + String(repeating: "X: 1\r\n", count: 200) + "\r\n")
      #expect(try await many.readToEnd().hasPrefix("HTTP/1.1 400 "))
      #expect(try await curl(port, "/healthz").status == 200)
    }
  }

  /// A header that comes byte by byte does not hold its connection for good.
  @Test func aRequestThatDoesNotEndIsCutOff() async throws {
    var limits = AdminLimits()
    limits.requestSeconds = 1
    try await withServer(FakeSource(.hub), limits: limits) { port async throws in
      let silent = try RawClient(port)
      let dripping = try RawClient(port)
      let idle = try RawClient(port)
      try await idle.get("/healthz")
      _ = try await idle.read(until: "ok\n")
      var isOver = false
      try await wait(for: "the end of a dripping request") {
        if !isOver { isOver = (try? await dripping.send("X")) == nil }
        return isOver
      }
      #expect(try await silent.readToEnd().isEmpty)
      #expect(try await idle.readToEnd().isEmpty)
    }
  }

  @Test func connectionsBeyondTheLimitWait() async throws {
    var limits = AdminLimits()
    limits.connectionsMax = 2
    try await withServer(FakeSource(.hub), limits: limits) { port async throws in
      var held: [RawClient] = []
      for _ in 0..<2 {
        let client = try RawClient(port)
        try await client.get("/healthz")
        _ = try await client.read(until: "ok\n")
        held.append(client)
      }
      let third = try RawClient(port)
      try await third.get("/healthz")
      held.removeLast()
      _ = try await third.read(until: "ok\n")
      withExtendedLifetime(held) {}
    }
  }
}
