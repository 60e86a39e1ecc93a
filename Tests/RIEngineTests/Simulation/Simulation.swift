// Runs a scenario: starts hub and edges, lets clients come and acts happen at their times, waits
// for calm, and gathers whatever is not as it should be.

import RIBase
import RIControl
import RIRing
import RIWire

@testable import RIEngine

/// One run. Everything in it happens in virtual time and on the calling thread.
final class Simulation {
  /// A client that has come, and its place among the scenario's.
  struct Client {
    var index: Int
    var peer: PeerSocket
    var startedAt: Instant
  }

  /// What is done at a point in time: what the scenario says, and what follows from its acts.
  private enum Step {
    case client(Int)
    case act(ScenarioAct)
    case heal(edge: Int)
    case thaw(EngineUnderTest)
    case replace(EngineUnderTest, ScenarioAct.Engine)
    case restore(edge: Int)
    case push(edge: Int, [Port])
    case moreDescriptors(EngineUnderTest)
    case end(EngineUnderTest)
  }

  let scenario: Scenario
  let world: World
  private(set) var problems: [String] = []
  private(set) var clients: [Client] = []
  private(set) var turns = 0
  /// All engines that there were, by their place; the last is the present one.
  private(set) var hubs: [EngineUnderTest] = []
  private(set) var edges: [[EngineUnderTest]] = []
  /// What ports an edge was assigned later, and when, by edge.
  private(set) var portChanges: [[(at: Instant, ports: [Port])]]
  private(set) var resets: [(at: Instant, edge: Int)] = []
  /// Times at which an engine may refuse new streams, and only those.
  private(set) var hardTimes: [(from: Instant, to: Instant, place: ScenarioAct.Engine)] = []
  private(set) var drains: [(at: Instant, place: ScenarioAct.Engine, engine: EngineUnderTest)] = []

  private let edgeHosts: [SimulatedHost]
  private let twinHosts: [SimulatedHost]
  private var clientOfKey: [UInt64: Int] = [:]
  private var agenda: [(time: Instant, step: Step)] = []
  private var ports: [[Port]]
  /// Edges that are not allowed, and since when.
  private(set) var revoked: [Int: Instant] = [:]
  private var startedAt = Instant(nanoseconds: 0)
  private(set) var thawedAt = Instant(nanoseconds: 0)
  private var blackHoles: [Int]
  private let isVerbose: Bool

  /// Turns after which a run counts as one that never comes to rest.
  private static let turnsMax = 4_000_000
  /// Turns between two looks at what must always hold.
  private static let turnsBetweenChecks = 128

  init(_ scenario: Scenario, isVerbose: Bool = false) throws {
    self.scenario = scenario
    self.isVerbose = isVerbose
    world = try World(seed: scenario.seed, faults: scenario.network.faults)
    let world = world
    let count = scenario.edgeCount
    edgeHosts = (0..<count).map {
      $0 == 0 ? world.edgeHost : world.kernel.makeHost([Self.edgeIP($0)])
    }
    twinHosts = (0..<count).map { world.kernel.makeHost([IPAddress(v4: 0x0A00_0180 + UInt32($0))]) }
    ports = Array(repeating: ScenarioPort.assignedAtFirst, count: count)
    portChanges = Array(repeating: [], count: count)
    blackHoles = Array(repeating: 0, count: count)
    world.hubOffer = scenario.offer
    world.takesFaults = true
    world.shapes = scenario.pools.shapes(edges: count)
    world.kernel.sendBufferBytes = scenario.network.sendBufferBytes
    world.kernel.receiveBufferBytes = scenario.network.receiveBufferBytes
    try connectHosts()
  }

  static func edgeIP(_ edge: Int) -> IPAddress {
    edge == 0 ? World.edgeIP : IPAddress(v4: 0x0A00_0110 + UInt32(edge))
  }
  static func edgeID(_ edge: Int) -> String { "edge-\(edge + 1)" }
  private static let silentIP = IPAddress(v4: 0x0A00_0401)

  var hub: EngineUnderTest { hubs[hubs.count - 1] }
  func edge(_ edge: Int) -> EngineUnderTest { edges[edge][edges[edge].count - 1] }

  private func engine(_ place: ScenarioAct.Engine) -> EngineUnderTest {
    switch place {
    case .hub: hub
    case .edge(let edge): self.edge(edge)
    }
  }

  func note(_ problem: @autoclosure () -> String) {
    if problems.count < 10 { problems.append(problem()) }
  }

  private func tell(_ what: @autoclosure () -> String) {
    if isVerbose { print("\(world.now.microseconds) µs: \(what())") }
  }

  private func connectHosts() throws {
    let network = scenario.network
    let kernel = world.kernel
    for (edge, host) in edgeHosts.enumerated() {
      kernel.setPath(network.clientPath, between: world.clientHost, host)
      kernel.setPath(network.tunnelPaths[edge], between: host, world.hubHost)
    }
    kernel.setPath(network.targetPath, between: world.hubHost, world.targetHost)
    kernel.partition(world.hubHost, kernel.makeHost([Self.silentIP]))
    for port in ScenarioPort.allCases where port.hasTarget {
      try world.targets.serve(port.rawValue) { [unowned self] key in
        clientOfKey[key].map { scenario.clients[clients[$0].index].target } ?? PeerPlan()
      }
    }
  }

  // MARK: A run

  /// Runs to the end and returns what was wrong.
  func run() throws -> [String] {
    // A tunnel that is dropped with something in it traps: a run that failed ends in the middle.
    defer { for engine in hubs + edges.joined() where !engine.hasEnded { engine.kill() } }
    try startAll()
    try runAgenda()
    if problems.isEmpty { calm() }
    if problems.isEmpty { checkStreams() }
    if problems.isEmpty { checkRecovery() }
    if problems.isEmpty { try stop() }
    return problems
  }

  private func startAll() throws {
    try startHub()
    for edge in 0..<scenario.edgeCount {
      edges.append([])
      try startEdge(edge)
    }
    let isUp = run(within: .seconds(30)) { areTunnelsUp }
    guard isUp else { return note("no tunnels at the start") }
    startedAt = world.now
    for (i, client) in scenario.clients.enumerated() {
      plan(.client(i), at: startedAt + client.at)
    }
    for act in scenario.acts { plan(.act(act), at: startedAt + act.at) }
  }

  private func runAgenda() throws {
    while problems.isEmpty, let next = agenda.first {
      run(within: max(.zero, next.time - world.now)) { false }
      guard problems.isEmpty else { return }
      agenda.removeFirst()
      try take(next.step)
    }
    run(within: max(.milliseconds(1), startedAt + scenario.calmAfter - world.now)) { false }
  }

  private func plan(_ step: Step, at time: Instant) {
    let place = agenda.firstIndex { $0.time > time } ?? agenda.count
    agenda.insert((time, step), at: place)
  }

  private func plan(_ step: Step, after span: Interval) { plan(step, at: world.now + span) }

  /// Whether `isDone` became true within `span`.
  @discardableResult
  private func run(within span: Interval, until isDone: () -> Bool) -> Bool {
    world.run(within: span) {
      turns += 1
      if turns % Self.turnsBetweenChecks == 0 { checkAlways() }
      if turns == Self.turnsMax { note("it does not come to rest") }
      return !problems.isEmpty || isDone()
    } && problems.isEmpty
  }

  private var areTunnelsUp: Bool {
    hub.readyLinks.count == scenario.edgeCount
      && edges.allSatisfy { $0[$0.count - 1].readyLinks.count == 1 }
  }

  // MARK: Engines

  private var allowed: [AllowedEdge] {
    (0..<scenario.edgeCount).filter { revoked[$0] == nil }
      .map { world.allowedEdge(ports[$0], id: Self.edgeID($0)) }
  }

  private func startHub() throws {
    let rules = [
      TargetRule(port: ScenarioPort.named.rawValue, host: "target"),
      TargetRule(port: ScenarioPort.silent.rawValue, host: Self.silentIP.description),
    ]
    hubs.append(try world.startHub(allowed) { $0.targets = rules })
  }

  private func startEdge(_ edge: Int) throws {
    world.edgeExtensions = scenario.known[edge]
    edges[edge].append(try world.startEdge(id: Self.edgeID(edge), on: edgeHosts[edge]))
  }

  private func pushEdges() { try? hub.send(.updateAllowedEdges(allowed)) }

  // MARK: Steps

  private func take(_ step: Step) throws {
    switch step {
    case .client(let index): try connect(index)
    case .act(let act):
      tell("\(act.kind)")
      try take(act.kind)
    case .heal(let edge):
      blackHoles[edge] -= 1
      if blackHoles[edge] == 0 { world.kernel.heal(edgeHosts[edge], world.hubHost) }
    case .thaw(let engine):
      engine.isFrozen = false
      thawedAt = world.now
    case .replace(let old, let place):
      guard engine(place) === old else { return }
      if !old.hasEnded { old.kill() }
      tell("a new \(place)")
      if case .edge(let edge) = place { try startEdge(edge) } else { try startHub() }
    case .restore(let edge):
      revoked[edge] = nil
      pushEdges()
    case .push(let edge, let new): assign(new, to: edge)
    case .moreDescriptors(let engine): engine.ring.descriptorsMax = .max
    case .end(let engine): if !engine.hasEnded { engine.kill() }
    }
  }

  private func take(_ act: ScenarioAct.Kind) throws {
    switch act {
    case .reset(let edge):
      resets.append((world.now, edge))
      world.kernel.resetConnections(between: edgeHosts[edge], world.hubHost)
    case .blackHole(let edge, let span):
      blackHoles[edge] += 1
      world.kernel.partition(edgeHosts[edge], world.hubHost)
      plan(.heal(edge: edge), after: span)
    case .freeze(let place, let span):
      engine(place).isFrozen = true
      // The time for a stream to get its target may be over when it goes on.
      if scenario.network.faults.slowLookup > 0 {
        hardTimes.append((world.now, world.now + span, place))
      }
      plan(.thaw(engine(place)), after: span)
    case .kill(let place, let back):
      if !engine(place).hasEnded { engine(place).kill() }
      plan(.replace(engine(place), place), after: back)
    case .drain(let place, let limit, let back):
      drains.append((world.now, place, engine(place)))
      if !engine(place).hasEnded { try? engine(place).send(.drain(limit)) }
      plan(.replace(engine(place), place), after: limit + back)
    case .assign(let edge, let new): assign(new, to: edge)
    case .pushes(let edge, let all, let pause):
      for (i, new) in all.enumerated() {
        plan(.push(edge: edge, new), after: Interval(nanoseconds: pause.nanoseconds * Int64(i)))
      }
    case .revoke(let edge, let span):
      revoked[edge] = revoked[edge] ?? world.now
      pushEdges()
      plan(.restore(edge: edge), after: span)
    case .twin(let edge, let span):
      let twin = try world.startEdge(id: Self.edgeID(edge), on: twinHosts[edge])
      plan(.end(twin), after: span)
    case .cutClient(let index):
      if let client = clients.first(where: { $0.index == index }) { world.clients.cut(client.peer) }
    case .cutTarget(let index):
      if let target = target(ofClient: index) { world.targets.cut(target) }
    case .path(let edge, let path):
      world.kernel.setPath(path, between: edgeHosts[edge], world.hubHost)
    case .clocks(let place, let ahead, let wall):
      hardTimes.append((world.now, world.now, place))
      engine(place).ring.jumpClocks(by: ahead, wall: Double(wall))
    case .descriptors(let place, let spare, let span):
      let ring = engine(place).ring
      hardTimes.append((world.now, world.now + span, place))
      ring.descriptorsMax = ring.descriptorCount + spare
      plan(.moreDescriptors(engine(place)), after: span)
    }
  }

  private func assign(_ new: [Port], to edge: Int) {
    ports[edge] = new
    portChanges[edge].append((world.now, new))
    pushEdges()
  }

  private func connect(_ index: Int) throws {
    let script = scenario.clients[index]
    let address = SocketAddress(Self.edgeIP(script.edge), script.port.rawValue)
    let place = clients.count
    let peer = try world.clients.connect(to: address, script.plan)
    peer.peerEchoes = script.target.echoes
    peer.onConnected = { [unowned self] key in clientOfKey[key] = place }
    clients.append(Client(index: index, peer: peer, startedAt: world.now))
  }

  private func target(ofClient index: Int) -> PeerSocket? {
    guard let key = clients.first(where: { $0.index == index })?.peer.key else { return nil }
    return world.targets.sockets.values.first { $0.key == key }
  }

  // MARK: The end

  /// Lets those who rest go on; then every stream has to end.
  private func calm() {
    tell("calm")
    world.kernel.faults = SimulatedFaults(delay: scenario.network.faults.delay)
    for peers in [world.clients, world.targets] { peers.goOn() }
    let isOver = run(within: .seconds(900)) {
      world.clients.openCount == 0 && world.targets.openCount == 0
        && engines.allSatisfy { $0.shard.connections.count == 0 }
    }
    guard !isOver, problems.isEmpty else { return }
    let open = (world.clients.inOrder + world.targets.inOrder).filter { !$0.isClosed }
    note("streams that do not end: \(open.map(\.summary)), \(engines.map(\.leftOvers))")
  }

  /// The engines that should live at the end.
  private var engines: [EngineUnderTest] { [hub] + (0..<scenario.edgeCount).map { edge($0) } }

  private func checkRecovery() {
    guard run(within: .seconds(150), until: { areTunnelsUp }) else {
      return note("an edge does not find back: \(engines.map { $0.events.last?.event })")
    }
    let assigned = ports.map { $0.sorted() }
    let areAssigned = run(within: .seconds(5)) { edges.compactMap(\.last?.ports) == assigned }
    if !areAssigned { note("ports \(edges.compactMap(\.last?.ports)), not \(assigned)") }
    // What was sealed for streams that are gone is sent all the same: 224 KiB by the smallest
    // socket buffers and the longest way take a quarter of a minute.
    let isIdle = run(within: .seconds(60)) { engines.allSatisfy { $0.leftOvers.isEmpty } }
    if !isIdle { note("left behind: hub and edges \(engines.map(\.leftOvers))") }
    for peers in [world.clients, world.targets] where peers.held != 0 {
      note("\(peers.held) buffers left with clients and targets")
    }
  }

  private func stop() throws {
    for engine in engines { try engine.send(.stop) }
    run(within: .seconds(5)) { engines.allSatisfy(\.hasEnded) }
    for engine in engines where !engine.leftBehind.isEmpty {
      note("left after a stop: \(engine.leftBehind)")
    }
  }

  /// What the run did, in one number: two runs of a seed that differ in anything differ in it.
  var trace: UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    func add(_ value: UInt64) { hash = (hash ^ value) &* 0x100_0000_01B3 }
    add(UInt64(turns))
    add(world.now.nanoseconds)
    for peer in world.clients.inOrder + world.targets.inOrder {
      add(UInt64(peer.received))
      add(UInt64(peer.sent))
      add(UInt64(bitPattern: Int64(peer.failure ?? -1)))
      add(peer.endedAt?.nanoseconds ?? 0)
    }
    return hash
  }
}

extension Instant {
  var microseconds: UInt64 { nanoseconds / 1_000 }
}

extension PeerSocket {
  var summary: String {
    """
    \(isClient ? "client" : "target") \(key ?? 0): sent \(sent), received \(received), \
    end \(sawEnd), failure \(failure ?? 0), finished \(isFinished), broke off \(brokeOff), \
    cut \(wasCut), from \(openedAt?.microseconds ?? 0) to \(endedAt?.microseconds ?? 0) µs, \
    \(plan)
    """
  }
}
