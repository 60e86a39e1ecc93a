// Whole hubs and edges on the simulated kernel, with their clients and targets, in virtual time.
//
//   clients ──▶ edge ══ tunnel ══▶ hub ──▶ targets      one host each

import RIBase
import RIControl
import RICrypto
import RIQUIC
import RIRing
import RITLS
import RIWire
import Testing

@testable import RIEngine

/// A shard of a hub or an edge with what it reported.
final class EngineUnderTest {
  let shard: Shard
  let ring: SimulatedRing
  private(set) var hasEnded = false
  private(set) var wasKilled = false
  private(set) var endedAt: Instant?
  /// Its process is stopped: it gets no turn.
  var isFrozen = false
  /// What it reported and when.
  var events: [(time: Instant, event: EngineEvent)] { log.events }
  private let log: Log

  private final class Log { var events: [(time: Instant, event: EngineEvent)] = [] }

  init(
    _ kernel: SimulatedKernel, _ host: SimulatedHost, _ role: Shard.Role,
    _ shapes: [BufferPoolShape], takesFaults: Bool, index: Int = 0
  ) throws {
    let store = BufferStore(shapes)
    let ring = SimulatedRing(kernel: kernel, host: host, store: store)
    ring.takesFaults = takesFaults
    let waker = ring.waker
    let log = Log()
    self.ring = ring
    self.log = log
    shard = Shard(
      index: index, ring: ring, role: role, mailbox: ShardMailbox(capacity: 64) { waker.wake() },
      report: { log.events.append((kernel.now, $0)) })
    try shard.start()
  }

  var turn: SimulatedTurn { SimulatedTurn(ring) { [unowned self] in tick() } }

  private func tick() {
    guard !hasEnded else { return }
    shard.tick(until: nil)
    guard shard.isStopped else { return }
    // As `Shard.run` does. Whatever it waits for then, it waits for alone.
    ring.passesTime = true
    shard.shutDown()
    hasEnded = true
    endedAt = ring.kernel.now
  }

  func send(_ command: ShardCommand) throws { try shard.mailbox.post(command) }

  /// Ends as a killed process does.
  func kill() {
    ring.kill()
    // A tunnel that is dropped with something in it traps: here it goes with its process.
    for id in shard.links.ids { shard.links[id].tunnel?.framed?.end() }
    for id in shard.packetPorts.ids { shard.packetPorts[id].endpoint.end() }
    hasEnded = true
    wasKilled = true
    endedAt = ring.kernel.now
  }

  var readyLinks: [Link] {
    shard.links.ids.map { shard.links[$0] }.filter { $0.phase == .ready }
  }
}

/// A simulated network with a hub and an edge.
final class World {
  static let edgeID = "edge-1"
  /// Made once.
  private static let fixture = Result {
    let identity = try TLSIdentity.load(certificatePEM: identityPEM, keyPEM: identityPEM)
    return (
      secret: try Secret("correct-horse-battery-staple"),
      tls: try TLSServerContext(identity: identity), identity: identity
    )
  }
  /// The hub's certificate and key, which protect nothing. Ed25519, as its signatures all have the
  /// same length: the length of a handshake must not differ from run to run.
  private static let identityPEM = """
    -----BEGIN PRIVATE KEY-----
    MC4CAQAwBQYDK2VwBCIEIF4LnyG3k5vU2pd0QJKgzDzbvZ8WWQiId1tmA4BFLIsQ
    -----END PRIVATE KEY-----
    -----BEGIN CERTIFICATE-----
    MIIBHzCB0qADAgECAgEBMAUGAytlcDAOMQwwCgYDVQQDDANodWIwIBcNMjYxMTI2
    MDYzNzE0WhgPMjEyNjExMDIwNjM3MTRaMA4xDDAKBgNVBAMMA2h1YjAqMAUGAytl
    cAMhAFXEXbLOOg7g2uohR/ozCmG+TJ8LzrKlec3arzKPcj2so1MwUTAdBgNVHQ4E
    FgQUkqwkAvK0YXK8p4S7+JHMMIkMqNkwHwYDVR0jBBgwFoAUkqwkAvK0YXK8p4S7
    +JHMMIkMqNkwDwYDVR0TAQH/BAUwAwEB/zAFBgMrZXADQQCVwaXnO0oL1dRN2Ewi
    vvQ2paAkGXUYk+nP7r8xUnoccsq4600cm+Xb3FmbRlSrGkZdP4N38GR672UvTQ0g
    hGoD
    -----END CERTIFICATE-----
    """
  static let clientIP = IPAddress(v4: 0x0A00_0001)
  static let edgeIP = IPAddress(v4: 0x0A00_0101)
  static let hubIP = IPAddress(v4: 0x0A00_0201)
  static let targetIP = IPAddress(v4: 0x0A00_0301)
  /// The edge's second address, and the hosts' IPv6 ones.
  static let edgeIP2 = IPAddress(v4: 0x0A00_0102)
  static func v6(_ host: UInt64) -> IPAddress { IPAddress(v6High: 0xFD00 << 48, low: host) }
  static let (clientIP6, edgeIP6, targetIP6) = (v6(1), v6(0x101), v6(0x301))

  let secret: Secret
  let tls: TLSServerContext
  /// Of new hubs: what they share for QUIC, if they take it.
  var quic: QUICServerContext?
  let kernel: SimulatedKernel
  let clientHost: SimulatedHost
  let edgeHost: SimulatedHost
  let hubHost: SimulatedHost
  let targetHost: SimulatedHost
  let clients: PeerRing
  let targets: PeerRing
  private(set) var engines: [EngineUnderTest] = []
  var shapes = ShardPool.shapes(memoryBudgetBytes: 200 << 20)
  /// Whether the rings of new engines have faults, and not the network alone.
  var takesFaults = false
  /// Clients and targets of UDP.
  var datagrams: [DatagramPeers] = []
  /// What new hubs offer and new edges know.
  var hubOffer = Extensions.all
  var edgeExtensions = Extensions.all
  /// Of new edges.
  var transportMode = TransportMode.tcpTls
  var firewall: EdgeFirewall?
  /// Hand-driven peers of the hub.
  var fakes: [FakeEdge] = []
  /// Whoever else has a ring on this network.
  var others: [SimulatedTurn] = []

  init(seed: UInt64, faults: SimulatedFaults = .none) throws {
    (secret, tls, _) = try Self.fixture.get()
    kernel = SimulatedKernel(seed: seed, faults: faults)
    clientHost = kernel.makeHost([Self.clientIP, Self.clientIP6])
    edgeHost = kernel.makeHost([Self.edgeIP, Self.edgeIP2, Self.edgeIP6])
    hubHost = kernel.makeHost([Self.hubIP, Self.v6(0x201)])
    targetHost = kernel.makeHost([Self.targetIP, Self.targetIP6])
    kernel.names["hub"] = [Self.hubIP]
    kernel.names["target"] = [Self.targetIP]
    clients = PeerRing(kernel, clientHost, seed: seed &+ 1)
    targets = PeerRing(kernel, targetHost, seed: seed &+ 2)
  }

  var now: Instant { kernel.now }

  /// New hubs take QUIC too; all of them have the secrets of one.
  func allowQUIC() throws {
    quic = try QUICServerContext(
      identity: try Self.fixture.get().identity, secret: [UInt8](repeating: 7, count: 32))
  }

  // MARK: Engines

  func allowedEdge(
    _ ports: [Port], udp: [Port] = [], id: String = edgeID, secret: Secret? = nil
  ) -> AllowedEdge {
    AllowedEdge(
      id: id, secret: secret ?? self.secret, listenPorts: ports, listenPortsUdp: udp)
  }

  func startHub(
    _ edges: [AllowedEdge], on host: SimulatedHost? = nil,
    _ change: (inout HubSettings) -> Void = { _ in }
  ) throws -> EngineUnderTest {
    var settings = HubSettings()
    settings.allowedEdges = edges
    settings.targetHost = "10.0.3.1"
    change(&settings)
    return try start(.hub(hubState(settings)), on: host ?? hubHost)
  }

  private func hubState(
    _ settings: HubSettings, shards: Int = 1,
    handOver: @escaping (Int, ForeignPackets) -> Void = { _, _ in },
    othersReplace: @escaping (Authentication) -> Void = { _ in }
  ) -> HubState {
    HubState(
      settings: settings, tls: tls, tunnelAddresses: [SocketAddress(.anyV4, 8443)],
      offer: hubOffer, quic: quic, shardCount: shards, handOver: handOver,
      othersReplace: othersReplace)
  }

  /// A hub of several shards, which tell each other what those of an engine do.
  func startHubShards(_ count: Int, _ edges: [AllowedEdge]) throws -> [EngineUnderTest] {
    var settings = HubSettings()
    settings.allowedEdges = edges
    settings.targetHost = "10.0.3.1"
    let shards = HubShards()
    for index in 0..<count {
      let state = hubState(
        settings, shards: count,
        handOver: { shards.tell($0, .packets($1)) },
        othersReplace: { authentication in
          for other in 0..<count where other != index {
            shards.tell(other, .edgeConnectedElsewhere(authentication))
          }
        })
      shards.all.append(try start(.hub(state), on: hubHost, index: index))
    }
    return shards.all
  }

  private final class HubShards {
    var all: [EngineUnderTest] = []

    func tell(_ index: Int, _ command: ShardCommand) { try? all[index].send(command) }
  }

  func startEdge(
    id: String = edgeID, secret: Secret? = nil, on host: SimulatedHost? = nil,
    _ change: (inout EdgeSettings) -> Void = { _ in }
  ) throws -> EngineUnderTest {
    var settings = EdgeSettings(hubHost: "hub", edgeID: id, secret: secret ?? self.secret)
    settings.trust = .insecure
    settings.bindAddress = .anyV4
    // Nobody is asked, unless a test wants it.
    settings.stunServer = ""
    settings.transportMode = transportMode
    change(&settings)
    let trust = try EdgeTrust(settings: settings, report: { _ in })
    let state = EdgeState(
      settings: settings, trust: trust, extensions: edgeExtensions, firewall: firewall)
    return try start(.edge(state), on: host ?? edgeHost)
  }

  private func start(
    _ role: Shard.Role, on host: SimulatedHost, index: Int = 0
  ) throws -> EngineUnderTest {
    let engine = try EngineUnderTest(
      kernel, host, role, shapes, takesFaults: takesFaults, index: index)
    engines.append(engine)
    return engine
  }

  /// A hub and an edge with a tunnel between them, and the edge listening on `ports`.
  func startBoth(
    _ ports: [Port], udp: [Port] = [], hub changeHub: (inout HubSettings) -> Void = { _ in },
    edge changeEdge: (inout EdgeSettings) -> Void = { _ in }
  ) throws -> (hub: EngineUnderTest, edge: EngineUnderTest) {
    let hub = try startHub([allowedEdge(ports, udp: udp)], changeHub)
    let edge = try startEdge(changeEdge)
    let isUp = run(within: .seconds(5)) {
      edge.readyLinks.count == 1 && hub.readyLinks.count == 1
    }
    try #require(isUp, "no tunnel: edge \(edge.events), hub \(hub.events)")
    return (hub, edge)
  }

  @discardableResult
  func connect(_ port: Port, _ plan: PeerPlan) throws -> PeerSocket {
    let peer = try clients.connect(to: SocketAddress(Self.edgeIP, port), plan)
    return peer
  }

  // MARK: Time

  private var turns: [SimulatedTurn] {
    engines.filter { !$0.hasEnded && !$0.isFrozen }.map(\.turn) + [clients.turn, targets.turn]
      + fakes.map(\.turn) + datagrams.map(\.turn) + others
  }

  func run(for span: Interval) {
    kernel.run(turns, until: kernel.now + span)
  }

  /// Lets what is under way come to its end, PING and PONG included.
  func settle() {
    run(for: .seconds(1))
    _ = run(within: .seconds(1)) {
      engines.allSatisfy { $0.readyLinks.allSatisfy { !$0.isSending && $0.tls?.carry == nil } }
    }
  }

  /// Whether `isDone` became true within `span`.
  @discardableResult
  func run(within span: Interval, until isDone: () -> Bool) -> Bool {
    kernel.run(turns, until: kernel.now + span, or: isDone)
  }
}

// MARK: Checks

/// Streams as their two ends have seen them.
struct StreamChecks {
  let world: World
  private var targetOf: [UInt64: PeerSocket] = [:]

  init(_ world: World) {
    self.world = world
    for peer in world.targets.sockets.values {
      if let key = peer.key { targetOf[key] = peer }
    }
  }

  /// Every byte once and in order; ends after all data; resets where, and only where, the other
  /// side broke off.
  func checkStreams() {
    for client in world.clients.sockets.values {
      #expect(client.isClosed, "client \(client.id) is still open")
      #expect(client.wrongAt == nil, "client \(client.id): wrong byte")
      guard let key = client.key, let target = targetOf[key] else {
        #expect(
          client.failure != nil || client.brokeOff, "client \(client.id) ended well, without target"
        )
        continue
      }
      check(client, target)
    }
    for target in world.targets.sockets.values {
      #expect(target.isClosed, "target of \(target.key ?? 0) is still open")
      #expect(target.wrongAt == nil, "target of \(target.key ?? 0): wrong byte")
    }
  }

  private func check(_ client: PeerSocket, _ target: PeerSocket) {
    for (reader, writer) in [(client, target), (target, client)] {
      let name = "\(reader.isClient ? "client" : "target") of stream \(reader.key ?? 0)"
      #expect(reader.received <= writer.offered, "\(name): more than was sent")
      if reader.sawEnd {
        #expect(!writer.brokeOff || writer.isFinished || isUntil(writer), "\(name): end, no reset")
        if !writer.brokeOff {
          #expect(reader.received == writer.sent, "\(name): the end came before all data")
        }
      }
      if reader.failure != nil {
        #expect(writer.brokeOff, "\(name): a reset that nobody made")
      } else if !reader.brokeOff {
        #expect(reader.sawEnd, "\(name): neither end nor reset")
      }
    }
  }

  private func isUntil(_ peer: PeerSocket) -> Bool {
    if case .until = peer.plan.reads { true } else { false }
  }
}

extension EngineUnderTest {
  /// What is left of streams: it should be no connection, no buffer, no slice, and no timer but
  /// those of links.
  var leftOvers: [String] {
    var left: [String] = []
    func count(_ what: String, _ count: Int) { if count != 0 { left.append("\(count) \(what)") } }
    count("connections", shard.connections.count)
    for index in 0..<shard.store.poolCount {
      // An endpoint fills the buffers of each of these two that it has begun.
      let begun = [ShardPool.quicReceive, ShardPool.quicHold].contains(PoolID(UInt8(index)))
      let used = shard.store[PoolID(UInt8(index))].usedCount
      count("buffers of pool \(index)", max(0, used - (begun ? shard.packetPorts.count : 0)))
    }
    count("slice nodes", shard.store.nodesInUse)
    for tunnel in readyLinks.compactMap(\.tunnel) {
      count("active streams", tunnel.activeStreams)
      count("streams held", tunnel.streamsHeld)
      count("bytes queued", tunnel.queuedBytes.total)
      count("tunnels with output", tunnel.hasOutput ? 1 : 0)
      count("active sessions", tunnel.activeSessions)
      count("sessions held", tunnel.sessionsHeld)
      count("datagram bytes queued", tunnel.datagramBytesQueued)
    }
    count("bytes of grown windows", shard.budget.grownBytes)
    let counters = shard.counters
    count(
      "connections miscounted", Int(counters.connectionsOpened) - Int(counters.connectionsClosed))
    count("sessions", shard.sessions.count + shard.sessions.sourceCount)
    count("sessions miscounted", Int(counters.sessionsOpened) - Int(counters.sessionsClosed))
    count("datagrams", (shard.outbox.isEmpty ? 0 : 1) + shard.pendingDatagrams.count)
    count("sends listed", shard.pendingSends.count)
    count("receives listed", shard.pendingReceives.count)
    count(
      "starved",
      shard.starvedConnections.count + shard.starvedLinks.count + shard.starvedReceivers.count)
    count("refusals", shard.refusals.count)
    count("handshakes waiting", shard.handshakeQueue.count + (shard.isAcceptPaused ? 1 : 0))
    if case .hub(let hub) = shard.role {
      count("handshakes", hub.gate.count + hub.keptPlaces.count)
      count("names looked up", hub.lookups.count)
      count("connections with addresses to try", hub.untried.count)
      count("datagrams held", hub.heldDatagrams.count + hub.heldCount)
    }
    if !hasEnded {
      count("timers", shard.timers.count - 1 - shard.links.count - dialTimers - stepTimers)
    }
    return left
  }

  func checkIdle(_ name: String) {
    // Patient sends keep their buffers until something ends the wait.
    ring.waker.wake()
    tick()
    let left = leftOvers
    #expect(left.isEmpty, "\(name): \(left)")
  }

  private var dialTimers: Int {
    guard case .edge(let edge) = shard.role else { return 0 }
    return [edge.dialTimer, edge.stun.timer, edge.fallbackTimer, edge.quicRetryTimer]
      .count { $0 != nil }
  }

  /// Memory that goes back to the system step by step.
  private var stepTimers: Int {
    (shard.isTrimming ? 1 : 0) + (shard.reliefTimer == nil ? 0 : 1)
      + shard.links.ids.count { shard.links[$0].heldBackTimer != nil }
  }

  /// What is left after a stop.
  var leftBehind: [String] {
    var left = leftOvers
    if !hasEnded { left.append("a shard that has not ended") }
    for (what, count) in [
      ("links", shard.links.count), ("listeners", shard.listeners.count),
      ("operations", ring.pendingCount),
    ] where count != 0 { left.append("\(count) \(what)") }
    return left
  }

  func checkEnded(_ name: String) {
    let left = leftBehind
    #expect(left.isEmpty, "\(name): \(left)")
  }
}

extension World {
  /// Stops both engines and checks that nothing is left.
  func stopAll() throws {
    for engine in engines where !engine.hasEnded { try engine.send(.stop) }
    let ended = run(within: .seconds(3)) { engines.allSatisfy(\.hasEnded) }
    #expect(ended)
    for (index, engine) in engines.enumerated() where !engine.wasKilled {
      engine.checkEnded("engine \(index)")
    }
  }
}
