// The end of a shard: draining and stopping.

import RIBase
import RIControl
import RIRing
import Testing

@testable import RIEngine

struct DrainTests {
  private static func holding(_ bytes: Int = 10_000) -> PeerPlan {
    var plan = PeerPlan()
    plan.sends = bytes
    plan.end = .hold
    return plan
  }

  @Test(arguments: ["hub", "edge"])
  func aDrainingShardTakesNoNewStreamsAndEndsWithItsLast(who: String) throws {
    let world = try World(seed: 1)
    try world.targets.serve(1001) { _ in Self.holding() }
    let (hub, edge) = try world.startBoth([1001])
    let engine = who == "hub" ? hub : edge
    let client = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    try engine.send(.drain(.seconds(30)))
    world.run(for: .seconds(5))
    #expect(!engine.hasEnded)
    let late = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    #expect(late.failure != nil)
    #expect(client.failure == nil)
    world.clients.send(300_000, on: client)
    world.clients.finish(client)
    #expect(world.run(within: .seconds(2)) { engine.hasEnded })
    world.run(for: .milliseconds(100))
    StreamChecks(world).checkStreams()
    engine.checkEnded(who)
    try world.stopAll()
  }

  @Test(arguments: ["hub", "edge"])
  func withNothingLiveADrainEndsAtOnce(who: String) throws {
    let world = try World(seed: 2)
    let (hub, edge) = try world.startBoth([1001])
    let engine = who == "hub" ? hub : edge
    try engine.send(.drain(.seconds(30)))
    #expect(world.run(within: .milliseconds(50)) { engine.hasEnded })
    engine.checkEnded(who)
    try world.stopAll()
  }

  @Test(arguments: ["hub", "edge"])
  func theDeadlineEndsWhatIsStillLive(who: String) throws {
    let world = try World(seed: 3)
    try world.targets.serve(1001) { _ in Self.holding() }
    let (hub, edge) = try world.startBoth([1001])
    let engine = who == "hub" ? hub : edge
    let client = try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    try engine.send(.drain(.seconds(7)))
    world.run(for: .milliseconds(6_900))
    #expect(!engine.hasEnded && client.failure == nil)
    #expect(world.run(within: .milliseconds(300)) { engine.hasEnded && client.isClosed })
    #expect(client.failure != nil)
    engine.checkEnded(who)
    try world.stopAll()
  }

  /// The last bytes of a stream may wait in the tunnel when its connection here is gone already.
  @Test(arguments: 0..<12)
  func aDrainLosesNoByte(seed: UInt64) throws {
    let world = try World(seed: seed, faults: .harsh)
    world.kernel.sendBufferBytes = 8_192
    world.kernel.receiveBufferBytes = 8_192
    try world.targets.serve(1001) { _ in
      var plan = PeerPlan()
      plan.sends = 400_000
      return plan
    }
    let (hub, edge) = try world.startBoth([1001])
    for _ in 0..<5 {
      var plan = PeerPlan()
      plan.sends = 400_000
      try world.connect(1001, plan)
    }
    #expect(
      world.run(within: .seconds(5)) { world.targets.sockets.values.count { $0.key != nil } == 5 })
    let engine = seed % 2 == 0 ? hub : edge
    try engine.send(.drain(.seconds(1_000)))
    #expect(world.run(within: .seconds(1_000)) { engine.hasEnded })
    world.run(for: .seconds(30))
    StreamChecks(world).checkStreams()
    try world.stopAll()
  }

  /// A socket closed with bytes unread resets its connection: the hub must not close on top of the
  /// streams that its edge still opens.
  @Test(arguments: 0..<8)
  func aDrainLosesNoByteWhileClientsKeepComing(seed: UInt64) throws {
    let world = try World(
      seed: seed, faults: SimulatedFaults(delay: .milliseconds(20)...Interval.milliseconds(20)))
    try world.targets.serve(1001) { _ in
      var plan = PeerPlan()
      plan.sends = 200_000
      return plan
    }
    let (hub, _) = try world.startBoth([1001])
    var plan = PeerPlan()
    plan.sends = 1_000
    let clients = try (0..<3).map { _ in try world.connect(1001, plan) }
    #expect(
      world.run(within: .seconds(5)) { world.targets.sockets.values.count { $0.key != nil } == 3 })
    try hub.send(.drain(.seconds(100)))
    for _ in 0..<2_000 where !hub.hasEnded {
      try world.connect(1001, plan)
      world.run(for: .milliseconds(1))
    }
    #expect(hub.hasEnded)
    world.run(for: .seconds(1))
    for client in clients { #expect(client.received == 200_000 && client.sawEnd) }
    try world.stopAll()
  }

  @Test func aStopEndsEverythingAtOnce() throws {
    let world = try World(seed: 4)
    try world.targets.serve(1001) { _ in Self.holding(5_000_000) }
    let (hub, edge) = try world.startBoth([1001])
    for _ in 0..<5 { try world.connect(1001, Self.holding(5_000_000)) }
    world.run(for: .milliseconds(5))
    try edge.send(.stop)
    #expect(world.run(within: .milliseconds(10)) { edge.hasEnded && world.clients.openCount == 0 })
    world.run(for: .milliseconds(10))
    hub.checkIdle("hub")
    let ends = hub.events.filter {
      if case .edgeDisconnected = $0.event { true } else { false }
    }
    #expect(ends.count == 1)
    try world.stopAll()
  }

  @Test func aDrainingEdgeOpensNoListener() throws {
    let world = try World(seed: 6)
    try world.targets.serve(1001) { _ in Self.holding() }
    let squatter = PeerRing(world.kernel, world.edgeHost, seed: 1)
    try squatter.serve(1002) { _ in PeerPlan() }
    let (hub, edge) = try world.startBoth([1001, 1002])
    try world.connect(1001, Self.holding())
    world.run(for: .seconds(1))
    try edge.send(.drain(.seconds(60)))
    squatter.stopServing(1002)
    try hub.send(.updateAllowedEdges([world.allowedEdge([1003])]))
    world.run(for: .seconds(20))
    #expect(!edge.hasEnded && edge.shard.listeners.count == 0)
    try world.stopAll()
  }

  @Test func anEdgeWithoutItsHubStops() throws {
    let world = try World(seed: 5)
    let edge = try world.startEdge()
    world.run(for: .seconds(10))
    try edge.send(.drain(.seconds(30)))
    #expect(world.run(within: .seconds(1)) { edge.hasEnded })
    edge.checkEnded("edge")
  }
}
