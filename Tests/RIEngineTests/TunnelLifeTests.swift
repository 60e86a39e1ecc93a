// A tunnel's life: loss, silence, PING, refusal, replacement, and the edge's way back (SPEC 2.1,
// 2.3).

import RIBase
import RIControl
import RIRing
import RIWire
import TestRandom
import Testing

@testable import RIEngine

struct TunnelLifeTests {
  private static let port: Port = 1001

  private static func holding() -> PeerPlan {
    var plan = PeerPlan()
    plan.sends = 10_000
    plan.end = .hold
    return plan
  }

  /// A world with `count` clients whose streams live and rest.
  private static func worldAtRest(
    seed: UInt64, clients count: Int
  ) throws -> (World, hub: EngineUnderTest, edge: EngineUnderTest) {
    let world = try World(seed: seed)
    try world.targets.serve(port) { _ in holding() }
    let (hub, edge) = try world.startBoth([port])
    for _ in 0..<count { try world.connect(port, holding()) }
    world.run(for: .seconds(1))
    try #require(hub.shard.connections.count == count)
    return (world, hub, edge)
  }

  @Test func aLostHubEndsItsClientsAtOnceAndServiceResumes() throws {
    let (world, hub, edge) = try Self.worldAtRest(seed: 1, clients: 5)
    hub.kill()
    let lost = world.now
    #expect(world.run(within: .milliseconds(10)) { world.clients.openCount == 0 })
    for client in world.clients.sockets.values { #expect(client.failure != nil) }
    #expect(edge.shard.connections.count == 0)
    #expect(edge.shard.listeners.count == 1, "listeners stay bound")

    let late = try world.connect(Self.port, Self.holding())
    #expect(world.run(within: .milliseconds(10)) { late.isClosed }, "refused at once")
    #expect(edge.shard.counters.clientsRefused == 1)

    let revived = try world.startHub([world.allowedEdge([Self.port])])
    #expect(
      world.run(within: .seconds(60)) { !edge.readyLinks.isEmpty && !revived.readyLinks.isEmpty })
    #expect(world.now - lost <= .seconds(2), "one attempt, after half a second to a second")
    #expect(world.now - lost >= .milliseconds(500))
    let client = try world.connect(Self.port, Self.holding())
    world.run(for: .seconds(1))
    #expect(client.received == 10_000 && client.wrongAt == nil)
    try world.stopAll()
  }

  @Test func theBackOffGrowsToThirtySecondsAndHasOneTimer() throws {
    let world = try World(seed: 2)
    // Two addresses, both of them nobody's: each attempt fails twice.
    world.kernel.names["hub"] = [Self.address(9), Self.address(8)]
    let edge = try world.startEdge()
    world.run(for: .seconds(300))
    var delays: [Interval] = []
    var expectedNext: Instant?
    for (time, event) in edge.events {
      guard case .tunnelDown(_, let delay) = event else { continue }
      if let expectedNext {
        #expect(time >= expectedNext, "dialled before the back-off was over")
        #expect(time - expectedNext < .milliseconds(20), "exactly one attempt per delay")
      }
      expectedNext = time + delay
      delays.append(delay)
    }
    for (n, delay) in delays.enumerated() {
      let longest = Interval.seconds(min(30, 1 << Int64(min(n, 5))))
      #expect(delay <= longest && delay.nanoseconds >= longest.nanoseconds / 2, "attempt \(n)")
    }
    #expect(delays.count > 10)
    try world.stopAll()
  }

  private static func address(_ last: UInt32) -> IPAddress { IPAddress(v4: 0x0A00_0900 + last) }

  @Test func theNextAddressIsTriedWhileTheFirstIsSilent() throws {
    let world = try World(seed: 3)
    let silent = world.kernel.makeHost([Self.address(7)])
    world.kernel.partition(world.edgeHost, silent)
    world.kernel.names["hub"] = [Self.address(7), World.hubIP]
    let hub = try world.startHub([world.allowedEdge([Self.port])])
    let edge = try world.startEdge()
    let began = world.now
    #expect(world.run(within: .seconds(5)) { !edge.readyLinks.isEmpty && !hub.readyLinks.isEmpty })
    #expect(world.now - began < .milliseconds(300))
    #expect(world.now - began >= .milliseconds(250))
    world.run(for: .seconds(1))
    #expect(edge.shard.links.count == 1, "the other attempt is given up")
    #expect(edge.events.allSatisfy { if case .tunnelDown = $0.event { false } else { true } })
    edge.checkIdle("edge")
    try world.stopAll()
  }

  @Test func anAddressThatCannotBeDialledIsPassedOver() throws {
    let world = try World(seed: 4)
    world.kernel.hasIPv6 = false
    world.kernel.names["hub"] = [World.hubIP, IPAddress(v6High: 0xFD00_0000_0000_0000, low: 1)]
    let edge = try world.startEdge()
    world.run(for: .seconds(20))
    let attempts = edge.events.count { if case .tunnelDown = $0.event { true } else { false } }
    #expect(attempts >= 4, "the edge went on trying")
    let hub = try world.startHub([world.allowedEdge([Self.port])])
    #expect(world.run(within: .seconds(40)) { !edge.readyLinks.isEmpty && !hub.readyLinks.isEmpty })
    try world.stopAll()
  }

  @Test func noAddressAtAllIsTriedAgain() throws {
    let world = try World(seed: 5)
    world.kernel.names["hub"] = []
    let edge = try world.startEdge()
    world.run(for: .seconds(10))
    world.kernel.names["hub"] = [World.hubIP]
    _ = try world.startHub([world.allowedEdge([Self.port])])
    #expect(world.run(within: .seconds(40)) { !edge.readyLinks.isEmpty })
    try world.stopAll()
  }

  @Test func silenceCutsTheTunnelOnBothSides() throws {
    let (world, hub, edge) = try Self.worldAtRest(seed: 6, clients: 2)
    // PINGs every 15 s keep it up and measure the way.
    world.run(for: .seconds(100))
    #expect(hub.readyLinks.count == 1 && edge.readyLinks.count == 1)
    let roundTrip = try #require(hub.readyLinks.first?.liveness?.roundTrip)
    #expect(roundTrip >= .microseconds(20) && roundTrip < .milliseconds(1))
    let received = try #require(edge.readyLinks.first?.tunnel?.counters.controlFramesReceived)
    world.run(for: .seconds(60))
    let pings =
      try #require(edge.readyLinks.first?.tunnel?.counters.controlFramesReceived) - received
    #expect(pings == 4)

    world.kernel.partition(world.edgeHost, world.hubHost)
    let cut = world.now
    #expect(world.run(within: .seconds(100)) { edge.readyLinks.isEmpty && hub.readyLinks.isEmpty })
    for engine in [hub, edge] {
      let ends = engine.events.filter {
        switch $0.event {
        case .edgeDisconnected(_, _, .silent), .tunnelDown(.silent, _): true
        default: false
        }
      }
      #expect(ends.count == 1)
      let silence = try #require(ends.first).time - cut
      // The last PING was less than 15 s before.
      #expect(silence > .seconds(29) && silence < .milliseconds(45_100))
    }
    #expect(world.run(within: .milliseconds(10)) { world.clients.openCount == 0 })
    world.kernel.heal(world.edgeHost, world.hubHost)
    #expect(
      world.run(within: .seconds(40)) { edge.readyLinks.count == 1 && hub.readyLinks.count == 1 })
    world.run(for: .seconds(20))
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  @Test func anUnauthorizedEdgeSaysSoAndWaits() throws {
    let world = try World(seed: 7)
    let hub = try world.startHub([world.allowedEdge([Self.port])])
    let edge = try world.startEdge(secret: try Secret("wrong"))
    world.run(for: .seconds(100))
    var count = 0
    for case (_, .tunnelDown(let reason, let delay)) in edge.events {
      guard case .unauthorized = reason else {
        Issue.record("ended by \(reason)")
        continue
      }
      #expect(delay >= .seconds(15) && delay <= .seconds(30))
      count += 1
    }
    #expect(count >= 3 && count <= 7)
    let refusals = hub.events.count {
      if case .edgeRefused(_, .refused(World.edgeID), _) = $0.event { true } else { false }
    }
    #expect(refusals == count)
    #expect(hub.shard.links.count == 0)
    #expect(hub.gate?.count == 0)
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  @Test func aSecondTunnelOfAnEdgeReplacesTheFirst() throws {
    let (world, hub, first) = try Self.worldAtRest(seed: 8, clients: 3)
    let host = world.kernel.makeHost([Self.address(1)])
    let second = try world.startEdge(on: host)
    #expect(world.run(within: .seconds(1)) { second.readyLinks.count == 1 })
    #expect(world.run(within: .milliseconds(10)) { world.clients.openCount == 0 })
    #expect(hub.readyLinks.count == 1)
    let replaced = hub.events.count {
      if case .edgeDisconnected(_, _, .replaced) = $0.event { true } else { false }
    }
    #expect(replaced == 1)
    let downs = first.events.count { if case .tunnelDown = $0.event { true } else { false } }
    #expect(downs == 1)
    first.kill()
    world.run(for: .seconds(1))
    hub.checkIdle("hub")
    #expect(hub.gate?.count == 0)
    try world.stopAll()
  }

  @Test func resetsOfTheTunnelInTheMiddleLeaveNothingBehind() throws {
    for seed in UInt64(20)..<26 {
      var faults = SimulatedFaults.harsh
      faults.reset = 0.002
      let world = try World(seed: seed, faults: faults)
      var random = SplitMix64(seed)
      try world.serveAll(&random)
      let hub = try world.startHub([world.allowedEdge(StreamTests.ports)])
      let edge = try world.startEdge()
      for _ in 0..<60 {
        let port = StreamTests.ports.randomElement(using: &random) ?? StreamTests.echo
        let peer = try world.connect(
          port, .random(&random, mayHold: port != StreamTests.echo && port != StreamTests.sink))
        peer.peerEchoes = port == StreamTests.echo
        world.run(for: .milliseconds(100))
      }
      world.kernel.faults = .none
      let ended = world.run(within: .seconds(600)) {
        world.clients.openCount == 0 && hub.shard.connections.count == 0
          && edge.shard.connections.count == 0 && edge.readyLinks.count == 1
      }
      #expect(ended, "seed \(seed)")
      world.run(for: .seconds(60))
      for peer in world.clients.sockets.values { #expect(peer.wrongAt == nil) }
      for peer in world.targets.sockets.values { #expect(peer.wrongAt == nil) }
      hub.checkIdle("hub, seed \(seed)")
      edge.checkIdle("edge, seed \(seed)")
      #expect(hub.gate?.count == 0)
      try world.stopAll()
    }
  }
}

extension EngineUnderTest {
  var gate: HandshakeGate? { if case .hub(let hub) = shard.role { hub.gate } else { nil } }
}
