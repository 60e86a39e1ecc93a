// UDP sessions through a hub and an edge: what clients and targets see of them.

import RIBase
import RIControl
import RIRing
import RIWire
import Testing

@testable import RIEngine

struct SessionTests {
  static let dns: Port = 5_300

  /// The borders of frames, records, buffers and datagrams.
  static let sizes = [
    0, 1, 7, 8, 511, 512, 513, 1_200, 1_472, 2_047, 2_048, 2_049, 8_192, 16_384, 32_000, 65_478,
    65_479, 65_480, 65_506, 65_507,
  ]

  // MARK: Bytes

  @Test(arguments: UDPProxyHeader.allCases, [World.edgeIP, World.edgeIP2, World.edgeIP6])
  func datagramsOfAllSizesComeBackWhole(header: UDPProxyHeader, at ip: IPAddress) throws {
    let world = try World(seed: 1)
    let (clients, targets) = world.datagramPeers()
    let target = try targets.serve(
      Self.dns, on: ip.family == .v4 ? .anyV4 : .anyV6, header: header)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns]) {
      $0.targetHost = "\(ip.family == .v4 ? World.targetIP : World.targetIP6)"
      $0.targets = [TargetRule(port: Self.dns, transport: .udp, udpProxyHeader: header)]
    } edge: {
      $0.bindAddress = nil
    }
    let all = try (0..<3).map { _ in try clients.connect(to: SocketAddress(ip, Self.dns)) }
    for size in Self.sizes {
      for client in all { clients.send(size, from: client) }
      world.run(for: .milliseconds(5))
    }
    // A header takes its place: 28 bytes for IPv4, 52 for IPv6.
    let longest = header == .every ? 65_507 - (ip.family == .v4 ? 28 : 52) : 65_507
    let passing = Self.sizes.count { $0 <= longest }
    for client in all {
      #expect(client.answers == passing)
      #expect(client.echoed.values.allSatisfy { $0 == 1 })
    }
    #expect(clients.faults.isEmpty && targets.faults.isEmpty, "\(clients.faults + targets.faults)")
    #expect(target.unknown == 0)
    #expect(hub.shard.counters.drops.tooLong == UInt64(3 * (Self.sizes.count - passing)))
    #expect(hub.shard.sessions.count == 3 && edge.shard.sessions.count == 3)
    try world.endSessions()
    try world.stopAll()
  }

  @Test func aSessionIsWhereItsClientIsAndWhatItsHeaderSays() throws {
    let world = try World(seed: 2)
    let (clients, targets) = world.datagramPeers()
    let target = try targets.serve(Self.dns)
    _ = try world.startBoth([], udp: [Self.dns])
    for _ in 0..<20 {
      let client = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
      for _ in 0..<3 { clients.send(100, from: client) }
    }
    world.run(for: .milliseconds(20))
    #expect(Set(target.clients.values) == Set(clients.clients.map(\.address)))
    #expect(target.clients.count == 20 && target.arrivedCount == 60)
    #expect(clients.clients.allSatisfy { $0.answers == 3 })
    // What the target says unasked reaches each of them.
    targets.push(50, from: target)
    world.run(for: .milliseconds(20))
    #expect(clients.clients.allSatisfy { $0.pushed == 1 })
    try world.endSessions()
    try world.stopAll()
  }

  /// IPv6 has room for 20 bytes more than the tunnel.
  @Test func whatIsLongerThanTheTunnelTakesIsDropped() throws {
    let world = try World(seed: 10)
    let (clients, targets) = world.datagramPeers()
    let target = try targets.serve(Self.dns, on: .anyV6, header: .none)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns]) {
      $0.targetHost = "\(World.targetIP6)"
      $0.targets = [TargetRule(port: Self.dns, transport: .udp, udpProxyHeader: .none)]
    } edge: {
      $0.bindAddress = nil
    }
    let client = try clients.connect(to: SocketAddress(World.edgeIP6, Self.dns))
    for size in [65_508, 65_527, 10, 65_507] { clients.send(size, from: client) }
    world.run(for: .milliseconds(20))
    #expect(edge.shard.counters.drops.tooLong == 2 && target.arrivedCount == 2)
    #expect(client.echoed.keys.sorted() == [2, 3])
    targets.push(65_527, to: try #require(target.sessions.first), from: target)
    world.run(for: .milliseconds(20))
    #expect(hub.shard.counters.drops.tooLong == 1 && client.pushed == 0)
    try world.endSessions()
    try world.stopAll()
  }

  @Test func aPortInUseIsTakenOnceItIsFree() throws {
    let world = try World(seed: 11)
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(Self.dns)
    let squatter = DatagramPeers(world.kernel, world.edgeHost)
    world.datagrams.append(squatter)
    let squat = try squatter.serve(Self.dns)
    let (_, edge) = try world.startBoth([], udp: [Self.dns])
    world.run(for: .seconds(12))
    let failures = edge.events.count {
      if case .listenFailed(.udp, _, _) = $0.event { true } else { false }
    }
    #expect(failures == 1 && edge.shard.listeners.count == 0)
    squatter.stopServing(squat)
    world.run(for: .seconds(6))
    #expect(edge.shard.listeners.count == 1)
    let client = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    clients.send(10, from: client)
    world.run(for: .milliseconds(20))
    #expect(client.answers == 1)
    try world.endSessions()
    try world.stopAll()
  }

  // MARK: The end

  @Test func anIdleSessionEndsAtBothEndsAndABusyOneDoesNot() throws {
    let world = try World(seed: 3)
    let (clients, targets) = world.datagramPeers()
    let target = try targets.serve(Self.dns)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns])
    let idle = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    let busy = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    clients.send(10, from: idle)
    for _ in 0..<12 {
      clients.send(10, from: busy)
      world.run(for: .seconds(5))
    }
    #expect(hub.shard.sessions.count == 2 && edge.shard.sessions.count == 2)
    clients.send(10, from: busy)
    world.run(for: .seconds(2))
    #expect(hub.shard.sessions.count == 1 && edge.shard.sessions.count == 1)
    #expect(busy.answers == 13)
    // Who comes back has a new session.
    clients.send(10, from: idle)
    world.run(for: .milliseconds(20))
    #expect(idle.answers == 2 && target.clients.count == 3)
    #expect(clients.faults.isEmpty && targets.faults.isEmpty)
    try world.endSessions()
    try world.stopAll()
  }

  @Test(arguments: ["hub", "edge"])
  func theShorterTimeOutEndsASessionAtBothEnds(who: String) throws {
    let world = try World(seed: 4)
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(Self.dns)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns]) {
      if who == "hub" { $0.udpIdleSeconds = 2 }
    } edge: {
      if who == "edge" { $0.udpIdleSeconds = 2 }
    }
    clients.send(10, from: try clients.connect(to: SocketAddress(World.edgeIP, Self.dns)))
    world.run(for: .milliseconds(1_900))
    #expect(hub.shard.sessions.count == 1 && edge.shard.sessions.count == 1)
    world.run(for: .milliseconds(1_200))
    #expect(hub.shard.sessions.count == 0 && edge.shard.sessions.count == 0)
    world.settle()
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    try world.stopAll()
  }

  @Test func aTargetThatRefusesEndsTheSessionAndTheNextDatagramOpensAnother() throws {
    let world = try World(seed: 5)
    let (clients, targets) = world.datagramPeers()
    let (hub, edge) = try world.startBoth([], udp: [Self.dns])
    let client = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    for _ in 0..<3 {
      clients.send(10, from: client)
      world.run(for: .seconds(1))
      #expect(hub.shard.sessions.count == 0 && edge.shard.sessions.count == 0)
    }
    #expect(hub.shard.counters.sessionsOpened == 3 && edge.shard.counters.sessionsOpened == 3)
    world.settle()
    hub.checkIdle("hub")
    edge.checkIdle("edge")
    let target = try targets.serve(Self.dns)
    clients.send(10, from: client)
    world.run(for: .milliseconds(20))
    #expect(client.answers == 1)
    // It goes away in the middle of the session, and comes back.
    targets.stopServing(target)
    clients.send(10, from: client)
    clients.send(10, from: client)
    world.run(for: .milliseconds(20))
    #expect(hub.shard.sessions.count == 0 && edge.shard.sessions.count == 0)
    _ = try targets.serve(Self.dns)
    clients.send(10, from: client)
    world.run(for: .milliseconds(20))
    #expect(client.answers == 2)
    try world.endSessions()
    try world.stopAll()
  }

  @Test func aLostTunnelEndsItsSessionsAndTheNextOneServesThem() throws {
    let world = try World(seed: 6)
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(Self.dns)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns])
    let all = try (0..<50).map { _ in
      try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    }
    for client in all { clients.send(100, from: client) }
    world.run(for: .milliseconds(20))
    #expect(hub.shard.sessions.count == 50)
    // A usurper takes the edge's place for a moment.
    _ = try world.fakeEdge(.tls([world.greeting]))
    #expect(
      world.run(within: .seconds(1)) {
        hub.shard.sessions.count == 0 && edge.shard.sessions.count == 0
      })
    // Without a tunnel datagrams are dropped, not held.
    for client in all { clients.send(100, from: client) }
    world.run(for: .milliseconds(5))
    #expect(edge.shard.counters.drops.noTunnel == 50)
    #expect(world.run(within: .seconds(5)) { edge.readyLinks.count == 1 })
    world.run(for: .milliseconds(10))
    for client in all { clients.send(100, from: client) }
    world.run(for: .milliseconds(20))
    #expect(all.allSatisfy { $0.answers == 2 })
    try world.endSessions()
    try world.stopAll()
  }

  @Test func aPortThatGoesTakesItsSessionsAndLeavesTheOthers() throws {
    let world = try World(seed: 7)
    let (clients, targets) = world.datagramPeers()
    _ = try targets.serve(Self.dns)
    _ = try targets.serve(Self.dns + 1)
    let (hub, edge) = try world.startBoth([], udp: [Self.dns, Self.dns + 1])
    let gone = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns))
    let stays = try clients.connect(to: SocketAddress(World.edgeIP, Self.dns + 1))
    for client in [gone, stays] { clients.send(10, from: client) }
    world.run(for: .milliseconds(20))
    try hub.send(.updateAllowedEdges([world.allowedEdge([], udp: [Self.dns + 1])]))
    world.run(for: .milliseconds(20))
    #expect(hub.shard.sessions.count == 1 && edge.shard.sessions.count == 1)
    #expect(edge.shard.listeners.count == 1)
    for client in [gone, stays] { clients.send(10, from: client) }
    world.run(for: .milliseconds(20))
    #expect(gone.answers == 1 && stays.answers == 2)
    // And back again.
    try hub.send(.updateAllowedEdges([world.allowedEdge([], udp: [Self.dns, Self.dns + 1])]))
    world.run(for: .milliseconds(20))
    clients.send(10, from: gone)
    world.run(for: .milliseconds(20))
    #expect(gone.answers == 2)
    try world.endSessions()
    try world.stopAll()
  }

  /// The hub closes a session's socket in the tick in which its last datagrams arrive, and opens
  /// another of the same number: what was meant for the one must not go to the other.
  @Test func theLastDatagramsOfASessionGoToItsOwnTarget() throws {
    let world = try World(seed: 8)
    let targets = DatagramPeers(world.kernel, world.targetHost)
    world.datagrams.append(targets)
    let ports = [Self.dns, Self.dns + 1]
    let (one, other) = (
      try targets.serve(ports[0], header: .none, echoes: false),
      try targets.serve(ports[1], header: .none, echoes: false)
    )
    let hub = try world.startHub([world.allowedEdge([], udp: ports)]) {
      $0.targets = ports.map { TargetRule(port: $0, transport: .udp, udpProxyHeader: .none) }
    }
    let edge = try world.fakeEdge(.tls([world.greeting]))
    world.run(for: .milliseconds(20))
    func open(_ id: UInt32, _ port: Port) -> [UInt8] {
      let header = ProxyHeader(
        source: SocketAddress(IPAddress(v4: id), 7), destination: SocketAddress(.loopbackV4, port))
      return Frames.udpOpen(id, header)
    }
    for round in UInt32(0)..<50 {
      let id = 1 + 2 * round
      edge.say(
        open(id, ports[0])
          + Frames.udpData(id, DatagramPeers.content(1, Int(round), 100)) + Frames.udpClose(id)
          + open(id + 1, ports[1])
          + Frames.udpData(id + 1, DatagramPeers.content(2, Int(round), 100))
          + Frames.udpClose(id + 1))
      world.run(for: .milliseconds(1))
    }
    #expect(one.arrived.keys.sorted() == [1] && one.arrivedCount == 50)
    #expect(other.arrived.keys.sorted() == [2] && other.arrivedCount == 50)
    #expect(targets.faults.isEmpty && hub.shard.sessions.count == 0)
    hub.checkIdle("hub")
    try world.stopAll()
  }

  // MARK: Refusals

  @Test func theHubRefusesWhatIsNotTheEdges() throws {
    let world = try World(seed: 9)
    let (hub, edge) = (
      try world.startHub([world.allowedEdge([80], udp: [Self.dns])]),
      try world.fakeEdge(.tls([world.greeting]))
    )
    world.run(for: .milliseconds(20))
    let source = SocketAddress(IPAddress(v4: 9), 9)
    let before = edge.plaintext.count
    for (id, port) in [(UInt32(1), Port(80)), (2, 53), (3, 0)] {
      let header = ProxyHeader(source: source, destination: SocketAddress(.loopbackV4, port))
      edge.say(Frames.udpOpen(id, header) + Frames.udpData(id, [1]))
    }
    edge.say(Frames.frame(4, 0x0B, Array("PROXY TCP4".utf8)))
    world.run(for: .milliseconds(20))
    #expect(
      Array(edge.plaintext.dropFirst(before)) == (1...4).flatMap { Frames.udpClose(UInt32($0)) })
    #expect(hub.shard.counters.sessionsRefused == 4 && hub.shard.sessions.count == 0)
    #expect(edge.end == nil)
    try world.stopAll()
  }
}

/// Frames of SPEC 2.2 by hand.
enum Frames {
  static func frame(_ stream: UInt32, _ type: UInt8, _ payload: [UInt8] = []) -> [UInt8] {
    let count = UInt32(payload.count)
    func word(_ value: UInt32) -> [UInt8] {
      [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }
    return word(stream) + [type] + word(count) + payload
  }

  static func udpOpen(_ stream: UInt32, _ header: ProxyHeader) -> [UInt8] {
    frame(stream, 0x0B, header.encodedV2(transport: .datagram))
  }
  static func udpData(_ stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
    frame(stream, 0x0C, payload)
  }
  static func udpClose(_ stream: UInt32) -> [UInt8] { frame(stream, 0x0E) }
}

extension World {
  /// Lets all sessions time out, and checks that nothing is left of them.
  func endSessions() throws {
    let ended = run(within: .seconds(64)) {
      engines.allSatisfy { $0.hasEnded || $0.shard.sessions.count == 0 }
    }
    #expect(ended, "sessions did not end")
    settle()
    for (index, engine) in engines.enumerated() where !engine.hasEnded {
      engine.checkIdle("engine \(index)")
    }
    for peers in datagrams { #expect(peers.heldBuffers == 0) }
  }
}
