// Shards that ask for patient sends never wait for what such a send brings.

import RIBase
import RIRing
import RIWire
import Testing

@testable import RIEngine

@Suite struct PatienceTests {
  /// The way of a packet, which is all that takes time here.
  private static let delay = Interval.milliseconds(5)

  /// Nobody wakes the shards but what they have to do.
  private func makeWorld(_ offer: Extensions) throws -> World {
    let world = try World(seed: 7, faults: SimulatedFaults(delay: Self.delay...Self.delay))
    world.kernel.sendBufferBytes = 4 << 20
    world.kernel.receiveBufferBytes = 4 << 20
    world.hubOffer = offer
    try world.targets.serve(StreamTests.sink) { _ in PeerPlan() }
    try world.targets.serve(StreamTests.echo) { _ in
      var plan = PeerPlan()
      plan.echoes = true
      return plan
    }
    return world
  }

  @Test(arguments: [Extensions.all, []], [StreamTests.sink, StreamTests.echo])
  func bulkDoesNotWaitForTimers(_ offer: Extensions, _ port: Port) throws {
    let world = try makeWorld(offer)
    _ = try world.startBoth([StreamTests.sink, StreamTests.echo])
    var plan = PeerPlan()
    plan.sends = 20_000_000
    let began = world.kernel.now
    let client = try world.connect(port, plan)
    #expect(world.run(within: .seconds(60)) { client.isClosed })
    // Round trips until the window has grown, and nothing like a timer.
    #expect(world.kernel.now - began < .milliseconds(300))
    try world.stopAll()
  }

  @Test(arguments: [0, 1, 5_000])
  func endsDoNotWaitForTimers(_ bytes: Int) throws {
    let world = try makeWorld(.all)
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
