// Where datagrams of UDP sessions go: names that change, kernels that refuse runs, links that are
// stuck, and streams beside them.

import Glibc
import RIBase
import RIControl
import RIRing
import Testing

@testable import RIEngine

struct SessionPathTests {
  static let dns = SessionTests.dns

  // MARK: Names

  @Test func sessionsOpenedLaterGoWhereTheNameThenLeads() throws {
    let world = try World(seed: 30)
    let newIP = IPAddress(v4: 0x0A00_0401)
    let (clients, targets) = world.datagramPeers()
    let moved = DatagramPeers(world.kernel, world.kernel.makeHost([newIP]))
    world.datagrams.append(moved)
    let (old, new) = (try targets.serve(Self.dns), try moved.serve(Self.dns))
    let (hub, _) = try world.startBoth([], udp: [Self.dns]) { $0.targetHost = "target" }
    func ask() throws -> DatagramClient {
      let client = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
      for _ in 0..<3 { clients.send(10, from: client) }
      world.run(for: .milliseconds(20))
      #expect(client.answers == 3)
      return client
    }
    // The first three wait for the name together.
    let first = try ask()
    #expect(old.arrivedCount == 3 && hub.shard.counters.drops.total == 0)
    world.kernel.names["target"] = [newIP]
    world.run(for: .seconds(11))
    _ = try ask()
    #expect(new.arrivedCount == 3)
    // A session stays where it is.
    clients.send(10, from: first)
    world.run(for: .milliseconds(20))
    #expect(first.answers == 4 && old.arrivedCount == 4)
    // A name server that fails: what was known last is used.
    world.kernel.names["target"] = []
    world.run(for: .seconds(11))
    _ = try ask()
    #expect(new.arrivedCount == 6)
    try world.endSessions()
    try world.stopAll()
  }

  @Test func aNameThatNobodyKnowsEndsTheSession() throws {
    let world = try World(seed: 31)
    let (clients, _) = world.datagramPeers()
    let (hub, edge) = try world.startBoth([], udp: [Self.dns]) { $0.targetHost = "nowhere" }
    let client = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    for _ in 0..<20 { clients.send(10, from: client) }
    world.run(for: .seconds(1))
    #expect(edge.shard.sessions.count == 0)
    // Eight were held, the others had no room.
    #expect(hub.shard.counters.drops.noTarget == 20 && hub.shard.counters.sessionsRefused == 1)
    world.settle()
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  @Test func anAddressOfAFamilyThatIsMissingIsPassedOver() throws {
    let world = try World(seed: 32)
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(Self.dns)
    world.kernel.hasIPv6 = false
    world.kernel.names["target"] = [World.targetIP6, World.targetIP]
    _ = try world.startBoth([], udp: [Self.dns]) { $0.targetHost = "target" }
    let client = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    clients.send(10, from: client)
    world.run(for: .milliseconds(20))
    #expect(client.answers == 1)
    try world.endSessions()
    try world.stopAll()
  }

  // MARK: Runs

  /// Datagrams that follow each other leave in one send; where the kernel does not take it they are
  /// sent again one by one, once.
  @Test(arguments: [nil, (0, EIO), (0, EOPNOTSUPP), (1_000, EINVAL), (1_000, EMSGSIZE)])
  func runsThatTheKernelRefusesAreSentOneByOne(refusal: (above: Int, code: Int32)?) throws {
    let world = try World(seed: 33)
    world.kernel.faults.segmentRefusal = refusal
    let (clients, targets) = world.datagramPeers()
    let target = try targets.serve(Self.dns)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns])
    let client = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    clients.send(10, from: client)
    world.run(for: .milliseconds(20))
    for _ in 0..<30 { clients.send(1_200, from: client) }
    clients.send(700, from: client)
    world.run(for: .milliseconds(20))
    #expect(client.answers == 32 && target.arrivedCount == 32)
    #expect(client.echoed.values.allSatisfy { $0 == 1 })
    for shard in [hub.shard, edge.shard] {
      #expect(shard.counters.drops.total == 0 && shard.pendingDatagrams.count == 0)
      let expected = refusal.map { $0.above == 0 ? 0 : 1_199 } ?? Limits.udpPayloadBytesMax
      #expect(shard.segmentBytesMax == expected)
    }
    for _ in 0..<20 { clients.send(900, from: client) }
    world.run(for: .milliseconds(20))
    #expect(client.answers == 52)
    // A path may be another later; a device is not.
    world.run(for: .seconds(6))
    #expect((hub.shard.segmentBytesMax == 0) == (refusal?.above == 0))
    try world.endSessions()
    try world.stopAll()
  }

  // MARK: Links

  /// One edge takes nothing any more while its sessions are flooded by their target; the sessions
  /// of the other edge do not feel it.
  @Test func aStuckLinkDoesNotKeepTheBuffersOfOthers() throws {
    let world = try World(seed: 34)
    // Fewer than one tunnel may have.
    world.shapes[Int(ShardPool.datagramReceive.rawValue)].count = 64
    world.shapes[Int(ShardPool.datagramQueue.rawValue)].count = 256
    world.kernel.sendBufferBytes = 64 * 1024
    world.kernel.receiveBufferBytes = 64 * 1024
    let second = world.kernel.makeHost([IPAddress(v4: 0x0A00_0501)])
    let (clients, targets) = world.datagramPeers()
    let target = try targets.serve(Self.dns)
    let hub = try world.startHub([
      world.allowedEdge([], udp: [Self.dns]), world.allowedEdge([], udp: [Self.dns], id: "edge-2"),
    ])
    let edges = [try world.startEdge(), try world.startEdge(id: "edge-2", on: second)]
    #expect(world.run(within: .seconds(5)) { edges.allSatisfy { $0.readyLinks.count == 1 } })
    let stuck = try (0..<40).map { _ in
      try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    }
    for client in stuck { clients.send(10, from: client) }
    world.run(for: .milliseconds(20))
    world.kernel.partition(world.edgeHost, world.hubHost)
    for size in [100, 1_400, 3_000, 30_000] {
      for _ in 0..<300 {
        targets.push(size, from: target)
        world.run(for: .microseconds(300))
      }
      let client = try clients.connect(to: SocketAddress(IPAddress(v4: 0x0A00_0501), Self.dns))
      for number in 1...20 {
        clients.send(size, from: client)
        world.run(for: .milliseconds(50))
        #expect(client.answers == number, "\(size): \(hub.shard.counters.drops)")
      }
    }
    #expect(hub.shard.counters.drops.queueFull + hub.shard.counters.drops.stuck > 0)
    world.kernel.heal(world.edgeHost, world.hubHost)
    world.run(for: .seconds(1))
    for client in stuck { clients.send(10, from: client) }
    world.run(for: .milliseconds(200))
    #expect(stuck.allSatisfy { $0.answers >= 2 })
    try world.endSessions()
    try world.stopAll()
  }

  /// A flood that the tunnel cannot carry: a stream beside it still gets its answers.
  @Test func aFloodOfDatagramsDoesNotStarveAStream() throws {
    let world = try World(
      seed: 35, faults: SimulatedFaults(delay: .milliseconds(2)...Interval.milliseconds(2)))
    // 64 KiB in 4 ms: 16 MB/s.
    world.kernel.sendBufferBytes = 64 * 1024
    world.kernel.receiveBufferBytes = 64 * 1024
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(Self.dns, echoes: false)
    try world.targets.serve(1001) { _ in
      var plan = PeerPlan()
      plan.echoes = true
      return plan
    }
    let (_, edge) = try world.startBoth([1001], udp: [Self.dns])
    let flooders = try (0..<10).map { _ in
      try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    }
    func flood(_ milliseconds: Int, until isDone: () -> Bool = { false }) -> Bool {
      for _ in 0..<milliseconds {
        for flooder in flooders { for _ in 0..<4 { clients.send(1_400, from: flooder) } }
        if world.run(within: .milliseconds(1), until: isDone) { return true }
      }
      return isDone()
    }
    _ = flood(200)
    #expect(edge.shard.counters.drops.queueFull > 0, "the flood is none")
    var plan = PeerPlan()
    plan.sends = 1_000
    let client = try world.connect(1001, plan)
    client.peerEchoes = true
    #expect(flood(500) { client.received == 1_000 && client.isClosed })
    #expect(client.wrongAt == nil && client.failure == nil)
    try world.endSessions()
    try world.stopAll()
  }

  /// More datagrams at once than there are buffers: the rest waits in the socket.
  @Test func aBurstBeyondTheBuffersIsTakenUpLater() throws {
    let world = try World(seed: 36)
    world.shapes[Int(ShardPool.datagramReceive.rawValue)].count = 4
    let (clients, targets) = world.datagramPeers()
    let target = try targets.serve(Self.dns)
    _ = try world.startBoth([], udp: [Self.dns])
    let all = try (0..<50).map { _ in
      try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    }
    for _ in 0..<4 { for client in all { clients.send(400, from: client) } }
    world.run(for: .seconds(1))
    #expect(target.arrivedCount == 200 && all.allSatisfy { $0.answers == 4 })
    try world.endSessions()
    try world.stopAll()
  }
}
