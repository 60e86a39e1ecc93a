// New configurations at run time: ports, edges and secrets (SPEC 4.2, 9).

import RIBase
import RIControl
import RIRing
import RIWire
import Testing

@testable import RIEngine

struct ConfigurationTests {
  private static func holding() -> PeerPlan {
    var plan = PeerPlan()
    plan.sends = 10_000
    plan.end = .hold
    return plan
  }

  private static func ports(_ edge: EngineUnderTest) -> [Port] {
    edge.shard.listeners.ids.map { edge.shard.listeners[$0].address.port }.sorted()
  }

  @Test func newPortsOpenAndCloseAndStreamsLiveOn() throws {
    let world = try World(seed: 1)
    for port in [Port(1001), 1002, 1003] {
      try world.targets.serve(port) { _ in Self.holding() }
    }
    let (hub, edge) = try world.startBoth([1001, 1002])
    let client = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    #expect(Self.ports(edge) == [1001, 1002])
    try hub.send(.updateAllowedEdges([world.allowedEdge([1002, 1003])]))
    world.run(for: .seconds(1))
    #expect(Self.ports(edge) == [1002, 1003])
    #expect(client.failure == nil && !client.isClosed)
    let gone = try world.connect(1001, Self.holding())
    let new = try world.connect(1003, Self.holding())
    world.run(for: .seconds(1))
    #expect(gone.failure != nil)
    #expect(new.received == 10_000)
    // The old stream still works, both ways.
    world.clients.send(50_000, on: client)
    world.clients.finish(client)
    #expect(world.run(within: .seconds(1)) { client.isClosed })
    #expect(client.received == 10_000 && client.sawEnd)
    world.clients.finish(new)
    world.run(for: .seconds(1))
    StreamChecks(world).checkStreams()
    let opened = edge.events.count { if case .listening = $0.event { true } else { false } }
    let closed = edge.events.count { if case .listenerClosed = $0.event { true } else { false } }
    #expect(opened == 3 && closed == 1)
    #expect(edge.events.allSatisfy { if case .tunnelDown = $0.event { false } else { true } })
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  @Test(arguments: ["removed", "secret"])
  func whoIsNoLongerAllowedIsCutOff(what: String) throws {
    let world = try World(seed: 2)
    try world.targets.serve(1001) { _ in Self.holding() }
    let (hub, edge) = try world.startBoth([1001])
    let otherHost = world.kernel.makeHost([IPAddress(v4: 0x0A00_0801)])
    try hub.send(
      .updateAllowedEdges([world.allowedEdge([1001]), world.allowedEdge([1001], id: "other")]))
    let other = try world.startEdge(id: "other", on: otherHost)
    #expect(world.run(within: .seconds(60)) { other.readyLinks.count == 1 })
    let client = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    var edges = [world.allowedEdge([1001], id: "other")]
    if what == "secret" { edges.append(world.allowedEdge([1001], secret: try Secret("new"))) }
    try hub.send(.updateAllowedEdges(edges))
    #expect(world.run(within: .milliseconds(10)) { client.isClosed })
    #expect(client.failure != nil)
    #expect(other.readyLinks.count == 1 && hub.readyLinks.count == 1)
    let revoked = hub.events.count {
      if case .edgeDisconnected(_, _, .revoked) = $0.event { true } else { false }
    }
    #expect(revoked == 1)
    // It comes again and is refused.
    world.run(for: .seconds(5))
    #expect(
      edge.events.contains {
        if case .tunnelDown(.unauthorized, _) = $0.event { true } else { false }
      })
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  @Test func aPortThatCannotBeBoundIsReportedAndTriedAgain() throws {
    let world = try World(seed: 3)
    try world.targets.serve(1001) { _ in Self.holding() }
    // Somebody else has the port.
    let squatter = PeerRing(world.kernel, world.edgeHost, seed: 1)
    try squatter.serve(1001) { _ in PeerPlan() }
    let (_, edge) = try world.startBoth([1001, 1002])
    world.run(for: .seconds(30))
    #expect(Self.ports(edge) == [1002])
    let failures = edge.events.count { if case .listenFailed = $0.event { true } else { false } }
    #expect(failures == 1, "reported once")
    squatter.stopServing(1001)
    world.run(for: .seconds(6))
    #expect(Self.ports(edge) == [1001, 1002])
    let client = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    #expect(client.received == 10_000)
    try world.stopAll()
  }

  @Test func aPortTakenAwayWhileItFailsIsNotTriedAgain() throws {
    let world = try World(seed: 4)
    let squatter = PeerRing(world.kernel, world.edgeHost, seed: 1)
    try squatter.serve(1001) { _ in PeerPlan() }
    let (hub, edge) = try world.startBoth([1001])
    world.run(for: .seconds(1))
    try hub.send(.updateAllowedEdges([world.allowedEdge([])]))
    world.run(for: .seconds(1))
    squatter.stopServing(1001)
    world.run(for: .seconds(20))
    #expect(Self.ports(edge) == [])
    try world.stopAll()
  }

  @Test func acceptingGoesOnOnceDescriptorsAreThere() throws {
    let world = try World(seed: 5)
    try world.targets.serve(1001) { _ in Self.holding() }
    let (hub, edge) = try world.startBoth([1001])
    world.run(for: .seconds(1))
    // The edge has its tunnel, its listener and room for two clients.
    world.kernel.descriptorsMax = 4
    let clients = try (0..<3).map { _ in try world.connectUnbounded(1001, Self.holding()) }
    world.run(for: .seconds(1))
    #expect(edge.shard.connections.count <= 2)
    world.kernel.descriptorsMax = 1 << 20
    world.run(for: .seconds(1))
    #expect(edge.shard.connections.count == 3)
    for client in clients { world.clients.reset(client) }
    world.run(for: .seconds(1))
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }
}

extension World {
  /// Connects although the simulated processes are out of descriptors.
  func connectUnbounded(_ port: Port, _ plan: PeerPlan) throws -> PeerSocket {
    let most = kernel.descriptorsMax
    kernel.descriptorsMax = 1 << 20
    defer { kernel.descriptorsMax = most }
    return try connect(port, plan)
  }
}
