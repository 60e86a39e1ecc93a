// What a shard tells of itself: its status, its reports when there are many, and the order in which
// it takes the news of other shards.

import FoundationEssentials
import RIBase
import RIControl
import RIRing
import Testing

@testable import RIEngine

struct StatusTests {
  private static var holding: PeerPlan {
    var plan = PeerPlan()
    plan.sends = 10_000
    plan.end = .hold
    return plan
  }

  @Test func aTunnelIsDescribedAtBothEnds() throws {
    let world = try World(
      seed: 1, faults: SimulatedFaults(delay: .milliseconds(5)...(.milliseconds(5))))
    try world.targets.serve(1001) { _ in Self.holding }
    let (hub, edge) = try world.startBoth([1001])
    for _ in 0..<3 { try world.connect(1001, Self.holding) }
    world.run(for: .seconds(1))
    for (engine, peer) in [(hub, "10.0.1.1:"), (edge, "10.0.2.1:8443")] {
      let status = engine.shard.status
      #expect(status.tunnelsReady == 1 && status.links == 1 && status.connections == 3)
      #expect(status.activeStreams == 3 && !status.draining)
      let tunnel = try #require(status.tunnels.first)
      #expect(tunnel.edgeID == World.edgeID && tunnel.transport == .tcpTls)
      #expect(tunnel.address.hasPrefix(peer))
      #expect(tunnel.activeStreams == 3 && tunnel.queuedBytes == 0 && !tunnel.draining)
      #expect(tunnel.bytesIn > 30_000 && tunnel.bytesOut > 30_000)
      #expect(tunnel.extensions == ["autoWindow", "drain"])
      let base = try #require(tunnel.baseRoundTrip)
      #expect(base >= 0.010 && base < 0.011)
      let age = world.wallClockSeconds - tunnel.connectedAt
      #expect(age > 0.9 && age < 1.1)
    }
    #expect(hub.shard.status.tunnels.first?.roundTrip != nil)
    try world.stopAll()
  }

  @Test func sessionsAndDatagramsAreCounted() throws {
    let world = try World(seed: 9)
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(SessionTests.dns)
    let (hub, edge) = try world.startBoth([], udp: [SessionTests.dns])
    for _ in 0..<3 {
      let client = try clients.connect(to: SocketAddress(World.edgeIP, SessionTests.dns))
      for _ in 0..<5 { clients.send(100, from: client) }
    }
    world.run(for: .seconds(1))
    for engine in [hub, edge] {
      let status = engine.shard.status
      #expect(status.udpSessions == 3 && status.tunnels.first?.udpSessions == 3)
      #expect(status.counters.sessionsOpened == 3 && status.counters.drops == DatagramDrops())
      // A header for each session besides.
      #expect(status.counters.datagramsDelivered == (engine === hub ? 18 : 15))
    }
    try world.endSessions()
    try world.stopAll()
  }

  @Test func theStatusIsALineOfJSON() throws {
    let world = try World(seed: 2)
    let (hub, _) = try world.startBoth([1001])
    world.run(for: .seconds(1))
    let status = EngineStatus(role: .hub, shards: [hub.shard.status, hub.shard.status])
    #expect(!status.line.contains("\n"))
    let read = try JSONDecoder().decode(EngineStatus.self, from: Data(status.line.utf8))
    #expect(read == status)
    for name in [#""role":"hub""#, #""edgeId":"edge-1""#, #""transport":"tcpTls""#, #""rtt":"#] {
      #expect(status.line.contains(name), "\(name) in \(status.line)")
    }
    #expect(!status.line.contains(world.secret.revealed))
    try world.stopAll()
  }

  @Test func refusalsFillNoLog() throws {
    let world = try World(seed: 3)
    let hub = try world.startHub([world.allowedEdge([1001])])
    for _ in 0..<300 { _ = try world.fakeEdge(.raw(Array("GET / HTTP/1.1\r\n\r\n".utf8))) }
    #expect(world.run(within: .seconds(1)) { world.fakes.allSatisfy { $0.end != nil } })
    world.run(for: .seconds(10))
    var (said, told) = (0, 0)
    for (_, event) in hub.events {
      switch event {
      case .edgeRefused(_, _, let leftOut):
        said += 1
        told += leftOut
      case .messagesLeftOut(.refusal, let count): told += count
      default: break
      }
    }
    #expect(said >= Limits.messagesBurst && said < 15)
    #expect(said + told == 300, "each is counted")
    try world.stopAll()
  }

  /// What a peer says often costs no system call each time.
  @Test func aFloodOfPongsAsksTheKernelOnce() throws {
    let world = try World(seed: 5)
    let hub = try world.startHub([world.allowedEdge([1001])])
    let fake = try world.fakeEdge(.tls([world.greeting]))
    #expect(world.run(within: .seconds(1)) { hub.readyLinks.count == 1 })
    let asked = hub.readyLinks.first?.kernelAskedAt
    let pong: [UInt8] = [0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9]
    fake.say((0..<1_000).flatMap { _ in pong })
    world.run(for: .milliseconds(500))
    #expect(hub.readyLinks.first?.tunnel?.counters.controlFramesReceived == 1_000)
    #expect(asked != nil && hub.readyLinks.first?.kernelAskedAt == asked)
    try world.stopAll()
  }

  /// Messages between shards cross and come late: only an older tunnel gives way.
  @Test func newsOfAnOlderTunnelEndsNoNewerOne() throws {
    let world = try World(seed: 4)
    let before = Authentication(of: World.edgeID, over: .tcpTls)
    let (hub, edge) = try world.startBoth([1001])
    try hub.send(.edgeConnectedElsewhere(before))
    world.run(for: .seconds(1))
    #expect(hub.readyLinks.count == 1)
    try hub.send(.edgeConnectedElsewhere(Authentication(of: "another", over: .tcpTls)))
    world.run(for: .seconds(1))
    #expect(hub.readyLinks.count == 1)
    try hub.send(.edgeConnectedElsewhere(Authentication(of: World.edgeID, over: .tcpTls)))
    #expect(world.run(within: .milliseconds(10)) { hub.readyLinks.isEmpty })
    #expect(world.run(within: .seconds(2)) { edge.readyLinks.count == 1 })
    let replaced = hub.events.count {
      if case .edgeDisconnected(_, _, .replaced) = $0.event { true } else { false }
    }
    #expect(replaced == 1)
    try world.stopAll()
  }
}

extension World {
  var wallClockSeconds: Double { clients.ring.wallClockSeconds }
}
