// Tunnels over QUIC on the simulated network. Their keys and connection ids are not the seed's, so
// that a run repeats in what it does and not to the packet.

import RIBase
import RIControl
import RIRing
import RIWire
import Testing

@testable import RIEngine

struct QUICTests {
  private static func world(
    seed: UInt64, faults: SimulatedFaults = .none
  ) throws -> World {
    let world = try World(seed: seed, faults: faults)
    try world.allowQUIC()
    return world
  }

  private static func holding(_ bytes: Int = 10_000) -> PeerPlan {
    var plan = PeerPlan()
    plan.sends = bytes
    plan.end = .hold
    return plan
  }

  private static func count(
    _ engine: EngineUnderTest, _ matches: (EngineEvent) -> Bool
  ) -> Int {
    engine.events.count { matches($0.event) }
  }

  private static func isDown(_ event: EngineEvent) -> Bool {
    if case .tunnelDown = event { true } else { false }
  }

  private static func transports(_ engine: EngineUnderTest) -> [TunnelTransport] {
    engine.shard.status.tunnels.map(\.transport)
  }

  // MARK: Streams and sessions

  @Test(arguments: 0..<4)
  func everyByteArrivesOnceAndInOrder(seed: UInt64) throws {
    try StreamTests.runRandomStreams(seed: seed, faults: .none, clients: 40) {
      try $0.allowQUIC()
      $0.transportMode = .quic
    }
  }

  @Test(arguments: 10..<15)
  func theSameWhereDatagramsAreLostAndOvertaken(seed: UInt64) throws {
    try StreamTests.runRandomStreams(seed: seed, faults: .harsh, clients: 25) {
      try $0.allowQUIC()
      $0.transportMode = .quic
    }
  }

  @Test func datagramsOfAllSizesComeBack() throws {
    let world = try Self.world(seed: 1)
    world.transportMode = .quic
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(SessionTests.dns)
    let (hub, edge) = try world.startBoth([], udp: [SessionTests.dns]) {
      $0.targets = [
        TargetRule(port: SessionTests.dns, transport: .udp, udpProxyHeader: .none)
      ]
    }
    world.run(for: .seconds(1))
    #expect(edge.readyLinks.first?.extensions == .quic && hub.readyLinks.first?.extensions == .quic)
    let client = try clients.connect(to: SocketAddress(World.edgeIP, SessionTests.dns))
    for size in SessionTests.sizes {
      clients.send(size, from: client)
      world.run(for: .milliseconds(20))
    }
    #expect(client.answers == SessionTests.sizes.count)
    #expect(clients.faults.isEmpty && targets.faults.isEmpty, "\(clients.faults + targets.faults)")
    try world.stopAll()
  }

  /// On a path that has carried nothing yet, where a few packets may be under way at first.
  @Test func aBurstOfDatagramsIsNotCut() throws {
    let world = try Self.world(seed: 13)
    world.transportMode = .quic
    let path = SimulatedPath(delay: .milliseconds(2)...(.milliseconds(2)))
    world.kernel.setPath(path, between: world.edgeHost, world.hubHost)
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(SessionTests.dns)
    let (hub, edge) = try world.startBoth([], udp: [SessionTests.dns]) {
      $0.targets = [
        TargetRule(port: SessionTests.dns, transport: .udp, udpProxyHeader: .none)
      ]
    }
    world.run(for: .seconds(1))
    let client = try clients.connect(to: SocketAddress(World.edgeIP, SessionTests.dns))
    for _ in 0..<600 { clients.send(1_200, from: client) }
    world.run(for: .seconds(3))
    #expect(client.answers == 600)
    #expect(edge.shard.counters.drops.queueFull + hub.shard.counters.drops.queueFull == 0)
    try world.stopAll()
  }

  /// The kernel cuts no batches: they go packet by packet, and no more are tried.
  @Test func aKernelThatCutsNoBatches() throws {
    let world = try Self.world(seed: 2)
    world.transportMode = .quic
    world.kernel.faults.segmentRefusal = (above: 0, code: ErrorNumber.inputOutput)
    try world.targets.serve(1001) { _ in Self.holding(1_000_000) }
    let (hub, edge) = try world.startBoth([1001])
    let client = try world.connect(1001, Self.holding(300_000))
    #expect(world.run(within: .seconds(10)) { client.received == 1_000_000 })
    world.clients.finish(client)
    world.run(for: .seconds(1))
    #expect(hub.shard.counters.batchesRefused == 1)
    #expect(edge.shard.counters.batchesRefused <= 1)
    StreamChecks(world).checkStreams()
    try world.stopAll()
  }

  // MARK: Coming in

  @Test func anUnknownSecretIsRefused() throws {
    let world = try Self.world(seed: 3)
    let hub = try world.startHub([world.allowedEdge([])])
    let edge = try world.startEdge(secret: try Secret("wrong")) { $0.transportMode = .quic }
    world.run(for: .seconds(14))
    #expect(
      Self.count(edge) {
        if case .tunnelDown(.unauthorized, let delay) = $0 { delay >= .seconds(15) } else { false }
      } == 1)
    #expect(Self.count(edge, Self.isDown) == 1)
    #expect(Self.count(hub) { if case .edgeRefused = $0 { true } else { false } } == 1)
    hub.checkIdle("hub")
    try world.stopAll()
  }

  /// As over TLS: the answers to guesses come later and later, and the right secret never waits.
  /// A guesser that hangs up keeps its place until it would have been answered.
  @Test func whoGuessesSecretsWaitsForEachAnswer() throws {
    let world = try Self.world(seed: 11)
    world.transportMode = .quic
    let hub = try world.startHub([world.allowedEdge([])])
    func guess() throws -> EngineUnderTest { try world.startEdge(secret: try Secret("wrong")) }
    func isRefused(_ edge: EngineUnderTest) -> Bool { Self.count(edge, Self.isDown) == 1 }
    for _ in 0..<Limits.guessesFree {
      let edge = try guess()
      #expect(world.run(within: .milliseconds(500)) { isRefused(edge) })
    }
    let late = try guess()
    #expect(!world.run(within: .milliseconds(900)) { isRefused(late) })
    let honest = try world.startEdge()
    #expect(world.run(within: .milliseconds(90)) { honest.readyLinks.count == 1 })
    #expect(world.run(within: .milliseconds(500)) { isRefused(late) })
    world.run(for: .seconds(1))
    #expect(hub.gate?.count == 0)
    let hasty = try guess()
    world.run(for: .milliseconds(200))
    try hasty.send(.stop)
    #expect(world.run(within: .seconds(1)) { hasty.hasEnded && hub.shard.links.count == 1 })
    #expect(hub.gate?.count == 1)
    world.run(for: .seconds(3))
    #expect(hub.gate?.count == 0)
    #expect(hub.readyLinks.count == 1)
    try world.stopAll()
  }

  /// The hub is gone and another has its place, with its secrets: the edge hears so, and is back.
  @Test func aHubStartedAnewIsNoticed() throws {
    let world = try Self.world(seed: 4)
    world.transportMode = .quic
    try world.targets.serve(1001) { _ in Self.holding() }
    let (hub, edge) = try world.startBoth([1001])
    let client = try world.connect(1001, Self.holding())
    world.run(for: .seconds(10))
    hub.kill()
    _ = try world.startHub([world.allowedEdge([1001])])
    #expect(world.run(within: .seconds(2)) { Self.count(edge, Self.isDown) == 1 })
    world.run(for: .milliseconds(100))
    #expect(client.failure != nil)
    #expect(world.run(within: .seconds(3)) { edge.readyLinks.count == 1 })
    try world.stopAll()
  }

  @Test func aSecondTunnelReplacesTheFirst() throws {
    let world = try Self.world(seed: 5)
    world.transportMode = .quic
    let (hub, edge) = try world.startBoth([1001])
    let other = try world.startEdge(on: world.clientHost)
    #expect(world.run(within: .seconds(1)) { other.readyLinks.count == 1 })
    world.run(for: .milliseconds(100))
    #expect(hub.readyLinks.count == 1 && Self.count(edge, Self.isDown) == 1)
    try world.stopAll()
  }

  /// Its host says that nobody listens at its port any more.
  @Test(arguments: [true, false])
  func aKilledEdgeIsSoonNoticed(hasStreams: Bool) throws {
    let world = try Self.world(seed: 11)
    world.transportMode = .quic
    try world.targets.serve(1001) { _ in Self.holding(100_000_000) }
    let (hub, edge) = try world.startBoth([1001])
    if hasStreams {
      let client = try world.connect(1001, Self.holding())
      #expect(world.run(within: .seconds(1)) { client.received > 1_000_000 })
    }
    world.run(for: .seconds(1))
    edge.kill()
    #expect(world.run(within: .seconds(10)) { hub.readyLinks.isEmpty })
    #expect(
      Self.count(hub) {
        if case .edgeDisconnected(_, _, .socket) = $0 { true } else { false }
      } == 1)
    world.run(for: .seconds(2))
    #expect(hub.shard.packetSockets.count == 1, "the port's, and none to listen for refusals")
    try world.stopAll()
  }

  /// Of whom nothing is heard at all may be back: 45 s are his.
  @Test func aSilentEdgeIsWaitedFor() throws {
    let world = try Self.world(seed: 12)
    world.transportMode = .quic
    try world.targets.serve(1001) { _ in Self.holding() }
    let (hub, edge) = try world.startBoth([1001])
    let client = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    world.kernel.partition(world.edgeHost, world.hubHost)
    world.run(for: .seconds(40))
    #expect(hub.readyLinks.count == 1 && hub.shard.packetSockets.count == 2)
    world.kernel.heal(world.edgeHost, world.hubHost)
    world.run(for: .seconds(10))
    #expect(Self.count(edge, Self.isDown) == 0 && client.failure == nil)
    #expect(hub.shard.packetSockets.count == 1)
    world.clients.send(300_000, on: client)
    world.clients.finish(client)
    world.run(for: .seconds(2))
    StreamChecks(world).checkStreams()
    hub.checkIdle("hub")
    try world.stopAll()
  }

  // MARK: Between QUIC and TLS

  /// Nothing over UDP: TLS within 5 s and a bit. Then it opens: QUIC takes the new streams while
  /// the old one goes on, and no client notices.
  @Test func tlsTakesOverAndQUICComesBack() throws {
    var faults = SimulatedFaults.none
    faults.datagramLoss = 1
    let world = try Self.world(seed: 6, faults: faults)
    world.transportMode = .quicWithFallback
    try world.targets.serve(1001) { _ in Self.holding() }
    let hub = try world.startHub([world.allowedEdge([1001])])
    let edge = try world.startEdge()
    #expect(!world.run(within: .milliseconds(4_900)) { !edge.readyLinks.isEmpty })
    #expect(world.run(within: .milliseconds(300)) { Self.transports(edge) == [.tcpTls] })
    let early = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    // Tried again after five minutes, in vain; then with success.
    world.run(for: .seconds(310))
    #expect(Self.transports(edge) == [.tcpTls] && early.failure == nil)
    world.kernel.faults.datagramLoss = 0
    #expect(world.run(within: .seconds(310)) { edge.readyLinks.count == 2 })
    #expect(edge.shard.status.tunnels.allSatisfy { $0.draining == ($0.transport == .tcpTls) })
    #expect(Set(Self.transports(edge)) == [.tcpTls, .quic])
    world.run(for: .seconds(10))
    let late = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    #expect(hub.shard.status.tunnels.map(\.activeStreams) == [1, 1])
    #expect(early.failure == nil && late.received == 10_000)
    world.clients.finish(early)
    #expect(world.run(within: .seconds(1)) { Self.transports(edge) == [.quic] })
    world.clients.finish(late)
    world.run(for: .seconds(1))
    StreamChecks(world).checkStreams()
    #expect(Self.count(edge, Self.isDown) == 0)
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  /// A hub without QUIC says so by ICMP, and TLS is tried at once.
  @Test func aHubWithoutQUICCostsNoTime() throws {
    let world = try World(seed: 7)
    world.transportMode = .quicWithFallback
    _ = try world.startHub([world.allowedEdge([1001])])
    let edge = try world.startEdge()
    #expect(world.run(within: .milliseconds(100)) { Self.transports(edge) == [.tcpTls] })
    try world.stopAll()
  }

  @Test func aRefusalIsNotAskedForTwice() throws {
    let world = try Self.world(seed: 8)
    _ = try world.startHub([world.allowedEdge([])])
    let edge = try world.startEdge(secret: try Secret("wrong")) {
      $0.transportMode = .quicWithFallback
    }
    world.run(for: .seconds(14))
    #expect(Self.count(edge, Self.isDown) == 1)
    #expect(Self.count(edge) { if case .note = $0 { true } else { false } } == 0)
    try world.stopAll()
  }

  /// Another edge of the same name over the other transport: the first has lost its place as soon
  /// as it goes on opening streams.
  @Test func whoGoesOnOpeningStreamsIsReplaced() throws {
    let world = try Self.world(seed: 9)
    try world.targets.serve(1001) { _ in Self.holding() }
    let (hub, edge) = try world.startBoth([1001])
    world.run(for: .seconds(1))
    let other = try world.startEdge(on: world.clientHost) { $0.transportMode = .quic }
    #expect(world.run(within: .seconds(1)) { other.readyLinks.count == 1 })
    world.run(for: .seconds(6))
    #expect(hub.readyLinks.count == 2 && Self.count(edge, Self.isDown) == 0)
    let client = try world.connect(1001, Self.holding())
    world.run(for: .milliseconds(100))
    #expect(Self.count(edge, Self.isDown) == 1 && client.failure != nil)
    #expect(
      Self.count(hub) {
        if case .edgeDisconnected(_, _, .replaced) = $0 { true } else { false }
      } == 1)
    try world.stopAll()
  }

  // MARK: Taking leave

  @Test(arguments: [true, false])
  func aDrainLetsStreamsEnd(isHub: Bool) throws {
    let world = try Self.world(seed: 10)
    world.transportMode = .quic
    try world.targets.serve(1001) { _ in Self.holding() }
    let (hub, edge) = try world.startBoth([1001])
    let client = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    let leaving = isHub ? hub : edge
    if isHub { try leaving.send(.stopAccepting {}) }
    try leaving.send(.drain(.seconds(30)))
    world.run(for: .seconds(3))
    world.clients.send(300_000, on: client)
    world.run(for: .seconds(1))
    #expect(client.failure == nil && !leaving.hasEnded)
    world.clients.finish(client)
    #expect(world.run(within: .seconds(1)) { leaving.hasEnded })
    world.run(for: .seconds(1))
    leaving.checkEnded("who left")
    StreamChecks(world).checkStreams()
    try world.stopAll()
  }
}
