// Peers that break the rules: nothing crashes, nothing leaks, and everyone else is served.

import Testing

extension EndToEnd {
  @Suite("Crooked peers")
  struct CrookedPeers {
    /// Plays a scenario against the hub while a real edge is connected, which must stay so.
    static func play(
      _ ring: Ring, _ scenario: String, _ more: (Testbed) throws -> [String: Any] = { _ in [:] }
    ) throws {
      try Testbed.run(ring) { bed in
        let joining: [String: Any] = [
          "hub": bed.tunnelPort, "edge_id": bed.crookedID, "secret": bed.secret,
        ]
        try bed.play("crooked", scenario, joining.merging(try more(bed)) { $1 })
        try bed.curl(bed.url("small"))
        #expect(bed.edge?.log.contains(LogLine.tunnelDown) == false)
      }
    }

    static func owned(_ bed: Testbed) -> [String: Any] {
      ["own_port": bed.peer.edge, "target": bed.peer.target]
    }

    @Test(
      "every malformed frame ends its tunnel with a reason in the log", arguments: Ring.tls)
    func malformed(ring: Ring) throws {
      try Self.play(ring, "malformed") { bed in
        Self.owned(bed).merging(["log": bed.hub?.logFile ?? ""]) { $1 }
      }
    }

    @Test("what SPEC 2.2 tolerates does not end a tunnel", arguments: Ring.tls)
    func tolerated(ring: Ring) throws {
      try Self.play(ring, "tolerated", Self.owned)
    }

    @Test("a stream that overdraws its credit is reset alone", arguments: Ring.tls)
    func overdrawn(ring: Ring) throws {
      try Self.play(ring, "overdrawn", Self.owned)
    }

    @Test("impostors and garbage are turned away", arguments: Ring.tls)
    func impostor(ring: Ring) throws {
      try Self.play(ring, "impostor")
    }

    @Test("a hub that drains tells each edge what it understands", arguments: [true, false])
    func toldOfDrain(known: Bool) throws {
      try Testbed.run(.uring) { bed in
        bed.drainSeconds = 30
        try bed.restart()
        let hub = try #require(bed.hub)
        let scenario: [String: Any] = [
          "hub": bed.tunnelPort, "edge_id": bed.crookedID, "secret": bed.secret,
          "own_port": bed.peer.edge, "target": bed.peer.target, "stop": hub.pid,
          "known": known ? 1 : 0,
        ]
        try bed.play("crooked", "told_of_drain", scenario)
        #expect(try hub.waitForExit(within: 5) == .code(0))
        bed.forget(hub)
      }
    }

    @Test("a handshake that stops anywhere is cut off after 10 s", arguments: Ring.tls)
    func slowLoris(ring: Ring) throws {
      try Self.play(ring, "slow_loris")
    }

    @Test("ten thousand idle connections to the hub keep no edge out", arguments: Ring.tls)
    func flood(ring: Ring) throws {
      try Self.play(ring, "flood") { bed in ["hub_pid": bed.hub?.engine ?? 0] }
    }

    @Test("an edge takes from a hub only what SPEC 2.2 allows", arguments: Ring.tls)
    func malformedByHub(ring: Ring) throws {
      try ForeignHub.play(ring, "malformed") { ["first": $0.peer.edge] }
    }
  }

  /// The edge against a hub that a script plays.
  @Suite("An edge at a foreign hub")
  struct ForeignHub {
    static func play(
      _ ring: Ring, _ scenario: String, _ more: (Testbed) -> [String: Any] = { _ in [:] }
    ) throws {
      try Testbed.bare(ring) { bed in
        let certificate = try bed.makeCertificate()
        try bed.startEdge(until: [])
        let hub: [String: Any] = ["port": bed.tunnelPort, "certificate": certificate]
        try bed.play("foreign_hub", scenario, hub.merging(more(bed)) { $1 })
      }
    }

    @Test("an unauthorized edge says so and does not hammer", arguments: Ring.tls)
    func unauthorized(ring: Ring) throws {
      try Self.play(ring, "unauthorized")
    }

    @Test("CONFIG opens and closes ports and lets streams live on", arguments: Ring.tls)
    func reconfigured(ring: Ring) throws {
      try Self.play(ring, "reconfigured") { ["first": $0.peer.edge, "second": $0.web.edge] }
    }

    @Test("a firewall that breaks the rules refuses itself alone", arguments: Ring.tls)
    func badFirewall(ring: Ring) throws {
      try Testbed.bare(ring) { bed in
        let certificate = try bed.makeCertificate()
        let edge = try bed.startEdge(until: [])
        try bed.play(
          "foreign_hub", "bad_firewall",
          [
            "port": bed.tunnelPort, "certificate": certificate, "first": bed.peer.edge,
            "second": bed.web.edge,
          ])
        for reason in [
          "rules[0].action: 'accept; flush ruleset' is wrong", ": must be a mapping",
          "blockedIps: must be a list", "blockedIps[0]: has no value",
        ] {
          #expect(edge.log.contains("\(LogLine.firewallRefused): firewallConfig"))
          #expect(edge.log.contains(reason), "\(edge.log)")
        }
      }
    }

    @Test("an edge answers what it knows of a hub's offer", arguments: Ring.tls)
    func agreed(ring: Ring) throws {
      try Self.play(ring, "agreed") { ["first": $0.peer.edge] }
    }

    @Test("an edge makes way when its hub drains", arguments: Ring.tls)
    func madeWay(ring: Ring) throws {
      try Self.play(ring, "made_way") { ["first": $0.peer.edge] }
    }

    @Test("an edge that stops takes its leave", arguments: Ring.tls)
    func tookLeave(ring: Ring) throws {
      try Testbed.bare(ring) { bed in
        bed.drainSeconds = 30
        let certificate = try bed.makeCertificate()
        let edge = try bed.startEdge(until: [])
        try bed.play(
          "foreign_hub", "took_leave",
          [
            "port": bed.tunnelPort, "certificate": certificate, "first": bed.peer.edge,
            "stop": edge.pid,
          ])
        #expect(try edge.waitForExit(within: 5) == .code(0))
        bed.forget(edge)
      }
    }

    @Test("without credit an edge sends its window and no more", arguments: Ring.tls)
    func withheld(ring: Ring) throws {
      try Self.play(ring, "withheld") { ["first": $0.peer.edge] }
    }
  }
}
