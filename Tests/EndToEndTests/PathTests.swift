// Tunnels over paths that lose packets, let no UDP through, or begin at another address; hubs that
// are started anew. The scenarios are in peers/paths.py.

import Foundation
import Testing

extension EndToEnd {
  @Suite("Paths", .enabled(if: TunnelNetwork.isAvailable, "no privilege for namespaces"))
  struct Paths {
    /// Fails when bulk data does not arrive whole. That small requests wait a third as long over
    /// QUIC as over TLS at most is the aim; some runs meet it and some do not, so it is told and no
    /// more.
    @Test("with 1 % loss bulk data arrives whole, and what small requests wait is told")
    func loss() throws {
      var p99: [Ring: Double] = [:]
      for ring in [Ring.uring, .quic] {
        try TunnelNetwork.run(ring) { network in
          try network.lose(percent: 1)
          try network.startEdge()
          let figures = try network.play("small_beside_bulk")
          print("\(ring) with 1 % loss, ms: \(figures)")
          p99[ring] = figures["p99"]
          try network.play("whole")
        }
      }
      let (tls, quic) = (try #require(p99[.uring]), try #require(p99[.quic]))
      withKnownIssue("what is lost costs small requests too much over QUIC", isIntermittent: true) {
        #expect(quic * 3 <= tls)
      }
    }

    @Test("where UDP is blocked TLS takes over, and QUIC comes back with new streams")
    func fallback() throws {
      try TunnelNetwork.run(.quic) { network in
        network.bed.environment["REMOTEINGRESS_QUIC_RETRY"] = "2"
        try network.blockUDP(true)
        let start = ContinuousClock.now
        try network.startEdge(mode: "quicWithFallback")
        let edge = try #require(network.edge)
        #expect(edge.log.contains("over TLS"))
        let took = (ContinuousClock.now - start) / .seconds(1)
        print("UDP blocked: on TLS after \(took) s")
        #expect(took < 7)
        try network.play("whole")
        let offset = edge.log.utf8.count
        try network.blockUDP(false)
        // A stream of the old tunnel goes on beside the new one.
        let stream = try network.bed.start(
          "stream",
          network.inside(
            .edge,
            [
              "python3", "\(Product.peers)/paths.py", "ticking", "port=\(TunnelNetwork.port)",
              "seconds=6",
            ]))
        try edge.waitForLog("over QUIC", from: offset, within: 60)
        try network.play("whole")
        #expect(try stream.waitForExit(within: 20) == .code(0), "\(stream.logTail)")
        try edge.waitForLog("old tunnel", from: offset, within: 20)
        #expect(!edge.log.dropFirst(offset).contains(LogLine.tunnelDown))
      }
    }

    @Test("a tunnel goes on from another address with all its streams", arguments: [Ring.quic])
    func moved(ring: Ring) throws {
      try TunnelNetwork.run(ring) { network in
        try network.startEdge()
        let gaps = try network.play(
          "moved",
          ["change": "ip addr del 10.78.1.2/24 dev eth0 && ip addr add 10.78.1.3/24 dev eth0"])
        print("\(ring): longest silence of a stream, ms: \(gaps)")
        let (hub, edge) = (try #require(network.hub), try #require(network.edge))
        #expect(hub.log.contains("moved from 10.78.1.2"))
        #expect(!edge.log.contains(LogLine.tunnelDown))
      }
    }

    @Test("an edge notices within 2 s that its hub was started anew", arguments: [Ring.quic])
    func hubRestarted(ring: Ring) throws {
      try TunnelNetwork.run(ring) { network in
        try network.startEdge()
        try network.play("whole", ["count": 1 << 20])
        let edge = try #require(network.edge)
        let offset = edge.log.utf8.count
        try network.killHub()
        try network.startHub()
        let start = ContinuousClock.now
        try edge.waitForLog("forgotten the link", from: offset, within: 10)
        let took = (ContinuousClock.now - start) / .seconds(1)
        print("\(ring): the hub's restart was noticed after \(took) s")
        #expect(took < 2.5)
        try edge.waitForLog(LogLine.tunnelUp, from: offset)
        try network.play("whole", ["count": 1 << 20])
      }
    }
  }
}
