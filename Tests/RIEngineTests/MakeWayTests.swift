// Drain where both ends know of it: a hub hands its edges over to the next one without a client
// noticing, an edge takes its leave.

import RIBase
import RIControl
import RIRing
import RIWire
import Testing

@testable import RIEngine

struct MakeWayTests {
  private static func holding(_ bytes: Int = 10_000) -> PeerPlan {
    var plan = PeerPlan()
    plan.sends = bytes
    plan.end = .hold
    return plan
  }

  private static let nextIP = IPAddress(v4: 0x0A00_0202)

  /// A hub that takes the place of the first, where the hub's name leads from now on.
  private static func startNext(_ world: World, _ ports: [Port]) throws -> EngineUnderTest {
    let host = world.kernel.makeHost([nextIP])
    world.kernel.names["hub"] = [nextIP]
    return try world.startHub([world.allowedEdge(ports)], on: host)
  }

  private static func count(
    _ engine: EngineUnderTest, _ matches: (EngineEvent) -> Bool
  ) -> Int {
    engine.events.count { matches($0.event) }
  }

  private static func isDown(_ event: EngineEvent) -> Bool {
    if case .tunnelDown = event { true } else { false }
  }

  @Test func streamsStayAndNewOnesGoToTheNextHub() throws {
    let world = try World(seed: 1)
    try world.targets.serve(1001) { _ in Self.holding() }
    let (old, edge) = try world.startBoth([1001])
    let early = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    let next = try Self.startNext(world, [1001])
    try old.send(.drain(.seconds(30)))
    #expect(
      world.run(within: .milliseconds(100)) {
        edge.readyLinks.count == 2 && next.readyLinks.count == 1
      }, "make before break")
    #expect(edge.shard.status.tunnels.map(\.draining) == [true, false])
    let late = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    #expect(old.shard.connections.count == 1 && next.shard.connections.count == 1)
    #expect(late.received == 10_000)
    // The early one goes on, and takes the old tunnel and its hub along when it ends.
    world.clients.send(300_000, on: early)
    world.run(for: .seconds(1))
    #expect(early.failure == nil && !old.hasEnded)
    world.clients.finish(early)
    #expect(world.run(within: .milliseconds(100)) { old.hasEnded })
    old.checkEnded("old hub")
    world.run(for: .seconds(100))
    #expect(edge.readyLinks.count == 1 && late.failure == nil)
    world.clients.finish(late)
    world.run(for: .seconds(1))
    StreamChecks(world).checkStreams()
    #expect(Self.count(edge, Self.isDown) == 0)
    #expect(Self.count(edge) { if case .tunnelUp = $0 { true } else { false } } == 2)
    #expect(Self.count(edge) { if case .listening = $0 { true } else { false } } == 1)
    for (engine, matches) in [(old, Self.isDrainedEdge), (edge, Self.isDrainedTunnel)] {
      #expect(Self.count(engine, matches) == 1)
    }
    next.checkIdle("next hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  /// UDP sessions that are live stay with the old tunnel until they are at rest; what their clients
  /// say later, and new clients, go to the next hub.
  @Test func liveSessionsStayAndNewOnesGoToTheNextHub() throws {
    let world = try World(seed: 11)
    let (clients, targets) = world.datagramPeers()
    let port = SessionTests.dns
    _ = try targets.serve(port)
    let (old, edge) = try world.startBoth([], udp: [port])
    let live = try clients.connect(to: SocketAddress(World.edgeIP, port))
    let idle = try clients.connect(to: SocketAddress(World.edgeIP, port))
    for client in [live, idle] { clients.send(10, from: client) }
    world.run(for: .seconds(1))
    let host = world.kernel.makeHost([Self.nextIP])
    world.kernel.names["hub"] = [Self.nextIP]
    let next = try world.startHub([world.allowedEdge([], udp: [port])], on: host)
    try old.send(.drain(.seconds(30)))
    #expect(
      world.run(within: .milliseconds(100)) {
        edge.readyLinks.count == 2 && next.readyLinks.count == 1
      })
    let late = try clients.connect(to: SocketAddress(World.edgeIP, port))
    clients.send(10, from: late)
    for second in 2...8 {
      clients.send(10, from: live)
      world.run(for: .seconds(1))
      #expect(live.answers == second && !old.hasEnded)
    }
    #expect(late.answers == 1 && next.shard.sessions.count == 1)
    #expect(world.run(within: .milliseconds(2_200)) { old.hasEnded })
    old.checkEnded("old hub")
    for client in [live, idle] { clients.send(10, from: client) }
    world.run(for: .milliseconds(50))
    #expect(live.answers == 9 && idle.answers == 2 && next.shard.sessions.count == 3)
    #expect(Self.count(edge, Self.isDown) == 0)
    #expect(clients.faults.isEmpty && targets.faults.isEmpty)
    try world.endSessions()
    try world.stopAll()
  }

  private static func isDrainedEdge(_ event: EngineEvent) -> Bool {
    if case .edgeDisconnected(_, _, .drained) = event { true } else { false }
  }

  private static func isDrainedTunnel(_ event: EngineEvent) -> Bool {
    if case .tunnelDrained(_, .drained) = event { true } else { false }
  }

  @Test func clientsAreRefusedUntilThereIsANextHub() throws {
    let world = try World(seed: 2)
    try world.targets.serve(1001) { _ in Self.holding() }
    let (old, edge) = try world.startBoth([1001])
    let early = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    try old.send(.drain(.seconds(30)))
    world.run(for: .milliseconds(100))
    let refused = try world.connect(1001, Self.holding())
    #expect(world.run(within: .milliseconds(10)) { refused.isClosed }, "at once")
    #expect(edge.shard.listeners.count == 1, "listeners stay bound")
    world.run(for: .seconds(10))
    // At once, and then with the usual waits from the first on: after 0.5 to 1, 1 to 2, 2 to 4 s.
    let waits = edge.events.compactMap {
      if case .tunnelDown(_, let wait) = $0.event { wait } else { nil }
    }
    #expect(waits.count >= 3)
    for (wait, longest) in zip(waits, [Int64(1), 2, 4]) {
      #expect(wait <= .seconds(longest) && wait >= .milliseconds(500 * longest))
    }
    #expect(early.failure == nil && !early.isClosed)
    _ = try Self.startNext(world, [1001])
    #expect(world.run(within: .seconds(20)) { edge.readyLinks.count == 2 })
    let late = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    #expect(late.received == 10_000 && early.failure == nil)
    try world.stopAll()
  }

  /// The deadline ends the old tunnel with what is on it; the new one does not notice.
  @Test func theOldTunnelsDeadlineIsItsOwn() throws {
    let world = try World(seed: 3)
    try world.targets.serve(1001) { _ in Self.holding() }
    let (old, edge) = try world.startBoth([1001])
    let early = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    let next = try Self.startNext(world, [1001])
    try old.send(.drain(.seconds(5)))
    world.run(for: .seconds(1))
    let late = try world.connect(1001, Self.holding())
    world.run(for: .seconds(3))
    #expect(early.failure == nil)
    #expect(world.run(within: .seconds(2)) { old.hasEnded && early.isClosed })
    #expect(early.failure != nil)
    world.run(for: .seconds(20))
    #expect(late.failure == nil && edge.readyLinks.count == 1 && next.readyLinks.count == 1)
    #expect(Self.count(edge, Self.isDown) == 0)
    try world.stopAll()
  }

  /// Whatever the network does, no byte of a stream that was there is lost.
  @Test(arguments: 0..<10)
  func noByteIsLostOnTheWay(seed: UInt64) throws {
    let world = try World(seed: seed, faults: .harsh)
    world.kernel.sendBufferBytes = 8_192
    world.kernel.receiveBufferBytes = 8_192
    try world.targets.serve(1001) { _ in
      var plan = PeerPlan()
      plan.sends = 300_000
      return plan
    }
    var plan = PeerPlan()
    plan.sends = 300_000
    let (old, edge) = try world.startBoth([1001])
    for _ in 0..<4 { try world.connect(1001, plan) }
    #expect(
      world.run(within: .seconds(5)) { world.targets.sockets.values.count { $0.key != nil } == 4 })
    let next = try Self.startNext(world, [1001])
    try old.send(.drain(.seconds(1_000)))
    #expect(world.run(within: .seconds(10)) { edge.shard.status.tunnels.contains { !$0.draining } })
    for _ in 0..<4 { try world.connect(1001, plan) }
    let ended = world.run(within: .seconds(1_000)) { old.hasEnded && world.clients.openCount == 0 }
    #expect(ended, "seed \(seed)")
    world.run(for: .seconds(60))
    StreamChecks(world).checkStreams()
    #expect(edge.readyLinks.count == 1)
    next.checkIdle("next hub, seed \(seed)")
    edge.checkIdle("edge, seed \(seed)")
    try world.stopAll()
  }

  /// Two hubs in a row drain while the first one's stream still lives.
  @Test func severalOldTunnelsLiveSideBySide() throws {
    let world = try World(seed: 4)
    try world.targets.serve(1001) { _ in Self.holding() }
    let (first, edge) = try world.startBoth([1001])
    let a = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    let second = try Self.startNext(world, [1001])
    try first.send(.drain(.seconds(100)))
    #expect(world.run(within: .seconds(1)) { second.readyLinks.count == 1 })
    let b = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    let thirdHost = world.kernel.makeHost([IPAddress(v4: 0x0A00_0203)])
    world.kernel.names["hub"] = [IPAddress(v4: 0x0A00_0203)]
    let third = try world.startHub([world.allowedEdge([1001])], on: thirdHost)
    try second.send(.drain(.seconds(100)))
    #expect(world.run(within: .seconds(2)) { edge.readyLinks.count == 3 })
    #expect(third.readyLinks.count == 1)
    let c = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    for client in [a, b, c] {
      #expect(client.failure == nil && client.received == 10_000)
      world.clients.finish(client)
    }
    #expect(world.run(within: .seconds(1)) { first.hasEnded && second.hasEnded })
    world.run(for: .seconds(1))
    StreamChecks(world).checkStreams()
    #expect(edge.readyLinks.count == 1)
    edge.checkIdle("edge")
    try world.stopAll()
  }

  /// A hub that is told late of extensions (its edge joined just before) still says that it drains.
  @Test func anEdgeThatHasJustJoinedIsToldToo() throws {
    let world = try World(
      seed: 5, faults: SimulatedFaults(delay: .milliseconds(50)...(.milliseconds(50))))
    try world.targets.serve(1001) { _ in Self.holding() }
    let old = try world.startHub([world.allowedEdge([1001])])
    let edge = try world.startEdge()
    let fake = try world.fakeEdge(.tls([world.greeting(as: "busy"), world.open(1)]))
    try old.send(
      .updateAllowedEdges([world.allowedEdge([1001]), world.allowedEdge([1001], id: "busy")]))
    #expect(world.run(within: .seconds(5)) { old.readyLinks.count == 2 })
    _ = try Self.startNext(world, [1001])
    // Its HELLO is still on its way.
    try old.send(.drain(.seconds(30)))
    world.run(for: .seconds(5))
    #expect(Self.count(edge) { if case .tunnelDraining = $0 { true } else { false } } == 1)
    #expect(edge.readyLinks.contains { !$0.isDraining })
    #expect(edge.shard.listeners.count == 1)
    #expect(fake.end == nil)
    try world.stopAll()
  }

  // MARK: Whoever does not know of it

  @Test func anOldEdgeClosesItsPortsAndKeepsItsStreams() throws {
    let world = try World(seed: 6)
    world.edgeExtensions = []
    try world.targets.serve(1001) { _ in Self.holding() }
    let (hub, edge) = try world.startBoth([1001])
    let client = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    try hub.send(.drain(.seconds(30)))
    world.run(for: .seconds(1))
    #expect(edge.shard.listeners.count == 0)
    // What changes meanwhile gives them no ports back.
    try hub.send(.updateAllowedEdges([world.allowedEdge([1001, 1002])]))
    world.run(for: .seconds(1))
    #expect(edge.shard.listeners.count == 0)
    #expect(client.failure == nil && edge.readyLinks.count == 1)
    world.clients.finish(client)
    #expect(world.run(within: .seconds(1)) { hub.hasEnded })
    #expect(client.received == 10_000 && client.sawEnd)
    try world.stopAll()
  }

  @Test(arguments: [true, false])
  func anEdgeTakesItsLeaveWhereItsHubKnowsOfIt(known: Bool) throws {
    let world = try World(seed: 7)
    world.hubOffer = known ? .all : []
    try world.targets.serve(1001) { _ in Self.holding() }
    let (hub, edge) = try world.startBoth([1001])
    let client = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    #expect(hub.shard.status.tunnels.map(\.draining) == [false])
    let before = try #require(hub.readyLinks.first?.tunnel).counters.controlFramesReceived
    try edge.send(.drain(.seconds(30)))
    world.run(for: .seconds(1))
    #expect(edge.shard.listeners.count == 0)
    #expect(hub.shard.status.tunnels.map(\.draining) == [known])
    let after = try #require(hub.readyLinks.first?.tunnel).counters.controlFramesReceived
    #expect(after - before == (known ? 1 : 0), "an old hub hears nothing")
    let isDraining = { (event: EngineEvent) in
      if case .edgeDraining(World.edgeID, _) = event { true } else { false }
    }
    #expect(Self.count(hub, isDraining) == (known ? 1 : 0))
    world.clients.finish(client)
    #expect(world.run(within: .seconds(1)) { edge.hasEnded && hub.readyLinks.isEmpty })
    #expect(Self.count(hub, Self.isDrainedEdge) == (known ? 1 : 0))
    try world.stopAll()
  }

  @Test func anEdgeThatDialsWhenItDrainsGivesUp() throws {
    let world = try World(seed: 8)
    try world.targets.serve(1001) { _ in Self.holding() }
    let (old, edge) = try world.startBoth([1001])
    let client = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    try old.send(.drain(.seconds(60)))
    world.run(for: .seconds(3))
    try edge.send(.drain(.seconds(60)))
    let next = try Self.startNext(world, [1001])
    world.run(for: .seconds(40))
    #expect(next.events.allSatisfy { if case .edgeConnected = $0.event { false } else { true } })
    #expect(client.failure == nil)
    world.clients.finish(client)
    #expect(world.run(within: .seconds(1)) { old.hasEnded && edge.hasEnded })
    try world.stopAll()
  }
}

extension World {
  func greeting(as id: String) -> [UInt8] { Array("EDGE \(id) \(secret.revealed)\n".utf8) }
}
