// Many edges at once: what a hub's restart brings.

import Foundation
import Testing

extension EndToEnd {
  @Suite("Storm")
  struct Storm {
    @Test("five hundred edges are back within a minute of a new hub", arguments: Ring.tls)
    func hubRestarted(ring: Ring) throws {
      try storm(ring, count: 500, ["python3", "\(Product.peers)/storm.py"])
    }

    /// Fewer, for a client of QUIC in Python costs the machine more than the hub does.
    @Test(
      "edges over QUIC are back within a minute of a new hub",
      .enabled(if: Aioquic.isAvailable, "no aioquic: ci/setup brings it"))
    func hubRestartedOverQUIC() throws {
      try storm(.quic, count: 200, [Aioquic.python, "\(Product.peers)/crooked_quic.py"])
    }

    private func storm(_ ring: Ring, count: Int, _ script: [String]) throws {
      try Testbed.bare(ring) { bed in
        bed.crowdCount = count
        try bed.startNginx()
        let hub = try bed.startHub()
        let edge = try bed.startEdge()
        let storm = try bed.start(
          "storm",
          script + [
            "storm", "hub=\(bed.tunnelPort)", "secret=\(bed.secret)", "count=\(bed.crowdCount)",
            "prefix=crowd-",
          ])
        try say(storm, "all joined", within: 60)
        let offset = edge.log.utf8.count
        try bed.destroy(hub)
        try say(storm, "all lost", within: 20)
        try bed.startHub()
        // The script itself demands that the last is back within 60 s.
        try say(storm, "all back", within: 70)
        print(storm.output.split(separator: "\n").last ?? "")
        try edge.waitForLog(LogLine.tunnelUp, from: offset, within: 60)
        try bed.curl(bed.url("small"))
        try bed.play("streams", "crowd", bed.route.merging(["clients": 50]) { $1 })
        #expect(storm.poll() == nil, "\(storm.logTail)")
        storm.send(SIGKILL)
      }
    }

    private func say(_ child: ChildProcess, _ text: String, within seconds: Double) throws {
      try wait(within: seconds, for: "\(child.name) to say '\(text)'") {
        let exit = child.poll()
        if child.output.contains(text) { return true }
        if let exit { throw Failure("\(child.name): \(exit)\n\(child.logTail)") }
        return false
      }
    }
  }
}
