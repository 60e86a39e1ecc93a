// UDP sessions: every byte of datagrams of all sizes, ten thousand at once, and what happens to
// them when their target, their tunnel or their engine goes. The scenarios are in
// peers/datagrams.py.

import Testing

extension EndToEnd {
  @Suite("Datagrams")
  struct Datagrams {
    private func arguments(_ route: ExtraRoute) -> [String: Any] {
      ["edge": route.edge, "target": route.target]
    }

    private func play(
      _ scenario: String, _ ring: Ring, header: String = "none", _ extra: [String: Any] = [:]
    ) throws {
      let route = ExtraRoute(.udp, "udpProxyHeader: \(header)")
      try Testbed.run(ring, with: [route]) { bed in
        try bed.play("datagrams", scenario, arguments(route).merging(extra) { $1 })
      }
    }

    @Test(
      "datagrams of 0 to 65,507 bytes come back byte for byte, over IPv4 and IPv6",
      arguments: Ring.allCases, ["first", "every", "none"])
    func sizes(ring: Ring, header: String) throws {
      try play("sizes", ring, header: header, ["header": header])
    }

    @Test("datagrams in bursts come back as they were", arguments: Ring.allCases)
    func bursts(ring: Ring) throws {
      // A new path over QUIC takes ten packets at first, and what is too large for a packet goes on
      // streams of its own, of which there are not as many as one may wish.
      try play("bursts", ring, ["count": ring == .quic ? 60 : 200])
    }

    @Test("ten thousand sessions at once, and none when they were idle", arguments: Ring.allCases)
    func crowd(ring: Ring) throws {
      let route = ExtraRoute(.udp, "udpProxyHeader: none")
      // All on one shard, as they come from one edge. None may be idle for too long before the last
      // has come, which takes 2 s, and more than 8 s on a busy machine.
      try Testbed.run(ring, with: [route], hub: "udpIdleSeconds: 20\nshards: 1") { bed in
        let figures = try bed.play(
          "datagrams", "crowd", arguments(route).merging(bed.pids) { $1 }, within: 120)
        print("\(ring): \(figures)")
      }
    }

    @Test("a target that is down costs nobody the next datagram", arguments: Ring.allCases)
    func refused(ring: Ring) throws {
      try play("refused", ring, header: "first")
    }

    @Test("sessions are served again after the tunnel was lost", arguments: Ring.allCases)
    func tunnelLost(ring: Ring) throws {
      let route = ExtraRoute(.udp, "udpProxyHeader: first")
      try Testbed.run(ring, with: [route]) { bed in
        try bed.play("datagrams", "alive", arguments(route))
        let edge = try #require(bed.edge)
        let offset = edge.log.utf8.count
        try bed.destroy(try #require(bed.hub))
        try edge.waitForLog(LogLine.tunnelDown, from: offset)
        try bed.startHub()
        try edge.waitForLog(LogLine.tunnelUp, from: offset)
        try bed.play("datagrams", "alive", arguments(route))
      }
    }

    @Test(
      "a drain serves a live session, and does not wait for one at rest", arguments: Ring.allCases,
      ["hub", "edge"])
    func drain(ring: Ring, role: String) throws {
      let route = ExtraRoute(.udp, "udpProxyHeader: none")
      try Testbed.run(ring, with: [route]) { bed in
        bed.drainSeconds = 300
        try bed.restart()
        let child = try #require(role == "hub" ? bed.hub : bed.edge)
        try bed.play(
          "datagrams", "drained", arguments(route).merging(["stop": child.pid]) { $1 })
        #expect(try child.waitForExit(within: 30) == .code(0))
        bed.forget(child)
      }
    }
  }
}
