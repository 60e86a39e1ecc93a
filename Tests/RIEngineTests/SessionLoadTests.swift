// UDP sessions in numbers, on a bad network, under floods, and when an engine drains.

import RIBase
import RIControl
import RIRing
import TestRandom
import Testing

@testable import RIEngine

struct SessionLoadTests {
  static let dns = SessionTests.dns

  // MARK: A bad network

  /// Loss and reordering, but no duplicates: what arrives twice was doubled by us. `every`, as a
  /// header of its own may be overtaken.
  @Test(arguments: 0..<8)
  func whatArrivesIsWholeAndArrivesOnce(seed: UInt64) throws {
    var faults = SimulatedFaults.harsh
    faults.datagramDuplicate = 0
    try Self.runRandomTraffic(seed: seed, faults: faults, copiesMax: 1)
  }

  @Test(arguments: 8..<12)
  func whatTheNetworkDoublesIsDoubledOnceForEachHop(seed: UInt64) throws {
    try Self.runRandomTraffic(seed: seed, faults: .harsh, copiesMax: 2)
  }

  /// `copiesMax`: of one hop.
  private static func runRandomTraffic(
    seed: UInt64, faults: SimulatedFaults, copiesMax: Int
  ) throws {
    let world = try World(seed: seed, faults: faults)
    var random = SplitMix64(seed &* 77)
    let (clients, targets) = world.datagramPeers()
    let target = try targets.serve(dns, header: .every)
    let (hub, edge) = try world.startBoth([], udp: [dns]) {
      $0.targets = [TargetRule(port: dns, transport: .udp, udpProxyHeader: .every)]
    }
    let longest = [100, 1_400, 12_000][Int(seed % 3)]
    for _ in 0..<300 {
      if clients.clients.count < 40, Bool.random(using: &random) {
        try clients.connect(to: SocketAddress(World.edgeIP, dns))
      }
      for _ in 0..<Int.random(in: 0...8, using: &random) {
        guard let client = clients.clients.randomElement(using: &random) else { continue }
        clients.send(Int.random(in: 0...longest, using: &random), from: client)
      }
      world.run(for: .milliseconds(Int64.random(in: 0...30, using: &random)))
    }
    world.run(for: .seconds(2))
    #expect(clients.faults.isEmpty && targets.faults.isEmpty, "\(clients.faults + targets.faults)")
    let sent = clients.clients.reduce(0) { $0 + $1.sent.count }
    let back = clients.clients.reduce(0) { $0 + $1.answers }
    // Four hops lose 5 % each, queues and short ones of old sessions a little more.
    #expect(
      back > sent / 2, "seed \(seed): \(back) of \(sent), \(hub.shard.counters.drops)")
    let copies = target.arrived.values.flatMap(\.values).max() ?? 0
    #expect(copies <= copiesMax * copiesMax, "seed \(seed)")
    let echoes = clients.clients.flatMap(\.echoed.values).max() ?? 0
    #expect(echoes <= copiesMax * copiesMax * copiesMax * copiesMax, "seed \(seed)")
    #expect(hub.shard.counters.sessionsOpened == edge.shard.counters.sessionsOpened)
    try world.endSessions()
    try world.stopAll()
  }

  // MARK: Numbers

  @Test func tenThousandSessionsComeAndGo() throws {
    let world = try World(seed: 20)
    let sources = (0..<10).map { IPAddress(v4: 0x0A02_0000 + $0) }
    let clients = DatagramPeers(world.kernel, world.kernel.makeHost(sources))
    let targets = DatagramPeers(world.kernel, world.targetHost)
    world.datagrams = [clients, targets]
    let target = try targets.serve(Self.dns)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns])
    for round in 0..<100 {
      for i in 0..<100 {
        let client = try clients.connect(
          to: SocketAddress(World.edgeIP, Self.dns), from: sources[i % 10])
        clients.send(40 + round, from: client)
      }
      world.run(for: .milliseconds(20))
    }
    #expect(hub.shard.sessions.count == 10_000 && edge.shard.sessions.count == 10_000)
    #expect(clients.clients.allSatisfy { $0.answers == 1 } && target.arrivedCount == 10_000)
    #expect(edge.shard.sessions.sourceCount == 10)
    // All of them once more, a thousand at the same time.
    for (i, client) in clients.clients.enumerated() {
      clients.send(20, from: client)
      if i % 1_000 == 999 { world.run(for: .milliseconds(20)) }
    }
    #expect(clients.clients.allSatisfy { $0.answers == 2 } && target.arrivedCount == 20_000)
    world.run(for: .seconds(59))
    #expect(hub.shard.sessions.count == 10_000 && edge.shard.sessions.count == 10_000)
    try world.endSessions()
    #expect(clients.faults.isEmpty && targets.faults.isEmpty)
    #expect(hub.ring.pendingCount <= 3, "\(hub.ring.pendingCount) operations")
    try world.stopAll()
  }

  // MARK: Floods

  @Test func aFloodFromOneSourceCostsNobodyElseASession() throws {
    let world = try World(seed: 21)
    let (clients, targets) = world.datagramPeers()
    let attackers = DatagramPeers(
      world.kernel, world.kernel.makeHost([IPAddress(v4: 0x0A03_0001)]), firstKey: 1 << 20)
    world.datagrams.append(attackers)
    _ = try targets.serve(Self.dns)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns]) {
      $0.udpSessionsMax = 400
    } edge: {
      $0.udpSessionsMax = 400
    }
    let address = SocketAddress(World.edgeIP, Self.dns)
    let honest = try (0..<20).map { _ in try clients.connect(to: address) }
    for second in 1...10 {
      for client in honest { clients.send(50, from: client) }
      for _ in 0..<200 { attackers.send(10, from: try attackers.connect(to: address)) }
      world.run(for: .seconds(1))
      #expect(honest.allSatisfy { $0.answers == second }, "\(honest.map(\.answers))")
    }
    #expect(edge.shard.counters.sessionsEvicted == 2_000 - 50)
    #expect(edge.shard.sessions.count == 70 && hub.shard.sessions.count == 70)
    // Their sessions are the ones they began with.
    #expect(edge.shard.counters.sessionsOpened == 2_020)
    try world.endSessions()
    try world.stopAll()
  }

  @Test func theCapHoldsAndNewcomersTakeThePlaceOfTheLongestIdle() throws {
    let world = try World(seed: 22)
    let sources = (0..<100).map { IPAddress(v4: 0x0A02_0000 + $0) }
    let clients = DatagramPeers(world.kernel, world.kernel.makeHost(sources))
    let targets = DatagramPeers(world.kernel, world.targetHost)
    world.datagrams = [clients, targets]
    _ = try targets.serve(Self.dns)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns]) {
      $0.udpSessionsMax = 50
    } edge: {
      $0.udpSessionsMax = 60
    }
    for source in sources {
      let client = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns), from: source)
      clients.send(10, from: client)
      world.run(for: .milliseconds(100))
      #expect(client.answers == 1)
    }
    #expect(hub.shard.sessions.count == 50 && edge.shard.sessions.count == 50)
    #expect(hub.shard.counters.sessionsEvicted == 50)
    try world.endSessions()
    try world.stopAll()
  }

  // MARK: Draining

  @Test(arguments: ["hub", "edge"])
  func aDrainDoesNotWaitForIdleSessions(who: String) throws {
    let world = try World(seed: 23)
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(Self.dns)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns])
    for _ in 0..<100 {
      clients.send(10, from: try clients.connect(to: SocketAddress(World.edgeIP, Self.dns)))
    }
    world.run(for: .seconds(10))
    let engine = who == "hub" ? hub : edge
    let other = who == "hub" ? edge : hub
    #expect(engine.shard.sessions.count == 100)
    try engine.send(.drain(.seconds(30)))
    #expect(world.run(within: .milliseconds(100)) { engine.hasEnded })
    engine.checkEnded(who)
    world.run(for: .milliseconds(100))
    #expect(other.shard.sessions.count == 0)
    try world.stopAll()
  }

  @Test(arguments: ["hub", "edge"])
  func aDrainLetsLiveSessionsGoOn(who: String) throws {
    let world = try World(seed: 24)
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(Self.dns)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns])
    let live = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    clients.send(10, from: live)
    world.run(for: .seconds(1))
    let engine = who == "hub" ? hub : edge
    try engine.send(.drain(.seconds(30)))
    for second in 2...10 {
      clients.send(10, from: live)
      world.run(for: .seconds(1))
      #expect(live.answers == second && !engine.hasEnded)
    }
    // No new ones meanwhile.
    let late = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    clients.send(10, from: late)
    world.run(for: .milliseconds(1_900))
    #expect(late.answers == 0 && !engine.hasEnded)
    #expect(world.run(within: .milliseconds(200)) { engine.hasEnded })
    engine.checkEnded(who)
    try world.stopAll()
  }

  @Test(arguments: ["hub", "edge"])
  func aBusySessionEndsAtTheDrainsDeadline(who: String) throws {
    let world = try World(seed: 25)
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(Self.dns)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns])
    let live = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    clients.send(10, from: live)
    world.run(for: .seconds(1))
    let engine = who == "hub" ? hub : edge
    try engine.send(.drain(.seconds(5)))
    for _ in 0..<49 {
      clients.send(10, from: live)
      world.run(for: .milliseconds(100))
      #expect(!engine.hasEnded)
    }
    #expect(live.answers == 50)
    #expect(world.run(within: .milliseconds(200)) { engine.hasEnded })
    engine.checkEnded(who)
    try world.stopAll()
  }
}
