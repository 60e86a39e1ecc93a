// Peers over QUIC that break the rules, and strangers that send packets: nothing crashes, nothing
// leaks, everyone else is served. The scenarios are in peers/crooked_quic.py and strangers.py, and
// run in the environment that ci/setup makes.

import Foundation
import Testing

extension EndToEnd {
  @Suite(
    "Crooked peers over QUIC", .enabled(if: Aioquic.isAvailable, "no aioquic: ci/setup brings it"))
  struct CrookedQUIC {
    /// Plays a scenario against the hub while a real edge is connected, which must stay so.
    private func play(
      _ ring: Ring, _ scenario: String, _ more: (Testbed) -> [String: Any] = { _ in [:] }
    ) throws {
      try Testbed.run(ring) { bed in
        let joining: [String: Any] = [
          "hub": bed.tunnelPort, "edge_id": bed.crookedID, "secret": bed.secret,
        ]
        try bed.command(
          Aioquic.command("crooked_quic", scenario, joining.merging(more(bed)) { $1 }))
        try bed.curl(bed.url("small"))
        #expect(bed.edge?.log.contains(LogLine.tunnelDown) == false)
      }
    }

    @Test(
      "every malformed message ends its tunnel with a reason in the log", arguments: Ring.overQUIC)
    func malformed(ring: Ring) throws {
      try play(ring, "malformed") { ["log": $0.hub?.logFile ?? ""] }
    }

    @Test("what a tunnel bears does not end it", arguments: Ring.overQUIC)
    func tolerated(ring: Ring) throws {
      try play(ring, "tolerated") { ["own_port": $0.peer.edge, "target": $0.peer.target] }
    }

    @Test("who takes more than was granted is cut off", arguments: Ring.overQUIC)
    func overreaching(ring: Ring) throws {
      try play(ring, "overreaching")
    }

    @Test("impostors and garbage are turned away", arguments: Ring.overQUIC)
    func impostor(ring: Ring) throws {
      try play(ring, "impostor")
    }

    @Test("who does not say who it is within 10 s is cut off")
    func slowLoris() throws {
      try play(.quic, "slow_loris")
    }

    @Test("an edge takes from a hub only what the protocol allows")
    func malformedByHub() throws {
      try Testbed.bare(.quic) { bed in
        let certificate = try bed.makeCertificate()
        try bed.startEdge(until: [])
        try bed.command(
          Aioquic.command(
            "crooked_quic", "malformed_hub",
            ["port": bed.tunnelPort, "certificate": certificate, "first": bed.peer.edge]))
      }
    }

    @Test("a second tunnel with the same id replaces the first", arguments: Ring.overQUIC)
    func replaced(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        let edge = try #require(bed.edge)
        let offset = edge.log.utf8.count
        try bed.command(
          Aioquic.command(
            "crooked_quic", "usurper",
            ["hub": bed.tunnelPort, "edge_id": bed.edgeID, "secret": bed.secret]))
        // It took the place; then the edge came back and took it again.
        try edge.waitForLog(LogLine.tunnelDown, from: offset)
        try edge.waitForLog(LogLine.tunnelUp, from: offset)
        try bed.curl(bed.url("small"))
      }
    }

    @Test(
      "strangers get three times what they sent at most, are counted, keep no edge out",
      arguments: ["handshakes", "garbage"])
    func strangers(scenario: String) throws {
      let admin = FreePort.take()
      try Testbed.run(.quic, hub: "shards: 2\nadmin: {listen: \"127.0.0.1:\(admin)\"}") { bed in
        let figures = try bed.command(
          Aioquic.command(
            "strangers", scenario,
            [
              "hub": bed.tunnelPort, "hub_pid": bed.hub?.engine ?? 0, "edge_id": bed.crookedID,
              "secret": bed.secret,
            ]))
        print("\(scenario): \(figures.split(separator: "\n").last ?? "")")
        try bed.curl(bed.url("small"))
        #expect(bed.edge?.log.contains(LogLine.tunnelDown) == false)
        let metrics = try bed.curl("http://127.0.0.1:\(admin)/metrics")
        func counted(_ series: String) -> Double {
          let line = metrics.split(separator: "\n").first {
            $0.hasPrefix("remoteingress_quic_\(series) ")
          }
          return line?.split(separator: " ").last.flatMap { Double($0) } ?? -1
        }
        switch scenario {
        case "handshakes":
          #expect(counted("answers_total{kind=\"retry\"}") > 0)
          #expect(counted("handshakes_total{stage=\"started\"}") > 64)
        default:
          #expect(counted("answers_total{kind=\"version_negotiation\"}") > 0)
          #expect(counted("answers_total{kind=\"stateless_reset\"}") > 0)
          #expect(counted("packets_dropped_total{reason=\"malformed\"}") > 0)
          #expect(counted("packets_dropped_total{reason=\"unknown\"}") > 0)
        }
      }
    }
  }
}
