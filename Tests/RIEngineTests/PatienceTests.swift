// Shards that ask for patient sends never wait for what such a send brings.

import RIBase
import RIRing
import Testing

@testable import RIEngine

@Suite struct PatienceTests {
  /// The way of a packet, which is all that takes time here.
  private static let delay = Interval.milliseconds(5)

  /// Nobody wakes the shards but what they have to do.
  private func makeWorld() throws -> World {
    let world = try World(seed: 7, faults: SimulatedFaults(delay: Self.delay...Self.delay))
    world.kernel.sendBufferBytes = 4 << 20
    world.kernel.receiveBufferBytes = 4 << 20
    try world.targets.serve(StreamTests.sink) { _ in PeerPlan() }
    try world.targets.serve(StreamTests.echo) { _ in
      var plan = PeerPlan()
      plan.echoes = true
      return plan
    }
    return world
  }

  /// Far more together than one batch holds, and of each stream too little for credit to return.
  @Test(arguments: [StreamTests.sink, StreamTests.echo])
  func aFullBatchIsFollowedByTheRest(_ port: Port) throws {
    let world = try makeWorld()
    _ = try world.startBoth([StreamTests.sink, StreamTests.echo])
    var plan = PeerPlan()
    plan.sends = 40_000
    plan.chunkBytes = 40_000...60_000
    let began = world.kernel.now
    let clients = try (0..<100).map { _ in try world.connect(port, plan) }
    #expect(world.run(within: .seconds(60)) { clients.allSatisfy(\.isClosed) })
    #expect(world.kernel.now - began < Interval(nanoseconds: 12 * Self.delay.nanoseconds))
    try world.stopAll()
  }

  @Test(arguments: [0, 1, 5_000])
  func endsDoNotWaitForTimers(_ bytes: Int) throws {
    let world = try makeWorld()
    _ = try world.startBoth([StreamTests.sink, StreamTests.echo])
    for port in [StreamTests.sink, StreamTests.echo] {
      var plan = PeerPlan()
      plan.sends = bytes
      let began = world.kernel.now
      let client = try world.connect(port, plan)
      #expect(world.run(within: .seconds(60)) { client.isClosed })
      #expect(world.kernel.now - began < Interval(nanoseconds: 12 * Self.delay.nanoseconds))
    }
    try world.stopAll()
  }
}
