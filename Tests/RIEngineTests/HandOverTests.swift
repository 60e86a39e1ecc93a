// A hub with several shards whose edges come from another address than before: the kernel gives
// their packets to whatever shard it likes, and that one hands them to the one that has the link.

import RIBase
import RIRing
import Testing

@testable import RIEngine

struct HandOverTests {
  private static func holding(_ bytes: Int) -> PeerPlan {
    var plan = PeerPlan()
    plan.sends = bytes
    plan.end = .hold
    return plan
  }

  /// A hub of two shards and an edge behind a NAT that chooses its port anew each time.
  private final class Scene {
    let world: World
    let hubs: [EngineUnderTest]
    let edge: EngineUnderTest
    private var port: Port = 50_000

    init(seed: UInt64, faults: SimulatedFaults = .none, ports: [Port] = [1001]) throws {
      world = try World(seed: seed, faults: faults)
      try world.allowQUIC()
      world.transportMode = .quic
      hubs = try world.startHubShards(2, [world.allowedEdge(ports)])
      edge = try world.startEdge()
      try #require(world.run(within: .seconds(5)) { edge.readyLinks.count == 1 })
      world.run(for: .milliseconds(100))
    }

    /// The shard that has the link, and the other.
    var owner: Int { hubs[0].readyLinks.isEmpty ? 1 : 0 }

    /// From now on the edge's packets come from another port, which the kernel takes to the shard
    /// that has the link or to the other.
    func rebind(toOwner: Bool) throws {
      let link = try #require(edge.readyLinks.first)
      guard case .quic(let quic) = link.transport else { throw RingError(call: "quic", code: 0) }
      // As the simulated kernel chooses: by the port.
      let shard = toOwner ? owner : 1 - owner
      repeat { port += 1 } while Int(port) % 2 != shard
      world.kernel.translations[quic.tunnel.local] = SocketAddress(World.edgeIP, port)
    }

    var handedOver: UInt64 {
      hubs.reduce(0) { sum, hub in
        hub.shard.packetPorts.ids.reduce(sum) {
          $0 + hub.shard.packetPorts[$1].endpoint.counters.handedOver
        }
      }
    }
  }

  @Test func packetsOfAMovedEdgeReachTheirLink() throws {
    let scene = try Scene(seed: 1)
    let world = scene.world
    try world.targets.serve(1001) { _ in Self.holding(1_000_000) }
    let client = try world.connect(1001, Self.holding(0))
    #expect(world.run(within: .seconds(2)) { client.received > 100_000 })
    let before = scene.handedOver
    try scene.rebind(toOwner: false)
    world.clients.send(300_000, on: client)
    #expect(world.run(within: .seconds(20)) { client.received == 1_000_000 })
    world.clients.finish(client)
    world.run(for: .seconds(2))
    #expect(scene.handedOver > before)
    #expect(scene.hubs.map(\.readyLinks.count).reduce(0, +) == 1)
    #expect(scene.edge.events.allSatisfy { if case .tunnelDown = $0.event { false } else { true } })
    #expect(
      scene.hubs[scene.owner].events.contains {
        if case .edgeMoved = $0.event { true } else { false }
      })
    StreamChecks(world).checkStreams()
    try world.stopAll()
  }

  /// To and fro, every now and then in the middle of transfers both ways, with packets lost.
  @Test(arguments: 20..<23)
  func movesAgainAndAgain(seed: UInt64) throws {
    var faults = SimulatedFaults.none
    faults.datagramLoss = 0.01
    let scene = try Scene(seed: seed, faults: faults)
    let world = scene.world
    try world.targets.serve(1001) { _ in Self.holding(400_000) }
    let clients = try (0..<5).map { _ in try world.connect(1001, Self.holding(100_000)) }
    for turn in 0..<6 {
      world.run(for: .milliseconds(20))
      try scene.rebind(toOwner: turn % 3 == 2)
      // A small exchange goes on at once and not at the next probe.
      let small = try world.connect(1001, Self.holding(10))
      #expect(
        world.run(within: .seconds(2)) { small.received > 0 }, "seed \(seed), turn \(turn)")
      world.clients.finish(small)
    }
    #expect(
      world.run(within: .seconds(60)) { clients.allSatisfy { $0.received == 400_000 } },
      "seed \(seed): \(clients.map(\.received))")
    for client in clients { world.clients.finish(client) }
    world.run(for: .seconds(3))
    #expect(scene.handedOver > 0)
    #expect(scene.edge.events.allSatisfy { if case .tunnelDown = $0.event { false } else { true } })
    StreamChecks(world).checkStreams()
    try world.stopAll()
  }

  /// The port changes between the first packet and the second of a handshake.
  @Test func aHandshakeThatMovesIsCompleted() throws {
    let world = try World(seed: 3)
    try world.allowQUIC()
    world.transportMode = .quic
    _ = try world.startHubShards(2, [world.allowedEdge([1001])])
    let edge = try world.startEdge()
    var tunnel: Link?
    _ = world.run(within: .seconds(1)) {
      tunnel = edge.shard.links.ids.first.map { edge.shard.links[$0] }
      return tunnel != nil
    }
    guard case .quic(let quic)? = tunnel?.transport else {
      Issue.record("no attempt over QUIC")
      return
    }
    let local = quic.tunnel.local
    world.run(for: .microseconds(10))
    world.kernel.translations[local] = SocketAddress(World.edgeIP, local.port ^ 1)
    #expect(world.run(within: .seconds(15)) { edge.readyLinks.count == 1 })
    try world.stopAll()
  }
}
