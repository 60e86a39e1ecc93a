// Clients that do not read, budgets that are spent and pools that are empty: what they cost whom.

import RIBase
import RIControl
import RIRing
import RIWire
import Testing

@testable import RIEngine

struct BackPressureTests {
  private static func source(_ bytes: Int) -> PeerPlan {
    var plan = PeerPlan()
    plan.sends = bytes
    plan.end = .hold
    plan.chunkBytes = 1_000...65_536
    return plan
  }

  private static var stalled: PeerPlan {
    var plan = PeerPlan()
    plan.reads = .never
    plan.end = .hold
    return plan
  }

  /// 40 downloads whose clients never read, then one whose client does; by the published rules and
  /// with `autoWindow`.
  @Test(arguments: [(Extensions.drain, 40 * 4), (.all, 10)])
  func stalledClientsHoldTheirWindowsAndOthersGoOn(extensions: Extensions, windowsMB: Int) throws {
    let world = try World(seed: 1)
    world.edgeExtensions = extensions
    world.kernel.sendBufferBytes = 16 * 1024
    world.kernel.receiveBufferBytes = 16 * 1024
    world.shapes = ShardPool.shapes(memoryBudgetBytes: 1 << 30)
    world.shapes[Int(ShardPool.small.rawValue)].count = 32
    world.shapes[Int(ShardPool.bulk.rawValue)].count = 16
    try world.targets.serve(1001) { _ in Self.source(5_000_000) }
    let (hub, edge) = try world.startBoth([1001])
    for _ in 0..<40 { try world.connect(1001, Self.stalled) }
    world.run(for: .seconds(20))
    let held = edge.shard.store[ShardPool.stash].usedCount * ShardPool.stashBufferBytes
    // All but what the two socket buffers of each took.
    let expected = windowsMB << 20
    #expect(
      held > expected - 40 * (64 << 10) && held <= expected + (1 << 20),
      "each holds its window: \(held >> 20) MB")
    #expect(hub.shard.counters.budgetResets == 0 && edge.shard.counters.budgetResets == 0)

    var plan = PeerPlan()
    plan.end = .hold
    let reader = try world.connect(1001, plan)
    #expect(world.run(within: .seconds(20)) { reader.received == 5_000_000 })
    #expect(reader.wrongAt == nil)
    // One of the stalled reads on after all.
    let stalled = try #require(world.clients.sockets.values.first { $0.received == 0 })
    world.clients.readAll(stalled)
    #expect(world.run(within: .seconds(20)) { stalled.received == 5_000_000 })
    #expect(stalled.wrongAt == nil)
    for client in world.clients.sockets.values { world.clients.reset(client) }
    world.run(for: .seconds(5))
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  /// Fewer buffers than stalled streams: none of those may keep one for good.
  @Test func stalledTargetsHoldTheirWindowsAndOthersGoOn() throws {
    let world = try World(seed: 2)
    world.shapes = ShardPool.shapes(memoryBudgetBytes: 1 << 30)
    world.shapes[Int(ShardPool.small.rawValue)].count = 32
    world.shapes[Int(ShardPool.bulk.rawValue)].count = 16
    try world.targets.serve(1001) { _ in Self.stalled }
    try world.targets.serve(1002) { _ in Self.source(0) }
    let (hub, edge) = try world.startBoth([1001, 1002])
    for _ in 0..<40 { try world.connect(1001, Self.source(5_000_000)) }
    world.run(for: .seconds(20))
    #expect(edge.shard.store[ShardPool.bulk].usedCount == 0)
    #expect(edge.shard.store[ShardPool.small].usedCount == 0)
    let client = try world.connect(1002, Self.source(5_000_000))
    #expect(world.run(within: .seconds(20)) { client.sent == 5_000_000 })
    for peer in world.targets.sockets.values { world.targets.reset(peer) }
    world.run(for: .seconds(5))
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  /// More stalled clients than the budget has room for, then some that are merely slow.
  @Test(arguments: 0..<4)
  func aSpentBudgetResetsTheLongestStalledAndNobodyElse(seed: UInt64) throws {
    let world = try World(seed: seed)
    world.edgeExtensions = .drain
    world.kernel.sendBufferBytes = 16 * 1024
    world.kernel.receiveBufferBytes = 16 * 1024
    world.shapes = ShardPool.shapes(memoryBudgetBytes: 12 << 20)
    try world.targets.serve(1001) { _ in Self.source(3_000_000) }
    let (hub, edge) = try world.startBoth([1001])
    var stalled: [PeerSocket] = []
    for _ in 0..<8 {
      stalled.append(try world.connect(1001, Self.stalled))
      world.run(for: .milliseconds(200))
    }
    var slow = PeerPlan()
    slow.end = .hold
    slow.pause = .milliseconds(2)
    let readers = try (0..<3).map { _ in try world.connect(1001, slow) }
    let ended = world.run(within: .seconds(60)) { readers.allSatisfy { $0.received == 3_000_000 } }
    #expect(ended, "readers: \(readers.map(\.received)), \(readers.map(\.failure))")
    #expect(hub.shard.counters.budgetResets == 0)
    let resets = Int(edge.shard.counters.budgetResets)
    #expect(resets >= 4)
    // The first to stall were the first to go.
    for client in stalled { world.clients.readAll(client) }
    world.run(for: .seconds(20))
    for (index, client) in stalled.enumerated() {
      #expect((client.failure != nil) == (index < resets), "client \(index) of \(resets) reset")
    }
    #expect(edge.readyLinks.count == 1)
    for client in stalled + readers where !client.isClosed { world.clients.reset(client) }
    world.run(for: .seconds(5))
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  /// New streams wait for their target's connection with a header each, not with memory of those
  /// that are stalled.
  @Test func aBurstOfNewStreamsTakesNothingOfTheBudget() throws {
    let world = try World(seed: 6)
    world.shapes[Int(ShardPool.stash.rawValue)].count = 8
    try world.targets.serve(1002) { _ in Self.source(100) }
    let (hub, edge) = try world.startBoth([1002])
    var reader = PeerPlan()
    reader.end = .hold
    let clients = try (0..<200).map { _ in try world.connect(1002, reader) }
    #expect(
      world.run(within: .seconds(20)) { clients.allSatisfy { $0.received == 100 } },
      "\(clients.filter { $0.failure != nil }.count) failed")
    #expect(hub.shard.counters.streamsRefused == 0)
    for client in clients where !client.isClosed { world.clients.reset(client) }
    world.run(for: .seconds(5))
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  /// Where nobody can be chosen in time, who finds nothing left is reset, and nobody else.
  @Test func aBudgetOfNothingResetsWhoNeedsIt() throws {
    let world = try World(seed: 5)
    world.kernel.sendBufferBytes = 16 * 1024
    world.kernel.receiveBufferBytes = 16 * 1024
    world.shapes[Int(ShardPool.stash.rawValue)].count = 8
    try world.targets.serve(1001) { _ in Self.source(3_000_000) }
    try world.targets.serve(1002) { _ in Self.source(100) }
    let (hub, edge) = try world.startBoth([1001, 1002])
    var reader = PeerPlan()
    reader.end = .hold
    let small = try world.connect(1002, reader)
    world.run(for: .seconds(1))
    for _ in 0..<5 {
      let client = try world.connect(1001, Self.stalled)
      world.run(for: .seconds(1))
      world.clients.readAll(client)
      world.run(for: .seconds(1))
      #expect(client.failure != nil && client.wrongAt == nil)
    }
    #expect(small.failure == nil && small.received == 100)
    #expect(edge.shard.counters.budgetResets == 5)
    world.clients.finish(small)
    world.run(for: .seconds(1))
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  /// Everything still arrives when every pool is nearly empty all the time.
  @Test(arguments: 0..<4)
  func tinyPoolsAreBackPressure(seed: UInt64) throws {
    try StreamTests.runRandomStreams(seed: seed, faults: .harsh, clients: 30) { world in
      for id in [ShardPool.small, ShardPool.bulk, ShardPool.tunnelReceive] {
        world.shapes[Int(id.rawValue)].count = seed % 2 == 0 ? 1 : 3
      }
      world.shapes[Int(ShardPool.tunnelSend.rawValue)].count = 1
    }
  }

  /// 300 streams of one edge, each of them sending, share three buffers without one being
  /// forgotten.
  @Test func starvedStreamsAllHaveTheirTurn() throws {
    let world = try World(seed: 9)
    world.shapes[Int(ShardPool.small.rawValue)].count = 3
    world.shapes[Int(ShardPool.bulk.rawValue)].count = 1
    try world.targets.serve(1001) { _ in
      var plan = PeerPlan()
      plan.echoes = true
      return plan
    }
    let (hub, edge) = try world.startBoth([1001])
    for _ in 0..<300 {
      var plan = PeerPlan()
      plan.sends = 20_000
      let client = try world.connect(1001, plan)
      client.peerEchoes = true
    }
    #expect(world.run(within: .seconds(60)) { world.clients.openCount == 0 })
    world.run(for: .seconds(1))
    StreamChecks(world).checkStreams()
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }
}
