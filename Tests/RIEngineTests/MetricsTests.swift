// What a shard counts for its operator: it agrees at both ends, and never goes backwards.

import RIBase
import RIControl
import RIRing
import RITunnel
import Testing

@testable import RIEngine

struct MetricsTests {
  private static func sending(_ bytes: Int) -> PeerPlan {
    var plan = PeerPlan()
    plan.sends = bytes
    return plan
  }

  @Test func whatOneEndSendsTheOtherReceives() throws {
    let world = try World(
      seed: 1, faults: SimulatedFaults(delay: .milliseconds(5)...(.milliseconds(5))))
    try world.targets.serve(1001) { _ in Self.sending(300_000) }
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(SessionTests.dns)
    let (hub, edge) = try world.startBoth([1001], udp: [SessionTests.dns])
    for _ in 0..<3 { try world.connect(1001, Self.sending(100_000)) }
    let client = try clients.connect(to: SocketAddress(World.edgeIP, SessionTests.dns))
    for _ in 0..<5 { clients.send(100, from: client) }
    world.run(for: .seconds(20))

    let (h, e) = (hub.shard.status.metrics, edge.shard.status.metrics)
    #expect(e.traffic.dataBytesSent == 300_000 && h.traffic.dataBytesReceived == 300_000)
    #expect(h.traffic.dataBytesSent == 900_000 && e.traffic.dataBytesReceived == 900_000)
    #expect(h.traffic.dataFramesSent == e.traffic.dataFramesReceived)
    #expect(e.traffic.dataFramesSent == h.traffic.dataFramesReceived)
    for (from, to) in [(h.traffic, e.traffic), (e.traffic, h.traffic)] {
      #expect(from.controlFramesSent == to.controlFramesReceived && from.controlFramesSent > 0)
      #expect(from.controlBytesSent == to.controlBytesReceived && from.controlBytesSent > 0)
      #expect(from.datagramsSent == to.datagramsReceived && from.datagramsSent == 5)
      #expect(from.datagramBytesSent == to.datagramBytesReceived)
      #expect(from.streamsOpened == 3 && from.sessionsOpened == 1)
    }
    #expect(h.bytesOut == e.bytesIn && h.bytesIn == e.bytesOut && h.bytesIn > 300_000)
    #expect(h.pings == e.pings && h.pongs == h.pings && h.pings >= 2)
    #expect(h.tunnelsOpened == 1 && e.tunnelsOpened == 1 && e.dials == 1)
    #expect(h.roundTrip.count == h.pongs && h.roundTrip.seconds / Double(h.pongs) >= 0.010)
    #expect(h.targetConnect.count == 3 && e.targetConnect.count == 0)
    #expect(h.handshake.count == 1 && e.handshake.seconds >= 0.010)
    #expect(h.loop.count > 20 && e.loop.count > 20)
    try world.endSessions()
    try world.stopAll()
  }

  @Test func overQUICTheSameIsCounted() throws {
    let world = try World(
      seed: 9, faults: SimulatedFaults(delay: .milliseconds(5)...(.milliseconds(5))))
    try world.allowQUIC()
    try world.targets.serve(1001) { _ in Self.sending(300_000) }
    let (hub, edge) = try world.startBoth([1001], edge: { $0.transportMode = .quic })
    try world.connect(1001, Self.sending(100_000))
    world.run(for: .seconds(20))
    let (h, e) = (hub.shard.status.metrics, edge.shard.status.metrics)
    // The clients' and targets' bytes, and the header of each stream.
    #expect(e.traffic.dataBytesSent >= 100_000 && e.traffic.dataBytesSent < 100_200)
    #expect(e.traffic.dataBytesSent == h.traffic.dataBytesReceived)
    #expect(h.traffic.dataBytesSent == 300_000 && e.traffic.dataBytesReceived == 300_000)
    #expect(h.bytesOut > 300_000 && e.bytesIn > 300_000)
    for metrics in [h, e] {
      #expect(metrics.tunnelsOpened == 1 && metrics.handshake.count == 1)
      #expect(metrics.handshake.seconds < 1)
    }
    #expect(h.roundTrip.count == h.pongs && h.pongs > 0)
    try world.stopAll()
  }

  @Test func totalsOutliveTheirTunnelAndTheEndIsCountedByCause() throws {
    let world = try World(seed: 5)
    try world.targets.serve(1001) { _ in Self.sending(10_000) }
    let (hub, edge) = try world.startBoth([1001])
    try world.connect(1001, Self.sending(10_000))
    world.run(for: .seconds(2))
    let before = hub.shard.status.metrics
    let id = try #require(hub.shard.links.ids.first { hub.shard.links[$0].phase == .ready })
    hub.shard.endLink(id, .revoked)
    world.run(for: .milliseconds(1))
    let after = hub.shard.status.metrics
    #expect(after.traffic.dataBytesSent == before.traffic.dataBytesSent)
    #expect(after.bytesIn >= before.bytesIn && before.bytesIn > 0)
    #expect(after.tunnelEnds[.revoked] == 1 && after.handshakeFailures.total == 0)
    world.run(for: .seconds(60))
    #expect(edge.shard.status.metrics.tunnelEnds.total == 1)
    #expect(edge.shard.status.metrics.tunnelsOpened == 2)
    try world.stopAll()
  }

  @Test func windowsQueuesAndPoolsAreShown() throws {
    let world = try World(seed: 7)
    var holding = PeerPlan()
    holding.sends = 1_000
    holding.end = .hold
    try world.targets.serve(1001) { _ in holding }
    let (hub, edge) = try world.startBoth([1001])
    for _ in 0..<2 { try world.connect(1001, holding) }
    world.run(for: .seconds(1))
    for engine in [hub, edge] {
      let status = engine.shard.status
      #expect(status.windows.streams == 2 && status.windows.stalled == 0)
      #expect(status.windows.sendBytes >= 2 << 18 && status.windows.receiveBytes >= 2 << 18)
      #expect(status.queues == QueueDepths())
      #expect(status.pools.count == engine.shard.store.poolCount)
      #expect(status.pools.allSatisfy { $0.total > 0 && $0.used >= 0 && $0.used <= $0.total })
      #expect(status.pools[Int(ShardPool.stash.rawValue)].name == "stash")
    }
    try world.stopAll()
  }
}
