// Many random streams through a hub and an edge over a bad network.

import RIBase
import RIRing
import TestRandom
import Testing

@testable import RIEngine

struct StreamTests {
  static let echo: Port = 1001
  static let sink: Port = 1002
  static let source: Port = 1003
  static let closesEarly: Port = 1004
  static let resets: Port = 1005
  static let refuses: Port = 1006
  static let ports = [echo, sink, source, closesEarly, resets, refuses]

  @Test(arguments: 0..<12)
  func everyByteArrivesOnceAndInOrder(seed: UInt64) throws {
    try Self.runRandomStreams(seed: seed, faults: .harsh, clients: 40)
  }

  @Test(arguments: 100..<104)
  func theSameOnAPromptNetwork(seed: UInt64) throws {
    try Self.runRandomStreams(seed: seed, faults: .none, clients: 60)
  }

  static func runRandomStreams(
    seed: UInt64, faults: SimulatedFaults, clients: Int,
    _ change: (World) throws -> Void = { _ in }
  ) throws {
    let world = try World(seed: seed, faults: faults)
    try change(world)
    var random = SplitMix64(seed &* 31)
    world.kernel.sendBufferBytes = [4_096, 65_536, 262_144].randomElement(using: &random) ?? 4_096
    world.kernel.receiveBufferBytes =
      [4_096, 65_536, 262_144].randomElement(using: &random) ?? 4_096
    try world.serveAll(&random)
    let (hub, edge) = try world.startBoth(ports)
    var started = 0
    while started < clients {
      for _ in 0..<Int.random(in: 1...5, using: &random) where started < clients {
        let port = ports.randomElement(using: &random) ?? echo
        let peer = try world.connect(port, .random(&random, mayHold: port != echo && port != sink))
        peer.peerEchoes = port == echo
        started += 1
      }
      world.run(for: .milliseconds(Int64.random(in: 0...40, using: &random)))
    }
    let ended = world.run(within: .seconds(600)) {
      world.clients.openCount == 0 && world.targets.openCount == 0
        && hub.shard.connections.count == 0 && edge.shard.connections.count == 0
    }
    #expect(ended, "streams did not end, seed \(seed)")
    world.settle()
    StreamChecks(world).checkStreams()
    #expect(
      edge.readyLinks.count == 1 && hub.readyLinks.count == 1, "\(hub.events) \(edge.events)")
    hub.checkIdle("hub, seed \(seed)")
    edge.checkIdle("edge, seed \(seed)")
    try world.stopAll()
  }
}

extension PeerPlan {
  /// What a client may do.
  static func random(_ random: inout SplitMix64, mayHold: Bool) -> PeerPlan {
    var plan = PeerPlan()
    let most = [0, 1, 100, 5_000, 200_000, 1_500_000].randomElement(using: &random) ?? 1
    plan.sends = Int.random(in: 0...most, using: &random)
    plan.chunkBytes = 1...([10, 3_000, 60_000].randomElement(using: &random) ?? 10)
    // Tiny pieces of much data take for ever.
    if plan.chunkBytes.upperBound == 10 { plan.sends = min(plan.sends, 2_000) }
    plan.pause = .milliseconds([0, 0, 5, 300].randomElement(using: &random) ?? 0)
    switch Int.random(in: 0..<12, using: &random) {
    case 0: plan.end = .reset
    case 1: plan.reads = .until(0)
    case 2: plan.reads = .until(Int.random(in: 1...10_000, using: &random))
    case 3 where mayHold: plan.end = .hold
    default: break
    }
    return plan
  }
}

extension World {
  /// One target of each kind.
  func serveAll(_ random: inout SplitMix64) throws {
    var plans = SplitMix64(random.next())
    func draw(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &plans) }
    try targets.serve(StreamTests.echo) { _ in
      var plan = PeerPlan()
      plan.echoes = true
      plan.pause = .milliseconds(Int64(draw(0...5)))
      return plan
    }
    try targets.serve(StreamTests.sink) { _ in
      var plan = PeerPlan()
      plan.end = .hold
      plan.chunkBytes = 1_000...60_000
      plan.pause = .milliseconds(Int64(draw(0...20)))
      return plan
    }
    try targets.serve(StreamTests.source) { _ in
      var plan = PeerPlan()
      plan.sends = draw(0...2_000_000)
      plan.pause = .milliseconds(Int64(draw(0...2)))
      return plan
    }
    try targets.serve(StreamTests.closesEarly) { _ in
      var plan = PeerPlan()
      plan.sends = draw(0...20_000)
      plan.reads = .until(draw(1...30_000))
      return plan
    }
    try targets.serve(StreamTests.resets) { _ in
      var plan = PeerPlan()
      plan.sends = draw(0...100_000)
      plan.end = .reset
      return plan
    }
  }
}
