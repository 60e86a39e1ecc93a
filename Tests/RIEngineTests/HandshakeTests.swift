// What a hub does with peers that are not authenticated, or misbehave once they are (SPEC 2.1,
// 2.2).

import RIBase
import RIControl
import RIRing
import RITLS
import RIWire
import Testing

@testable import RIEngine

struct HandshakeTests {
  @Test(arguments: ["silent", "half a record", "no line", "half a line"])
  func theHandshakeHasTenSeconds(what: String) throws {
    let world = try World(seed: 1)
    let hub = try world.startHub([world.allowedEdge([1001])])
    let behaviour: FakeEdge.Behaviour =
      switch what {
      case "silent": .silent
      case "half a record": .raw([22, 3, 1, 2, 0, 1])
      case "no line": .tls([])
      default: .tls([Array(world.greeting.dropLast(5))])
      }
    let fake = try world.fakeEdge(behaviour)
    world.run(for: .milliseconds(9_900))
    #expect(fake.end == nil && hub.shard.links.count == 1)
    #expect(hub.gate?.count == 1)
    world.run(for: .milliseconds(200))
    #expect(fake.end != nil)
    #expect(hub.shard.links.count == 0)
    #expect(hub.gate?.count == 0)
    let reports = hub.events.filter {
      if case .edgeRefused(_, .handshakeTimedOut, _) = $0.event { true } else { false }
    }
    #expect(reports.count == 1)
    hub.checkIdle("hub")
    try world.stopAll()
  }

  @Test func aFewBytesOfAConnectionWithoutTLSEndIt() throws {
    let world = try World(seed: 2)
    let hub = try world.startHub([world.allowedEdge([1001])])
    let fake = try world.fakeEdge(.raw(Array("GET / HTTP/1.1\r\n\r\n".utf8)))
    #expect(world.run(within: .seconds(1)) { fake.end != nil })
    hub.checkIdle("hub")
    #expect(hub.gate?.count == 0)
    try world.stopAll()
  }

  @Test func aRefusedEdgeIsToldAndGetsNoSecondLine() throws {
    let world = try World(seed: 3)
    let hub = try world.startHub([world.allowedEdge([1001])])
    let wrong = Array("EDGE edge-1 wrong\n".utf8)
    for said in [[wrong, world.greeting], [wrong + world.greeting], [wrong, wrong, wrong]] {
      let fake = try world.fakeEdge(.tls(said))
      #expect(world.run(within: .seconds(1)) { fake.end != nil })
      #expect(String(decoding: fake.plaintext, as: UTF8.self) == "{\"error\":\"unauthorized\"}\n")
    }
    #expect(hub.events.allSatisfy { if case .edgeConnected = $0.event { false } else { true } })
    #expect(hub.gate?.count == 0)
    hub.checkIdle("hub")
    try world.stopAll()
  }

  @Test func malformedLinesAndFramesEndTheLink() throws {
    let world = try World(seed: 4)
    let hub = try world.startHub([world.allowedEdge([1001])])
    let bad: [[[UInt8]]] = [
      [Array("HELLO\n".utf8)],
      [[UInt8](repeating: 65, count: 5_000)],
      // A frame in the wrong direction, one of a stream on id 0, an OPEN of a live id.
      [world.greeting + [0, 0, 0, 1, 4, 0, 0, 0, 0]],
      [world.greeting, [0, 0, 0, 0, 2, 0, 0, 0, 1, 1]],
      [world.greeting, world.open(1) + world.open(1)],
    ]
    for pieces in bad {
      let fake = try world.fakeEdge(.tls(pieces))
      #expect(world.run(within: .seconds(1)) { fake.end != nil }, "\(pieces)")
    }
    let violations = hub.events.count {
      if case .edgeDisconnected(_, _, .protocolViolation) = $0.event { true } else { false }
    }
    #expect(violations == 3)
    #expect(hub.gate?.count == 0)
    world.run(for: .seconds(11))
    hub.checkIdle("hub")
    try world.stopAll()
  }

  @Test func streamsTheHubRefusesAreReset() throws {
    let world = try World(seed: 5)
    let hub = try world.startHub([world.allowedEdge([1001])])
    let fake = try world.fakeEdge(.tls([world.greeting]))
    world.run(for: .seconds(1))
    // A port of nobody's, and no header at all.
    fake.say(world.open(1, port: 2000) + [0, 0, 0, 3, 1, 0, 0, 0, 2, 65, 65])
    world.run(for: .seconds(1))
    let frames = fake.plaintext.drop { $0 != 0x0A }.dropFirst()
    #expect(
      Array(frames) == [0, 0, 0, 1, 5, 0, 0, 0, 1, 1] + [0, 0, 0, 3, 5, 0, 0, 0, 1, 1])
    #expect(hub.shard.counters.streamsRefused == 2)
    hub.checkIdle("hub")
    try world.stopAll()
  }

  @Test func anAnswerLongerThanABatchArrives() throws {
    let world = try World(seed: 6)
    var allowed = world.allowedEdge([1001])
    let filler = JSONValue.array((0..<40_000).map { .string("10.1.\($0 / 256).\($0 % 256)") })
    allowed.firewallConfig = .object(["blockedIps": filler])
    let hub = try world.startHub([allowed])
    let edge = try world.startEdge()
    #expect(
      world.run(within: .seconds(5)) { edge.readyLinks.count == 1 && hub.readyLinks.count == 1 })
    #expect(edge.shard.listeners.count == 1)
    try world.stopAll()
  }

  @Test func theGateLimitsHandshakesBySourceAndInAll() throws {
    let world = try World(seed: 7)
    let hub = try world.startHub([world.allowedEdge([1001])])
    let other = world.kernel.makeHost([IPAddress(v4: 0x0A00_0801)])
    let third = world.kernel.makeHost([IPAddress(v4: 0x0A00_0802)])
    var fakes: [[FakeEdge]] = []
    for host in [world.clientHost, other, third] {
      fakes.append(try (0..<600).map { _ in try world.fakeEdge(.silent, on: host) })
    }
    world.run(for: .seconds(1))
    let held = fakes.map { $0.count { $0.end == nil } }
    #expect(held == [Limits.handshakesPerSourceMax, Limits.handshakesPerSourceMax, 0])
    #expect(hub.shard.links.count == Limits.handshakesMax)
    #expect(hub.shard.counters.handshakesRefused == UInt64(1_800 - Limits.handshakesMax))
    // Idle handshakes hold no buffers.
    for pool in 0..<hub.shard.store.poolCount {
      #expect(hub.shard.store[PoolID(UInt8(pool))].usedCount == 0)
    }
    world.run(for: .seconds(10))
    #expect(hub.gate?.count == 0 && hub.shard.links.count == 0)
    let edge = try world.startEdge()
    #expect(world.run(within: .seconds(1)) { edge.readyLinks.count == 1 })
    try world.stopAll()
  }
}

extension World {
  /// An OPEN frame.
  func open(_ stream: UInt8, port: Int = 1001) -> [UInt8] {
    let line = Array("PROXY TCP4 10.0.0.1 10.0.1.1 5000 \(port)\r\n".utf8)
    return [0, 0, 0, stream, 1, 0, 0, 0, UInt8(line.count)] + line
  }
}
