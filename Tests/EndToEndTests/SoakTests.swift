// The soak, for as many minutes as REMOTEINGRESS_SOAK says, on the rings that
// REMOTEINGRESS_SOAK_RINGS names (all of them, if none); ci/soak sets both.

import Foundation
import Testing

extension EndToEnd {
  @Suite("Soak")
  struct Soak {
    private static let minutes = Double(
      ProcessInfo.processInfo.environment["REMOTEINGRESS_SOAK"] ?? "")

    private static let rings: [Ring] = {
      let names = ProcessInfo.processInfo.environment["REMOTEINGRESS_SOAK_RINGS"] ?? ""
      let chosen = names.split(separator: " ").compactMap { Ring(rawValue: String($0)) }
      return chosen.isEmpty ? Ring.allCases : chosen
    }()

    @Test(
      "hours of mixed load lose no byte and leave nothing behind",
      .enabled(if: minutes != nil), arguments: rings)
    func mixed(ring: Ring) throws {
      let seconds = (Self.minutes ?? 1) * 60
      let idle = 5
      let route = ExtraRoute(.udp, "udpProxyHeader: none")
      let line = "udpIdleSeconds: \(idle)"
      try Testbed.run(ring, with: [route], hub: line, edge: line) { bed in
        let figures = try bed.play(
          "soak", "soak",
          bed.route.merging(bed.pids) { $1 }.merging([
            "datagram_edge": route.edge, "datagram_target": route.target,
            "hub": bed.tunnelPort, "edge_id": bed.edgeID, "crooked_id": bed.crookedID,
            "secret": bed.secret, "config": "\(bed.directory)/hub.yaml", "idle": idle,
            "seconds": Int(seconds),
          ]) { $1 }, within: seconds + 300)
        print("\(ring): soak: \(figures)")
        for child in [try #require(bed.hub), try #require(bed.edge)] {
          try Self.checkAtRest(child)
        }
      }
    }

    /// The counters say what is left: nothing.
    private static func checkAtRest(_ child: ChildProcess) throws {
      let offset = child.log.utf8.count
      child.send(SIGUSR1)
      try child.waitForLog(LogLine.status, from: offset)
      let log = String(decoding: Array(child.log.utf8.dropFirst(offset)), as: UTF8.self)
      let line = log.split(separator: "\n").first { $0.contains(LogLine.status) } ?? ""
      let json = Data(line.drop { $0 != "{" }.utf8)
      let status = try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
      print("\(child.name): \(line.drop { $0 != "{" })")
      for shard in try #require(status["shards"] as? [[String: Any]]) {
        for key in [
          "connections", "activeStreams", "udpSessions", "queuedBytes", "stashBuffersInUse",
          "sliceNodesInUse",
        ] { #expect(shard[key] as? Int == 0, "\(child.name): \(key)") }
      }
    }
  }
}
