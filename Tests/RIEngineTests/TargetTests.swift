// Targets that refuse, do not answer, or are given by name; what each costs its client and no
// other.

import RIBase
import RIControl
import RIRing
import Testing

@testable import RIEngine

struct TargetTests {
  private static func plan(_ bytes: Int = 1_000) -> PeerPlan {
    var plan = PeerPlan()
    plan.sends = bytes
    return plan
  }

  @Test func aTargetThatRefusesResetsItsClientAtOnce() throws {
    let world = try World(seed: 1)
    let (hub, edge) = try world.startBoth([1001])
    let client = try world.connect(1001, Self.plan())
    #expect(world.run(within: .milliseconds(10)) { client.isClosed })
    #expect(client.failure != nil && !client.sawEnd)
    world.run(for: .seconds(1))
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  @Test func aTargetThatDoesNotAnswerResetsItsClientAfterTenSeconds() throws {
    let world = try World(seed: 2)
    try world.targets.serve(1001) { _ in Self.plan() }
    let (hub, edge) = try world.startBoth([1001])
    world.kernel.partition(world.hubHost, world.targetHost)
    let client = try world.connect(1001, Self.plan(3_000_000))
    world.run(for: .milliseconds(9_900))
    #expect(client.failure == nil && hub.shard.connections.count == 1)
    #expect(world.run(within: .milliseconds(200)) { client.isClosed })
    #expect(client.failure != nil)
    world.run(for: .milliseconds(10))
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    world.kernel.heal(world.hubHost, world.targetHost)
    let next = try world.connect(1001, Self.plan())
    world.run(for: .seconds(1))
    #expect(next.received == 1_000 && next.sawEnd)
    try world.stopAll()
  }

  @Test func aTargetsNameIsLookedUpOnceForAllWhoWait() throws {
    let world = try World(seed: 3)
    try world.targets.serve(1001) { _ in Self.plan() }
    let hub = try world.startHub([world.allowedEdge([1001])]) { $0.targetHost = "target" }
    let edge = try world.startEdge()
    #expect(world.run(within: .seconds(1)) { edge.readyLinks.count == 1 })
    for _ in 0..<20 { try world.connect(1001, Self.plan()) }
    world.run(for: .seconds(1))
    #expect(world.clients.sockets.values.allSatisfy { $0.received == 1_000 && $0.sawEnd })
    StreamChecks(world).checkStreams()
    hub.checkIdle("hub")
    world.kernel.names["target"] = []
    world.run(for: .seconds(20))
    let client = try world.connect(1001, Self.plan())
    #expect(world.run(within: .seconds(1)) { client.isClosed })
    #expect(client.failure != nil, "the name is gone")
    // A client that leaves while its target is looked up.
    world.kernel.names["target"] = [World.targetIP]
    var hasty = Self.plan()
    hasty.end = .reset
    try world.connect(1001, hasty)
    world.run(for: .seconds(1))
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  @Test func aTargetWithSeveralAddressesIsReachedByAnyOfThem() throws {
    let world = try World(seed: 4)
    world.kernel.names["target"] = [IPAddress(v4: 0x0A00_0999), World.targetIP]
    try world.targets.serve(1001) { _ in Self.plan() }
    _ = try world.startHub([world.allowedEdge([1001])]) { $0.targetHost = "target" }
    let edge = try world.startEdge()
    #expect(world.run(within: .seconds(1)) { edge.readyLinks.count == 1 })
    let client = try world.connect(1001, Self.plan())
    world.run(for: .seconds(1))
    #expect(client.received == 1_000 && client.sawEnd)
    try world.stopAll()
  }
}
