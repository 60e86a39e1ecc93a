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
          // Over QUIC there is no connection to break: a hub waits until the edge has been silent
          // for a while, and then for its host to say that nobody is there.
          let scenario = ["kill": Int(victim.pid), "within": ring.isQUIC ? 20 : 10]
          let took = try bed.play("streams", "cut_off", bed.route.merging(scenario) { $1 })
          print("\(ring): the streams of a killed \(kind) ended after \(took)")
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

    @Test("a hub that drains hands its edge to the next one", arguments: Ring.allCases)
    func handedOver(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        bed.drainSeconds = 30
        try bed.restart()
        let (hub, edge) = (try #require(bed.hub), try #require(bed.edge))
        let offset = edge.log.utf8.count
        // On the same port, as after a rolling update on one machine.
        let next = try bed.startHub("next")
        let scenario: [String: Any] = ["stop": hub.pid, "log": edge.logFile]
        try bed.play("streams", "handed_over", bed.route.merging(scenario) { $1 })
        #expect(try hub.waitForExit(within: 5) == .code(0))
        bed.forget(hub)
        try bed.curl(bed.url("small"))
        #expect(hub.log.contains("edge edge-1 disconnected") && hub.log.contains(": drained"))
        #expect(!edge.log.dropFirst(offset).contains(LogLine.tunnelDown))
        #expect(next.log.contains("edge edge-1 connected"))
        try bed.stop(edge)
        try bed.stop(next)
      }
    }

    @Test("SIGUSR1 has the status logged in one line", arguments: Ring.allCases)
    func status(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        try bed.curl(bed.url("small"))
        for (child, role) in [(bed.hub, "hub"), (bed.edge, "edge")] {
          let child = try #require(child)
          child.send(SIGUSR1)
          try child.waitForLog(LogLine.status)
          let line = try #require(
            child.log.split(separator: "\n").first { $0.contains(LogLine.status) })
          let json = line[try #require(line.firstIndex(of: "{"))...]
          let status = try #require(
            try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
          #expect(status["role"] as? String == role)
          let shards = try #require(status["shards"] as? [[String: Any]])
          let tunnels = shards.flatMap { $0["tunnels"] as? [[String: Any]] ?? [] }
          #expect(tunnels.count == 1)
          #expect(tunnels.first?["edgeId"] as? String == bed.edgeID)
          #expect(tunnels.first?["extensions"] as? [String] == ring.extensions)
          #expect(tunnels.first?["transport"] as? String == ring.transportMode)
          #expect((tunnels.first?["bytesIn"] as? Int ?? 0) > 0)
        }
      }
    }

    @Test("REMOTEINGRESS_EXTENSIONS restricts what is spoken", arguments: ["hub", "edge"])
    func restricted(who: String) throws {
      try Testbed.bare(.uring) { bed in
        try bed.startNginx()
        for role in ["hub", "edge"] {
          bed.environment["REMOTEINGRESS_EXTENSIONS"] = role == who ? "none" : nil
          _ = try role == "hub" ? bed.startHub() : bed.startEdge()
        }
        try bed.curl(bed.url("small"))
        let hub = try #require(bed.hub)
        hub.send(SIGUSR1)
        try hub.waitForLog(LogLine.status)
        #expect(hub.log.contains(#""extensions":[]"#))
      }
    }

    @Test("an unknown name in REMOTEINGRESS_EXTENSIONS is an error at the start")
    func unknownExtension() throws {
      try Testbed.bare(.epoll) { bed in
        bed.environment["REMOTEINGRESS_EXTENSIONS"] = "drain,teleport"
        try bed.write(bed.hubConfiguration(), to: "hub.yaml")
        let child = try bed.start(
          "hub", [Product.binary, "hub", "--config", "\(bed.directory)/hub.yaml"])
        #expect(try child.waitForExit(within: 10) == .code(1))
        #expect(child.log.contains("no extension is called 'teleport'"))
      }
    }

    @Test("a second tunnel with the same id replaces the first", arguments: Ring.tls)
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
