// Five hundred edges lose their hub at once and come back to the next one.

import RIBase
import RIControl
import RIRing
import Testing

@testable import RIEngine

struct StormTests {
  private static let edgeCount = 500
  private static let port: Port = 1001

  /// Small pools, as there are so many shards.
  private static var edgeShapes: [BufferPoolShape] {
    ShardPool.shapes(memoryBudgetBytes: 1 << 20).map { shape in
      var shape = shape
      shape.count = min(shape.count, 8)
      return shape
    }
  }

  private static func startEdges(_ world: World) throws -> [EngineUnderTest] {
    let usual = world.shapes
    world.shapes = edgeShapes
    defer { world.shapes = usual }
    return try (0..<edgeCount).map { index in
      let host = world.kernel.makeHost([IPAddress(v4: 0x0A01_0000 + UInt32(index))])
      return try world.startEdge(id: "edge-\(index)", on: host)
    }
  }

  /// `away`: seconds without any hub. At 0 all edges come within half a second; later their waits
  /// have spread.
  @Test(arguments: [Int64(0), 5])
  func allAreBackWithinAMinuteAndNobodyWaitsForThem(away: Int64) throws {
    let world = try World(seed: UInt64(away))
    try world.targets.serve(Self.port) { _ in
      var plan = PeerPlan()
      plan.echoes = true
      return plan
    }
    let allowed = (0..<Self.edgeCount).map { index in
      // One of them has clients.
      world.allowedEdge(index == 0 ? [Self.port] : [], id: "edge-\(index)")
    }
    // A turn of the shards takes what a handshake does.
    world.kernel.turnTime = .milliseconds(1)
    let first = try world.startHub(allowed)
    let edges = try Self.startEdges(world)
    try #require(world.run(within: .seconds(30)) { first.readyLinks.count == Self.edgeCount })
    first.kill()
    world.run(for: .seconds(away))

    let lost = world.now
    let hub = try world.startHub(allowed)
    // A client of the first edge that is back, while the others come.
    let isFirstBack = world.run(within: .seconds(60)) {
      hub.readyLinks.contains { $0.edge?.id == "edge-0" } && !edges[0].readyLinks.isEmpty
    }
    try #require(isFirstBack)
    var plan = PeerPlan()
    plan.sends = 20_000_000
    plan.chunkBytes = 64...64
    plan.pause = .milliseconds(50)
    let client = try world.clients.connect(
      to: SocketAddress(IPAddress(v4: 0x0A01_0000), Self.port), plan)
    client.peerEchoes = true
    var observer = Observer(world: world, hub: hub, client: client)
    let all = world.run(within: .seconds(60)) {
      observer.look()
      return hub.readyLinks.count == Self.edgeCount
    }
    #expect(all, "\(hub.readyLinks.count) are back")
    #expect(world.now - lost < .seconds(60))
    #expect(observer.handshakesMost <= Limits.handshakesMax)
    #expect(observer.joinedMost <= Limits.handshakeStepsPerTick, "a few a tick")
    #expect(client.failure == nil && client.wrongAt == nil && client.received > 0)
    #expect(observer.silenceLongest < .milliseconds(100), "the echo went on")
    #expect(hub.shard.counters.handshakesRefused == 0)
    world.clients.reset(client)
    try world.stopAll()
  }

  /// Watches a hub turn by turn.
  private struct Observer {
    let world: World
    let hub: EngineUnderTest
    let client: PeerSocket
    var handshakesMost = 0
    var joinedMost = 0
    var silenceLongest = Interval.zero
    private var ready = 0
    private var received = 0
    private var receivedAt: Instant

    init(world: World, hub: EngineUnderTest, client: PeerSocket) {
      self.world = world
      self.hub = hub
      self.client = client
      ready = hub.readyLinks.count
      receivedAt = world.now
    }

    mutating func look() {
      handshakesMost = max(handshakesMost, hub.gate?.count ?? 0)
      let now = hub.readyLinks.count
      joinedMost = max(joinedMost, now - ready)
      ready = now
      if client.received > received { receivedAt = world.now }
      received = client.received
      silenceLongest = max(silenceLongest, world.now - receivedAt)
    }
  }

  /// More than wait for their turn at once: the rest stays in the backlog, and nobody is refused.
  @Test func whatIsTooMuchAtOnceWaitsInTheBacklog() throws {
    let world = try World(seed: 3)
    world.kernel.turnTime = .milliseconds(1)
    let hub = try world.startHub((0...900).map { world.allowedEdge([], id: "edge-\($0)") })
    var fakes: [FakeEdge] = []
    let hosts = (0..<3).map { world.kernel.makeHost([IPAddress(v4: 0x0A02_0000 + $0)]) }
    for index in 0..<900 {
      let line = world.greeting(as: "edge-\(index)")
      fakes.append(try world.fakeEdge(.tls([line]), on: hosts[index % 3]))
    }
    var (waitingMost, pauses) = (0, 0)
    let all = world.run(within: .seconds(9)) {
      waitingMost = max(waitingMost, hub.shard.handshakeQueue.count)
      if hub.shard.isAcceptPaused { pauses += 1 }
      return fakes.allSatisfy { !$0.plaintext.isEmpty }
    }
    #expect(all, "\(fakes.count { $0.plaintext.isEmpty }) have no answer")
    #expect(pauses > 0, "never paused; \(waitingMost) waited")
    #expect(hub.shard.counters.handshakesRefused == 0)
    #expect(!hub.shard.isAcceptPaused)
    // Those who only connect do not keep the door shut.
    for host in hosts {
      for _ in 0..<300 { fakes.append(try world.fakeEdge(.silent, on: host)) }
    }
    world.run(for: .seconds(1))
    #expect(!hub.shard.isAcceptPaused)
    let last = try world.fakeEdge(.tls([world.greeting(as: "edge-900")]))
    #expect(world.run(within: .seconds(1)) { !last.plaintext.isEmpty })
    try world.stopAll()
  }
}
