// Who may come in, and what a new list changes.

import RIBase
import RIWire
import Testing

@testable import RIControl

@Suite struct AllowedEdgesTests {
  private func edge(_ id: String, _ secret: String, _ ports: [Port] = []) throws -> AllowedEdge {
    AllowedEdge(id: id, secret: try Secret(secret), listenPorts: ports)
  }

  @Test func onlyTheRightSecretOfTheRightEdgeOpens() throws {
    let long = String(repeating: "x", count: 1_024)
    let edges = AllowedEdges([
      try edge("a", "alpha"), try edge("b", "beta"), try edge("long", long),
    ])
    let table: [(id: String, secret: String, opens: Bool)] = [
      ("a", "alpha", true), ("b", "beta", true), ("long", long, true),
      ("a", "beta", false), ("b", "alpha", false),
      ("a", "alph", false), ("a", "alphaa", false), ("a", "Alpha", false), ("a", "alphA", false),
      ("a", "a", false), ("a", long, false), ("long", "x", false),
      ("long", String(repeating: "x", count: 1_023), false),
      ("A", "alpha", false), ("c", "alpha", false), ("c", "c", false),
    ]
    for row in table {
      let line = try EdgeLine(edgeID: row.id, secret: Secret(row.secret))
      let found = edges.authenticate(line)
      #expect(found?.id == (row.opens ? row.id : nil), "\(row.id)")
    }
  }

  @Test func emptyListLetsNobodyIn() throws {
    let line = try EdgeLine(edgeID: "a", secret: Secret("a"))
    #expect(AllowedEdges([]).authenticate(line) == nil)
  }

  @Test func changesDisconnectAndPushOnlyWhereTheyMust() throws {
    let edges = AllowedEdges([
      try edge("gone", "s"), try edge("same", "s", [80]), try edge("ports", "s", [80]),
      try edge("secret", "s", [80]),
    ])
    var stun = try edge("ports", "s", [80])
    stun.stunIntervalSecs = 1
    let changes = edges.changes(to: [
      try edge("same", "s", [80]), stun, try edge("secret", "t", [80, 81]), try edge("new", "n"),
    ])
    #expect(changes.disconnect == ["gone", "secret"])
    #expect(changes.push == [stun])
  }

  @Test func firewallChangeIsPushed() throws {
    let before = try edge("e", "s")
    var after = before
    after.firewallConfig = .object(["blockedIps": .array([.string("192.0.2.1")])])
    #expect(AllowedEdges([before]).changes(to: [after]).push == [after])
    #expect(after.message(offering: []).firewallConfig == after.firewallConfig)
  }

  @Test func drainIsSaidToWhoKnowsItAndPortsAreTakenFromWhoDoesNot() throws {
    var edge = try edge("e", "s")
    edge.listenPorts = [80, 443]
    edge.listenPortsUdp = [53]
    let told = edge.drainingMessage(offering: .all, inForce: [.drain])
    #expect(told.draining && told.listenPorts == [80, 443] && told.listenPortsUdp == [53])
    #expect(told.extensions == Extensions.all.names)
    for inForce in [Extensions.autoWindow, []] {
      let old = edge.drainingMessage(offering: .all, inForce: inForce)
      #expect(!old.draining && old.listenPorts.isEmpty && old.listenPortsUdp.isEmpty)
    }
  }
}
