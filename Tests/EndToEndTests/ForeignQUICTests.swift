// QUIC that is not ours at the other end: aioquic as an edge and as a hub. The scenarios are in
// peers/foreign_quic.py, and run in the environment that ci/setup makes.

import Foundation
import Testing

extension EndToEnd {
  @Suite("aioquic", .enabled(if: Aioquic.isAvailable, "no aioquic: ci/setup brings it"))
  struct ForeignQUIC {
    private func command(_ scenario: String, _ arguments: [String: Any]) -> [String] {
      Aioquic.command("foreign_quic", scenario, arguments)
    }

    @Test(
      "an aioquic edge has streams and sessions by our hub", arguments: [Ring.quic, .epollQUIC])
    func edge(ring: Ring) throws {
      try Testbed.bare(ring) { bed in
        let route = ExtraRoute(.udp, "udpProxyHeader: none")
        bed.extraRoutes = [route]
        try bed.startHub()
        try bed.command(
          command(
            "edge",
            [
              "hub": bed.tunnelPort, "edge_id": bed.edgeID, "secret": bed.secret,
              "port": bed.peer.edge, "target": bed.peer.target, "udp_port": route.edge,
              "udp_target": route.target,
            ]))
        try bed.command(command("refused", ["hub": bed.tunnelPort, "edge_id": bed.edgeID]))
        #expect(bed.hub?.log.contains("over QUIC") == true)
      }
    }

    @Test("our edge serves clients by an aioquic hub", arguments: [Ring.quic, .epollQUIC])
    func hub(ring: Ring) throws {
      try Testbed.bare(ring) { bed in
        let udp = FreePort.take()
        let hub = try bed.start(
          "foreign",
          command(
            "hub",
            [
              "port": bed.tunnelPort, "certificate": try bed.makeCertificate(),
              "first": bed.peer.edge, "udp": udp,
            ]))
        try wait(within: 10, for: "the hub") { hub.output.contains("listening") }
        try bed.startEdge(until: [LogLine.tunnelUp])
        #expect(try hub.waitForExit(within: 60) == .code(0), "\(hub.logTail)")
      }
    }

    @Test("an edge that an aioquic hub refuses says so and stays away")
    func refused() throws {
      try Testbed.bare(.quic) { bed in
        let hub = try bed.start(
          "foreign",
          command(
            "hub",
            [
              "port": bed.tunnelPort, "certificate": try bed.makeCertificate(), "first": 1,
              "udp": 1, "refuses": 1,
            ]))
        try wait(within: 10, for: "the hub") { hub.output.contains("listening") }
        try bed.startEdge(until: [LogLine.unauthorized])
        #expect(try hub.waitForExit(within: 20) == .code(0), "\(hub.logTail)")
      }
    }
  }
}

/// Python with aioquic.
enum Aioquic {
  static let python = "\(Product.packageDirectory)/.build/peers/bin/python3"

  /// The command line that plays a scenario of `peers/SCRIPT.py`.
  static func command(
    _ script: String, _ scenario: String, _ arguments: [String: Any]
  ) -> [String] {
    [python, "\(Product.peers)/\(script).py", scenario] + arguments.map { "\($0)=\($1)" }
  }

  /// Says so, loudly, where it is missing.
  static let isAvailable: Bool = {
    if FileManager.default.isExecutableFile(atPath: python) { return true }
    print("SKIPPED: every test with aioquic, for there is no \(python): run ci/setup")
    return false
  }()
}
