// What one TCP connection must feel like through the tunnel, and many at once. The scenarios are in
// peers/streams.py: each plays the client and the target.

import Testing

extension EndToEnd {
  @Suite("Streams")
  struct Streams {
    static func play(
      _ scenario: String, _ ring: Ring, _ extra: [String: Any] = [:], within seconds: Double = 60
    ) throws {
      try Testbed.run(ring) { bed in
        try bed.play("streams", scenario, bed.route.merging(extra) { $1 }, within: seconds)
      }
    }

    @Test("a thousand connections at once each get their own bytes", arguments: Ring.allCases)
    func crowd(ring: Ring) throws {
      try Self.play("crowd", ring)
    }

    @Test("the target reads the client's PROXY line over IPv4 and IPv6", arguments: Ring.allCases)
    func proxyLine(ring: Ring) throws {
      try Self.play("proxy_line", ring)
    }

    @Test("a client that has finished still gets its answer", arguments: Ring.allCases)
    func halfCloseByClient(ring: Ring) throws {
      try Self.play("half_close_by_client", ring)
    }

    @Test("a target that has finished still gets the client's bytes", arguments: Ring.allCases)
    func halfCloseByTarget(ring: Ring) throws {
      try Self.play("half_close_by_target", ring)
    }

    @Test("a client's reset is a reset at the target", arguments: Ring.allCases)
    func resetByClient(ring: Ring) throws {
      try Self.play("reset_by_client", ring)
    }

    @Test("a target's reset is a reset at the client", arguments: Ring.allCases)
    func resetByTarget(ring: Ring) throws {
      try Self.play("reset_by_target", ring)
    }

    @Test("a target that is down resets the client and hurts no other", arguments: Ring.allCases)
    func targetDown(ring: Ring) throws {
      try Self.play("target_down", ring)
    }

    @Test(
      "twenty that never read stall nobody, cost a window each, and lose no byte",
      arguments: Ring.allCases, ["client", "target"])
    func stalled(ring: Ring, by: String) throws {
      try Testbed.run(ring) { bed in
        try bed.play(
          "streams", "stalled", bed.route.merging(bed.pids) { $1 }.merging(["by": by]) { $1 })
      }
    }
  }
}
