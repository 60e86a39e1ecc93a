// PUT /edges: what is taken, and what is said of what is not.

import Foundation
import RIControl
import RIWire
import RemoteIngress
import Testing

@testable import RIAdmin

struct EdgesTests {
  private static let right = ["-H", "Authorization: Bearer \(adminToken)"]

  private static func put(_ port: Int, _ json: String) async throws -> Answer {
    try await curl(port, "/edges", ["-X", "PUT", "-d", json] + right)
  }

  @Test func aListReplacesTheEdges() async throws {
    let source = FakeSource(.hub)
    try await withServer(source, token: adminToken) { port async throws in
      let answer = try await Self.put(
        port,
        #"""
        [{"id":"e1","secret":"hush-1","listenPorts":[80,443],"listenPortsUdp":[53],
          "stunIntervalSecs":60,"firewallConfig":{"blockedIps":["192.0.2.0/24"]}},
         {"id":"e2","secret":"hush-2"}]
        """#)
      #expect(answer.status == 200 && answer.body == "{\"edges\":2}\n")
      let edges = try #require(source.edges)
      #expect(edges.map(\.id) == ["e1", "e2"] && edges[0].secret.revealed == "hush-1")
      #expect(edges[0].listenPorts == [80, 443] && edges[0].listenPortsUdp == [53])
      #expect(edges[0].stunIntervalSecs == 60 && edges[1].stunIntervalSecs == 300)
      let blocked = edges[0].firewallConfig?.asObject?["blockedIps"]?.asArray
      #expect(blocked == [.string("192.0.2.0/24")])
    }
  }

  struct Wrong: Sendable, CustomTestStringConvertible {
    var json: String
    var edge: String?
    var entry: String
    var reason: String
    var testDescription: String { json }
  }

  private static let wrongs = [
    Wrong(json: "", entry: "", reason: "the list is not valid JSON"),
    Wrong(json: "- {id: e1}", entry: "", reason: "the list is not valid JSON"),
    Wrong(json: "{}", entry: "", reason: "must be a list"),
    Wrong(json: #"[{"id":"e1"}]"#, edge: "e1", entry: "secret", reason: "is missing"),
    Wrong(json: #"[{"secret":"hush-9"}]"#, edge: "[0]", entry: "id", reason: "is missing"),
    Wrong(
      json: #"[{"id":"e1","secret":"hush-9","listenPort":[1]}]"#, edge: "e1", entry: "listenPort",
      reason: "unknown key; the nearest known one is listenPorts"),
    Wrong(
      json: #"[{"id":"e1","secret":"hush-9","listenPorts":[80,0]}]"#, edge: "e1",
      entry: "listenPorts[1]", reason: "'0' is wrong; it must be a whole number from 1 to 65535"),
    Wrong(
      json: #"[{"id":"e1","secret":"hush-9"},{"id":"e1","secret":"hush-9"}]"#, edge: "e1",
      entry: "", reason: "the edge e1 is listed twice"),
    Wrong(
      json: #"""
        [{"id":"e0","secret":"hush-9"},{"id":"e1","secret":"hush-9",
          "firewallConfig":{"rules":[{"id":"r","direction":"input"}]}}]
        """#,
      edge: "e1", entry: "firewallConfig.rules[0].action", reason: "is missing"),
    Wrong(
      json: #"[{"id":"e1","secret":"hush-9 x"}]"#, edge: "e1", entry: "secret",
      reason: "it must be 1 to 1024 printable ASCII characters without spaces"),
  ]

  @Test(arguments: wrongs) func whatIsWrongNamesEdgeEntryAndReason(wrong: Wrong) async throws {
    let source = FakeSource(.hub)
    try await withServer(source, token: adminToken) { port async throws in
      let answer = try await Self.put(port, wrong.json)
      #expect(answer.status == 400 && !answer.body.contains("hush-9"))
      let said = try JSONDecoder().decode([String: String?].self, from: Data(answer.body.utf8))
      #expect(said["edge"] == .some(wrong.edge) && said["entry"] == wrong.entry)
      #expect(said["reason"] == wrong.reason, "\(answer.body)")
      let parts = [wrong.edge.map { "edge \($0)" } ?? "", wrong.entry, wrong.reason]
      #expect(said["error"] == parts.filter { !$0.isEmpty }.joined(separator: ": "))
      #expect(source.edges == nil)
    }
  }

  @Test func whatTheHubSaysIsSaid() async throws {
    let cases: [(AdminRefusal, Int, String)] = [
      (.wrong("edge e1: firewallConfig.x: no"), 400, "edge e1: firewallConfig.x: no"),
      (.unavailable("it is not running"), 503, "it is not running"),
      (.noHub, 404, "an edge has no list of edges"),
    ]
    for (refusal, status, reason) in cases {
      let source = FakeSource(.hub)
      source.refuse(refusal)
      try await withServer(source, token: adminToken) { port async throws in
        let answer = try await Self.put(port, "[]")
        #expect(answer.status == status && answer.body == "{\"error\":\"\(reason)\"}\n")
      }
    }
  }

  @Test func fiveMiBAreTakenAndMoreAreNot() async throws {
    let source = FakeSource(.hub)
    let file = NSTemporaryDirectory() + "edges-\(UUID().uuidString).json"
    defer { try? FileManager.default.removeItem(atPath: file) }
    try await withServer(source, token: adminToken) { port async throws in
      for (bytes, status) in [(5 << 20, 200), (5 << 20 + 1, 413)] {
        let list = #"[{"id":"e1","secret":"s"}]"#
        try (list + String(repeating: " ", count: bytes - list.utf8.count))
          .write(toFile: file, atomically: false, encoding: .utf8)
        let answer = try await curl(
          port, "/edges", ["-X", "PUT", "--data-binary", "@\(file)", "-H", "Expect:"] + Self.right)
        #expect(answer.status == status)
      }
    }
  }
}
