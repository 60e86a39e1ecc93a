// Starts and ends: kills, drains, replacements, ports in use, no tunnel, no io_uring.

import Foundation
import Testing

extension EndToEnd {
  @Suite("Life cycle")
  struct LifeCycle {
    @Test("service resumes after the hub is killed and started again", arguments: Ring.allCases)
    func hubKilled(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        let (hub, edge) = (try #require(bed.hub), try #require(bed.edge))
        let offset = edge.log.utf8.count
        try bed.destroy(hub)
        try edge.waitForLog(LogLine.tunnelDown, from: offset)
        // Clients are turned away meanwhile, not held, for the listeners stay.
        try bed.play("streams", "refused", ["edge": bed.peer.edge])
        try bed.startHub()
        // The first waits are at most 1, 2 and 4 s.
        try edge.waitForLog(LogLine.tunnelUp, from: offset, within: 10)
        try bed.curl(bed.url("small"))
      }
    }

    @Test("service resumes after the edge is killed and started again", arguments: Ring.allCases)
    func edgeKilled(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        try bed.destroy(try #require(bed.edge))
        try bed.startEdge()
        try bed.curl(bed.url("small"))
      }
    }

    @Test("the streams of a lost tunnel end at once on both sides", arguments: Ring.allCases)
    func streamsEnd(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        for (kind, victim) in [("hub", bed.hub), ("edge", bed.edge)] {
          let victim = try #require(victim)
          try bed.play(
            "streams", "cut_off", bed.route.merging(["kill": victim.pid]) { $1 })
          _ = try victim.waitForExit(within: 5)
          bed.forget(victim)
          if kind == "hub" {
            let offset = bed.edge?.log.utf8.count ?? 0
            try bed.startHub()
            try bed.edge?.waitForLog(LogLine.tunnelUp, from: offset)
          }
        }
      }
    }

    @Test("SIGTERM with nothing live ends at once with exit code 0", arguments: Ring.allCases)
    func stopIdle(ring: Ring) throws {
      // The bed stops its hub and its edge by SIGTERM and wants exit code 0.
      try Testbed.run(ring) { bed in try bed.curl(bed.url("small")) }
    }

    @Test("SIGTERM lets a live stream end first", arguments: Ring.allCases, ["hub", "edge"])
    func drain(ring: Ring, role: String) throws {
      try Testbed.run(ring) { bed in
        bed.drainSeconds = 30
        try bed.restart()
        let child = try #require(role == "hub" ? bed.hub : bed.edge)
        try bed.play("streams", "drained", bed.route.merging(["stop": child.pid]) { $1 })
        #expect(try child.waitForExit(within: 5) == .code(0))
        bed.forget(child)
      }
    }

    @Test("a drain ends after drainSeconds", arguments: Ring.allCases, ["hub", "edge"])
    func drainEnds(ring: Ring, role: String) throws {
      try Testbed.run(ring) { bed in
        let child = try #require(role == "hub" ? bed.hub : bed.edge)
        try bed.play("streams", "cut_off", bed.route.merging(["stop": child.pid]) { $1 })
        #expect(try child.waitForExit(within: 5) == .code(0))
        bed.forget(child)
      }
    }

    @Test("a second SIGTERM ends a drain at once", arguments: Ring.allCases, ["hub", "edge"])
    func drainCutShort(ring: Ring, role: String) throws {
      try Testbed.run(ring) { bed in
        bed.drainSeconds = 300
        try bed.restart()
        let child = try #require(role == "hub" ? bed.hub : bed.edge)
        try bed.play(
          "streams", "cut_off", bed.route.merging(["stop": child.pid, "signals": 2]) { $1 })
        _ = try child.waitForExit(within: 5)
        bed.forget(child)
      }
    }

    @Test("a second tunnel with the same id replaces the first", arguments: Ring.allCases)
    func replaced(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        let edge = try #require(bed.edge)
        let offset = edge.log.utf8.count
        try bed.play(
          "crooked", "usurper",
          ["hub": bed.tunnelPort, "edge_id": bed.edgeID, "secret": bed.secret])
        // It took the place; then the edge came back and took it again.
        try edge.waitForLog(LogLine.tunnelDown, from: offset)
        try edge.waitForLog(LogLine.tunnelUp, from: offset)
        try bed.curl(bed.url("small"))
      }
    }

    @Test("an edge with a wrong secret reports it and stays away", arguments: Ring.allCases)
    func unauthorized(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        try bed.write("wrong", to: "wrong")
        let edge = try bed.startEdge(
          "stranger",
          configuration: bed.edgeConfiguration(id: bed.spareID, secretFile: "wrong"),
          until: [LogLine.unauthorized])
        try bed.curl(bed.url("small"))
        try bed.stop(edge)
      }
    }

    @Test(
      "a port in use is reported, hurts no other, and is taken once free", arguments: Ring.allCases)
    func portInUse(ring: Ring) throws {
      try Testbed.bare(ring) { bed in
        let occupant = try bed.start(
          "occupant", ["python3", "-m", "http.server", "\(bed.peer.edge)", "--bind", "0.0.0.0"])
        try wait(within: 10, for: "the port to be occupied") { FreePort.isTaken(bed.peer.edge) }
        try bed.startNginx()
        try bed.startHub()
        let edge = try bed.startEdge(
          until: LogLine.listening(bed.web.edge) + [LogLine.cannotListen(bed.peer.edge)])
        try bed.curl(bed.url("small"))
        try bed.destroy(occupant)
        for line in LogLine.listening(bed.peer.edge) { try edge.waitForLog(line, within: 40) }
        try bed.play("streams", "half_close_by_client", bed.route)
      }
    }

    @Test("SIGHUP makes a hub read its allowed edges again", arguments: Ring.allCases)
    func reloaded(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        let (hub, edge) = (try #require(bed.hub), try #require(bed.edge))
        let added = FreePort.take()
        try bed.write(
          bed.hubConfiguration().replacingOccurrences(
            of: "listenPorts: [\(bed.web.edge), \(bed.peer.edge)]",
            with: "listenPorts: [\(bed.web.edge), \(added)]"), to: "hub.yaml")
        hub.send(SIGHUP)
        for line in LogLine.listening(added) { try edge.waitForLog(line) }
        #expect(!FreePort.isTaken(bed.peer.edge))
        try bed.curl(bed.url("small"))
        // A file that is no good changes nothing.
        let offset = hub.log.utf8.count
        try bed.write("allowedEdges: 7", to: "hub.yaml")
        hub.send(SIGHUP)
        try hub.waitForLog("allowedEdges", from: offset)
        try bed.curl(bed.url("small"))
        #expect(!edge.log.contains(LogLine.tunnelDown))
      }
    }

    @Test("where io_uring is forbidden epoll takes over and says so")
    func forbidden() throws {
      try Testbed.bare(.uring) { bed in
        bed.wrapper = ["python3", "\(Product.peers)/without_uring.py"]
        bed.environment = [:]
        try bed.startNginx()
        let hub = try bed.startHub()
        let edge = try bed.startEdge()
        for child in [hub, edge] {
          #expect(child.log.contains(LogLine.ring + "epoll"))
          let lines = child.log.split(separator: "\n").filter { $0.contains("io_uring") }
          #expect(lines.count == 1, "\(child.log)")
        }
        try bed.curl(bed.url("small"))
      }
    }
  }
}
