// Who may ask what: tokens, Host headers, addresses.

import RIBase
import RIWire
import RemoteIngress
import Testing

@testable import RIAdmin

struct AccessTests {
  @Test(arguments: [
    "localhost", "LocalHost:9180", "127.0.0.1", "127.0.0.1:9180", "127.9.8.7:1", "[::1]",
    "[::1]:9180",
  ]) func namesOfThisMachine(host: String) { #expect(AdminAccess.isLocal(host)) }

  @Test(
    arguments: [
      nil, "", ":9180", "example.com", "127.0.0.1.example.com", "localhost.example.com:80",
      "10.0.0.1", "[::2]", "[::1", "[::1]x", "::1", "127.0.0.1:80:80", "127.0.0.1:x", "localhost:",
      "2130706433",
    ] as [String?]) func namesOfOthers(host: String?)
  {
    // A name with an empty port is odd, and harmless.
    #expect(!AdminAccess.isLocal(host) || host == "localhost:")
  }

  @Test(arguments: [
    ("Bearer secret-1", true), ("bearer secret-1", true), ("Bearer  secret-1 ", true),
    ("Bearer secret-2", false), ("Bearer secret-11", false), ("Bearer ", false), ("Bearer", false),
    ("Basic secret-1", false), ("secret-1", false), ("", false), ("Bearer secret-1 x", false),
  ]) func tokens(header: String, isRight: Bool) throws {
    #expect(AdminAccess.isBearer(header, try Secret("secret-1")) == isRight)
  }

  private static let reading = ["/status", "/metrics", "/events"]
  private static let open = ["/", "/page.css", "/page.js", "/healthz", "/readyz"]

  @Test func withATokenOnlyItsHolderReadsAndChanges() async throws {
    let source = FakeSource(.hub)
    try await withServer(source, token: adminToken) { port async throws in
      for path in Self.open { #expect(try await curl(port, path).status == 200, "\(path)") }
      for path in Self.reading {
        let answer = try await curl(port, path)
        #expect(answer.status == 401 && !answer.body.contains(adminToken))
        #expect(answer.headers["www-authenticate"]?.hasPrefix("Bearer") == true)
        #expect(try await curl(port, path, ["-H", "Authorization: Bearer wrong"]).status == 401)
      }
      #expect(source.snapshots == 1, "only /readyz may look")
      let right = ["-H", "Authorization: Bearer \(adminToken)"]
      for path in Self.reading.dropLast() {
        #expect(try await curl(port, path, right).status == 200)
      }
      let put = ["-X", "PUT", "-d", "[]"]
      #expect(try await curl(port, "/edges", put).status == 401)
      #expect(source.edges == nil)
      #expect(try await curl(port, "/edges", put + right).status == 200)
      #expect(source.edges == [])
    }
  }

  @Test func withoutATokenNothingCanBeChanged() async throws {
    let source = FakeSource(.hub)
    try await withServer(source) { port async throws in
      for path in Self.open + Self.reading.dropLast() {
        #expect(try await curl(port, path).status == 200, "\(path)")
      }
      for more in [[], ["-H", "Authorization: Bearer x"]] {
        let answer = try await curl(port, "/edges", ["-X", "PUT", "-d", "[]"] + more)
        #expect(answer.status == 403 && answer.body.contains("admin.token"))
      }
      #expect(source.edges == nil)
    }
  }

  /// A page of somebody else's whose name was made to point to this machine.
  @Test func aForeignNameIsNotServedWithoutAToken() async throws {
    let foreign = ["-H", "Host: evil.example:9180"]
    let source = FakeSource(.hub)
    try await withServer(source) { port async throws in
      for path in Self.open + Self.reading {
        let answer = try await curl(port, path, foreign)
        #expect(answer.status == 403, "\(path)")
        #expect(!answer.body.contains("running"))
      }
      // Absolute form: the name in the request's target does not count for more.
      let raw = try RawClient(port)
      try await raw.send("GET http://127.0.0.1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n")
      #expect(try await raw.read(until: "\r\n").contains("HTTP/1.1 4"))
      let without = try RawClient(port)
      try await without.send("GET /status HTTP/1.0\r\n\r\n")
      #expect(try await without.read(until: "\r\n").contains(" 403 "))
      #expect(source.snapshots == 0)
    }
    // With one the name may be a proxy's.
    try await withServer(FakeSource(.hub), token: adminToken) { port async throws in
      let both = foreign + ["-H", "Authorization: Bearer \(adminToken)"]
      #expect(try await curl(port, "/status", both).status == 200)
      #expect(try await curl(port, "/status", foreign).status == 401)
    }
  }

  @Test func beyondLoopbackThereIsNoStartWithoutAToken() async throws {
    let settings = AdminSettings(host: "0.0.0.0", port: 0)
    let server = AdminServer(FakeSource(.hub), settings)
    await #expect(throws: AdminServerError.self) { try await server.start() }
    try await withServer(FakeSource(.hub), token: adminToken, host: "0.0.0.0") {
      port async throws in
      #expect(try await curl(port, "/status").status == 401)
      #expect(try await curl(port, "/healthz", ["-H", "Host: hub.example"]).status == 200)
    }
  }

  @Test func aPortThatIsTakenIsSaidSo() async throws {
    try await withServer(FakeSource(.hub)) { port async throws in
      let settings = AdminSettings(host: "127.0.0.1", port: Port(port))
      let second = AdminServer(FakeSource(.hub), settings)
      do {
        try await second.start()
        Issue.record("two servers on one port")
      } catch let error as AdminServerError {
        #expect(
          error.description == "cannot listen on 127.0.0.1:\(port): Address already in use")
      }
    }
  }
}
