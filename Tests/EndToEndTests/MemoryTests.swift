// What connections leave behind and what they cost at rest, read from RSS.

import Testing

extension EndToEnd {
  @Suite("Memory")
  struct Memory {
    /// 100,000 on io_uring; epoll has the same tables and pools above it, and gets 20,000.
    @Test("short connections leave nothing behind", arguments: Ring.allCases)
    func shortConnections(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        let rest = ring == .uring ? 99_000 : 19_000
        let figures = try bed.play(
          "memory", "short_connections",
          bed.pids.merging(["edge": bed.web.edge, "rest": rest]) { $1 }, within: 120)
        print("\(ring): RSS after \(rest + 1_000) short connections: \(figures)")
      }
    }

    @Test(
      "an idle connection costs at most 4 KiB in the edge and the hub", arguments: Ring.allCases)
    func idleConnections(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        let figures = try bed.play(
          "memory", "idle_connections", bed.route.merging(bed.pids) { $1 })
        print("\(ring): RSS of 5,000 idle connections: \(figures)")
      }
    }
  }
}
