// What hub and edge agree on, and that whoever knows nothing of it sees nothing of it (SPEC 5).

import RIBase
import RIControl
import RIRing
import RITunnel
import RIWire
import Testing

@testable import RIEngine

struct ExtensionTests {
  static let sets: [Extensions] = [[], .autoWindow, .drain, .all]

  @Test(arguments: sets, sets)
  func whatBothKnowIsInForce(offer: Extensions, known: Extensions) throws {
    let world = try World(seed: 1)
    world.hubOffer = offer
    world.edgeExtensions = known
    let (hub, edge) = try world.startBoth([1001])
    world.run(for: .seconds(1))
    for engine in [hub, edge] {
      let link = try #require(engine.readyLinks.first)
      #expect(link.extensions == offer.intersection(known).intersection(.framed))
      let usesAutoWindows = offer.intersection(known).contains(.autoWindow)
      #expect(link.tunnel?.framed?.usesAutoWindows == usesAutoWindows)
    }
    let frames = try #require(hub.readyLinks.first?.tunnel).counters.controlFramesReceived
    #expect((frames == 0) == offer.isDisjoint(with: known), "nothing in common: nothing said")
    try world.stopAll()
  }

  /// Hello comes first, however early clients come.
  @Test func autoWindowsAreInForceBeforeTheFirstStream() throws {
    let world = try World(
      seed: 2, faults: SimulatedFaults(delay: .milliseconds(20)...(.milliseconds(20))))
    try world.targets.serve(1001) { _ in PeerPlan() }
    let hub = try world.startHub([world.allowedEdge([1001])])
    let edge = try world.startEdge()
    #expect(world.run(within: .seconds(5)) { edge.shard.listeners.count == 1 })
    for _ in 0..<5 { try world.connect(1001, PeerPlan()) }
    #expect(world.run(within: .seconds(5)) { hub.shard.counters.connectionsOpened == 5 })
    #expect(hub.readyLinks.first?.tunnel?.framed?.usesAutoWindows == true)
    try world.stopAll()
  }

  @Test func anEdgeThatSaysNothingSeesNothingNew() throws {
    let world = try World(seed: 3)
    let hub = try world.startHub([world.allowedEdge([1001])])
    let fake = try world.fakeEdge(.tls([world.greeting]))
    world.run(for: .milliseconds(15_500))
    let offered =
      #"{"listenPorts":[1001],"listenPortsUdp":[],"stunIntervalSecs":300,"#
      + #""extensions":["autoWindow","drain"]}"#
    #expect(fake.line == offered)
    // One PING of 8 bytes, after 15 s.
    #expect(fake.frames == [0, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1])
    #expect(hub.readyLinks.first?.extensions == [])
    try world.stopAll()
  }

  @Test func aHubThatOffersNothingSpeaksAsEver() throws {
    let world = try World(seed: 4)
    world.hubOffer = []
    _ = try world.startHub([world.allowedEdge([1001])])
    let fake = try world.fakeEdge(.tls([world.greeting]))
    world.run(for: .seconds(1))
    #expect(fake.line == #"{"listenPorts":[1001],"listenPortsUdp":[],"stunIntervalSecs":300}"#)
    try world.stopAll()
  }

  @Test func whatWasNotOfferedIsPassedOver() throws {
    let world = try World(seed: 5)
    world.hubOffer = .drain
    let hub = try world.startHub([world.allowedEdge([1001])])
    let hello = world.hello(["autoWindow", "drain", "lanes"])
    let fake = try world.fakeEdge(.tls([world.greeting, hello]))
    world.run(for: .seconds(1))
    #expect(hub.readyLinks.first?.extensions == .drain)
    #expect(hub.readyLinks.first?.tunnel?.framed?.usesAutoWindows == false)
    #expect(fake.frames.isEmpty, "no PING before its time")
    try world.stopAll()
  }

  @Test func aLaterHelloChangesNoExtensions() throws {
    let world = try World(seed: 6)
    let hub = try world.startHub([world.allowedEdge([1001])])
    let first = world.hello(["drain"])
    let second = world.hello(["autoWindow"], draining: true)
    let fake = try world.fakeEdge(.tls([world.greeting, first, world.open(1), second]))
    world.run(for: .seconds(1))
    let link = try #require(hub.readyLinks.first)
    #expect(link.extensions == .drain && link.isDraining)
    #expect(link.tunnel?.framed?.usesAutoWindows == false)
    #expect(fake.end == nil)
    // Said twice, reported once.
    fake.say(second)
    world.run(for: .seconds(1))
    let reports = hub.events.count { if case .edgeDraining = $0.event { true } else { false } }
    #expect(reports == 1)
    try world.stopAll()
  }

  @Test(arguments: [(["drain"], true), (["lanes"], false)])
  func aFirstHelloBehindAnOpenEndsTheTunnelIfItWouldChangeAnything(
    names: [String], ends: Bool
  ) throws {
    let world = try World(seed: 7)
    let hub = try world.startHub([world.allowedEdge([1001])])
    let fake = try world.fakeEdge(
      .tls([world.greeting, world.open(1), world.hello(names)]))
    world.run(for: .seconds(1))
    #expect((fake.end != nil) == ends)
    let violations = hub.events.count {
      if case .edgeDisconnected(_, _, .protocolViolation(.malformed(.lateHello))) = $0.event {
        true
      } else {
        false
      }
    }
    #expect(violations == (ends ? 1 : 0))
    try world.stopAll()
  }

  // MARK: Round trips

  private static func delayed(_ milliseconds: Int64) -> SimulatedFaults {
    SimulatedFaults(delay: .milliseconds(milliseconds)...(.milliseconds(milliseconds)))
  }

  private static func path(_ engine: EngineUnderTest) -> Interval? {
    engine.readyLinks.first?.tunnel?.framed?.pathRoundTrip
  }

  @Test func bothEndsKnowThePathAtOnce() throws {
    let world = try World(seed: 8, faults: Self.delayed(20))
    let (hub, edge) = try world.startBoth([1001])
    for engine in [hub, edge] {
      #expect(Self.path(engine) == .milliseconds(40), "the kernel knows it from connecting")
    }
    // HELLO, PING, PONG, PING: two round trips.
    world.run(for: .milliseconds(90))
    for engine in [hub, edge] {
      let base = try #require(engine.readyLinks.first?.liveness?.baseRoundTrip)
      #expect(base >= .milliseconds(40) && base < .milliseconds(41))
      #expect(Self.path(engine) == base)
    }
    try world.stopAll()
  }

  @Test func withoutAutoWindowsPingsAreAsEver() throws {
    let world = try World(seed: 9, faults: Self.delayed(20))
    world.edgeExtensions = .drain
    let (hub, edge) = try world.startBoth([1001])
    world.run(for: .seconds(10))
    #expect(hub.readyLinks.first?.liveness?.roundTrip == nil)
    world.run(for: .seconds(10))
    #expect(hub.readyLinks.first?.liveness?.roundTrip != nil)
    #expect(edge.readyLinks.first?.liveness?.baseRoundTrip == nil)
    #expect(Self.path(edge) == .milliseconds(40))
    try world.stopAll()
  }

  @Test func thePathFollowsARouteThatGrows() throws {
    let world = try World(seed: 10, faults: Self.delayed(10))
    let (hub, edge) = try world.startBoth([1001])
    world.run(for: .seconds(1))
    world.kernel.faults = Self.delayed(50)
    world.run(for: .seconds(31))
    for engine in [hub, edge] {
      let link = try #require(engine.readyLinks.first)
      // The simulated kernel's minimum is what the route takes now.
      #expect(Self.path(engine) == .milliseconds(100))
      let base = try #require(link.liveness?.baseRoundTrip)
      #expect(base >= .milliseconds(20) && base < .milliseconds(21), "the minimum of a life")
    }
    world.kernel.faults = Self.delayed(5)
    world.run(for: .seconds(31))
    for engine in [hub, edge] {
      let path = try #require(Self.path(engine))
      #expect(path >= .milliseconds(10) && path < .milliseconds(11))
    }
    try world.stopAll()
  }
}

extension World {
  func hello(_ extensions: [String], draining: Bool = false) -> [UInt8] {
    let payload = HelloMessage(
      extensions: extensions, version: "test", draining: draining
    ).encodedFramePayload()
    return [0, 0, 0, 0, 0x10, 0, 0, 0, UInt8(payload.count)] + payload
  }
}

extension FakeEdge {
  /// What the hub said behind its line.
  var frames: [UInt8] { Array(plaintext.drop { $0 != 0x0A }.dropFirst()) }
}
