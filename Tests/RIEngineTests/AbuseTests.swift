// What strangers, edges and hubs that mean no good can reach: docs/THREAT_MODEL.md names these.

import RIBase
import RIControl
import RIRing
import RIWire
import Testing

@testable import RIEngine

struct AbuseTests {
  // MARK: Guessing

  private static let wrong = Array("EDGE edge-1 wrong\n".utf8)

  @Test func whoGuessesSecretsWaitsForEachAnswerAndAnHonestEdgeDoesNot() throws {
    let world = try World(seed: 1)
    let hub = try world.startHub([world.allowedEdge([1001])])
    for _ in 0..<Limits.guessesFree {
      let fake = try world.fakeEdge(.tls([Self.wrong]))
      #expect(world.run(within: .milliseconds(500)) { fake.end != nil })
    }
    let guesser = try world.fakeEdge(.tls([Self.wrong]))
    #expect(!world.run(within: .milliseconds(900)) { guesser.end != nil })
    // The same address with the right secret.
    let honest = try world.fakeEdge(.tls([world.greeting]))
    #expect(world.run(within: .milliseconds(90)) { !hub.readyLinks.isEmpty })
    #expect(world.run(within: .milliseconds(500)) { guesser.end != nil })
    #expect(guesser.line == #"{"error":"unauthorized"}"#)
    #expect(honest.end == nil)
    world.run(for: .seconds(1))
    #expect(hub.gate?.count == 0)
    try world.stopAll()
  }

  /// No answer is one too: so a guess costs its place, however soon the guesser hangs up.
  @Test func aGuessKeepsItsPlaceUntilItsAnswerIsDue() throws {
    let world = try World(seed: 2)
    let hub = try world.startHub([world.allowedEdge([1001])])
    for _ in 0..<Limits.guessesFree + 3 { _ = try world.fakeEdge(.tls([Self.wrong])) }
    #expect(world.run(within: .milliseconds(500)) { world.fakes.count { $0.end != nil } == 8 })
    for fake in world.fakes { fake.hangUp() }
    world.run(for: .milliseconds(400))
    #expect(hub.gate?.count == 3)
    world.run(for: .seconds(10))
    #expect(hub.gate?.count == 0)
    #expect(hub.shard.links.count == 0)
    let refused = hub.events.count {
      if case .edgeRefused(_, .refused, _) = $0.event { true } else { false }
    }
    #expect(refused == Limits.guessesFree + 3)
    hub.checkIdle("hub")
    try world.stopAll()
  }

  // MARK: Reflection

  /// An edge's UDP ports answer nobody before the target has: neither at an open, nor when a
  /// session is refused, ends, or its target is not there.
  @Test(arguments: [true, false])
  func nothingGoesToADatagramsSourceBeforeTheTargetHasAnswered(isTargetThere: Bool) throws {
    let world = try World(seed: 3)
    let (hub, edge) = try world.startBoth([1001], udp: [53]) { $0.udpIdleSeconds = 2 }
    let store = BufferStore([BufferPoolShape(count: 64, bytes: 70 * 1024)])
    let ring = SimulatedRing(kernel: world.kernel, host: world.clientHost, store: store)
    var answers = 0
    let socket = try ring.bindDatagram(
      to: SocketAddress(World.clientIP, 4_000), reusePort: false)
    ring.receiveDatagrams(on: socket, into: PoolID(0), token: Token(1))
    world.others.append(
      SimulatedTurn(ring) {
        for completion in ring.wait(until: nil) where completion.token == Token(1) {
          if completion.slice != nil { answers += 1 }
        }
      })
    let silent = SimulatedRing(kernel: world.kernel, host: world.targetHost, store: store)
    if isTargetThere {
      _ = try silent.bindDatagram(to: SocketAddress(World.targetIP, 53), reusePort: false)
    }
    for size in [0, 1, 40, 1_200] {
      guard let buffer = store[PoolID(0)].take() else { return }
      let slice = Slice(buffer: buffer, offset: 0, count: size)
      ring.sendDatagram(
        slice, segmentBytes: 0, on: socket, to: SocketAddress(World.edgeIP, 53), from: nil,
        token: Token(2))
      store.release(buffer)
      world.run(for: .milliseconds(500))
    }
    // The port goes, the sessions idle away, the hub goes.
    try hub.send(.updateAllowedEdges([world.allowedEdge([1001])]))
    world.run(for: .seconds(4))
    #expect(edge.shard.counters.sessionsOpened > 0)
    #expect(answers == 0)
    try world.stopAll()
  }

  // MARK: A hostile hub

  @Test func absurdPortListsAreOpenedAsFarAsTheyGoAndASaneOneHeals() throws {
    let world = try World(seed: 4)
    try world.targets.serve(1001) { _ in PeerPlan() }
    let (hub, edge) = try world.startBoth([1001])
    let all = (1...65_535).map { Port($0) }
    try hub.send(.updateAllowedEdges([world.allowedEdge(all, udp: all)]))
    world.run(for: .seconds(20))
    #expect(edge.shard.listeners.count <= Limits.listenersMax)
    #expect(edge.readyLinks.count == 1)
    let failures = edge.events.count { if case .listenFailed = $0.event { true } else { false } }
    #expect(failures > 0 && failures <= Limits.listenFailuresReported)
    try hub.send(.updateAllowedEdges([world.allowedEdge([1001])]))
    #expect(world.run(within: .seconds(10)) { edge.shard.listeners.count == 1 })
    let client = try world.connect(1001, PeerPlan(sends: 10_000))
    world.run(for: .seconds(1))
    #expect(client.failure == nil)
    try world.stopAll()
  }

  // MARK: Reconnects

  @Test func reconnectsOfAnEdgeLeaveNothingBehind() throws {
    let world = try World(seed: 5)
    let hub = try world.startHub([world.allowedEdge([1001])])
    for round in 0..<200 {
      let fake = try world.fakeEdge(.tls([world.greeting + world.open(1)]))
      #expect(world.run(within: .seconds(1)) { hub.readyLinks.count == 1 }, "round \(round)")
      if round % 2 == 0 { fake.hangUp() }
      if round % 20 == 19 {
        world.run(for: .milliseconds(100))
        world.fakes.removeAll { $0.end != nil }
      }
    }
    #expect(hub.shard.links.count <= 2)
    for fake in world.fakes { fake.hangUp() }
    world.run(for: .seconds(1))
    #expect(hub.shard.links.count == 0)
    hub.checkIdle("hub")
    try world.stopAll()
  }
}
