// The edge and a STUN server, on the simulated kernel: requests and answers that are lost, doubled,
// late and out of order.

import RIBase
import RIControl
import RIRing
import RIWire
import Testing

@testable import RIEngine

/// Answers binding requests as it is told.
private final class STUNServer {
  let ring: SimulatedRing
  private let store = BufferStore([BufferPoolShape(count: 64, bytes: 2_048)])
  private let socket: Socket
  /// When requests came, and what they were.
  private(set) var requests: [(time: Instant, bytes: [UInt8])] = []
  /// What to send for the n-th request, from 0 on.
  var answers: (Int, [UInt8]) -> [[UInt8]] = { _, _ in [] }
  private let kernel: SimulatedKernel

  static let address = SocketAddress(World.targetIP, 3478)

  init(_ kernel: SimulatedKernel, _ host: SimulatedHost) throws {
    self.kernel = kernel
    ring = SimulatedRing(kernel: kernel, host: host, store: store)
    socket = try ring.bindDatagram(to: Self.address, reusePort: false)
    ring.receiveDatagrams(on: socket, into: PoolID(0), token: Token(1))
  }

  var turn: SimulatedTurn { SimulatedTurn(ring) { [unowned self] in tick() } }

  private func tick() {
    for completion in ring.wait(until: nil) {
      guard completion.token == Token(1), let slice = completion.slice else { continue }
      if let datagram = ring.datagram(in: completion, of: socket) {
        let bytes = Array(store.bytes(datagram.payload))
        let index = requests.count
        requests.append((kernel.now, bytes))
        for answer in answers(index, bytes) { send(answer, to: datagram.source) }
      }
      store.release(slice)
    }
  }

  private func send(_ bytes: [UInt8], to client: SocketAddress) {
    guard let buffer = store[PoolID(0)].take() else { return }
    let slice = Slice(buffer: buffer, offset: 0, count: bytes.count)
    store.mutableBytes(slice).copyBytes(from: bytes)
    // Never given back: a few buffers are enough for a test's answers.
    ring.sendDatagram(
      slice, segmentBytes: 0, on: socket, to: client, from: nil, token: Token(2))
  }

  static func success(_ address: IPAddress, to request: [UInt8]) -> [UInt8] {
    let key = Array(request[4..<20])
    let raw = (0..<4).map { UInt8(truncatingIfNeeded: address.v4 >> UInt32(24 - 8 * $0)) }
    let value = [0, 1, 0x12 ^ key[0], 0x34 ^ key[1]] + zip(raw, key).map { $0 ^ $1 }
    return [1, 1, 0, 12] + key + [0, 0x20, 0, 8] + value
  }
}

struct STUNTests {
  private static let home = IPAddress(v4: 0xCB00_7105)
  private static let away = IPAddress(v4: 0xCB00_7106)

  /// An edge that asks, every `interval` seconds.
  private func start(
    _ world: World, interval: Int, server: String = "10.0.3.1:3478"
  ) throws -> (hub: EngineUnderTest, edge: EngineUnderTest) {
    var allowed = world.allowedEdge([1001])
    allowed.stunIntervalSecs = interval
    let hub = try world.startHub([allowed])
    let edge = try world.startEdge { $0.stunServer = server }
    #expect(world.run(within: .seconds(5)) { edge.readyLinks.count == 1 })
    return (hub, edge)
  }

  private func found(_ edge: EngineUnderTest) -> [IPAddress] {
    edge.events.compactMap {
      if case .publicAddressDiscovered(let address) = $0.event { address } else { nil }
    }
  }

  private func warnings(_ edge: EngineUnderTest) -> [String] {
    edge.events.compactMap { if case .warning(let text) = $0.event { text } else { nil } }
  }

  @Test(arguments: 1...8)
  func theAddressIsFoundThroughLossAndDisorder(seed: UInt64) throws {
    var faults = SimulatedFaults(delay: .milliseconds(1)...(.milliseconds(900)))
    faults.datagramLoss = 0.3
    faults.datagramDuplicate = 0.3
    faults.datagramReorder = 0.3
    let world = try World(seed: seed, faults: faults)
    let server = try STUNServer(world.kernel, world.targetHost)
    server.answers = { _, request in [STUNServer.success(Self.home, to: request)] }
    world.others = [server.turn]
    let (_, edge) = try start(world, interval: 30)
    world.run(for: .seconds(50))
    #expect(found(edge) == [Self.home])
    #expect(edge.shard.status.publicIp == "203.0.113.5")
    server.answers = { _, request in [STUNServer.success(Self.away, to: request)] }
    world.run(for: .seconds(90))
    #expect(found(edge) == [Self.home, Self.away])
    try world.stopAll()
  }

  @Test func requestsAreRepeatedAndAnswersOfOthersPassedOver() throws {
    let world = try World(seed: 20)
    let server = try STUNServer(world.kernel, world.targetHost)
    server.answers = { index, request in
      guard index == 3 else { return [] }
      var wrongID = STUNServer.success(Self.away, to: request)
      wrongID[19] ^= 1
      var wrongCookie = STUNServer.success(Self.away, to: request)
      wrongCookie[5] ^= 1
      let good = STUNServer.success(Self.home, to: request)
      return [wrongID, wrongCookie, Array(good.dropLast()), [], [0], good, good]
    }
    world.others = [server.turn]
    let (_, edge) = try start(world, interval: 300)
    world.run(for: .seconds(60))
    #expect(found(edge) == [Self.home])
    let start = try #require(server.requests.first).time
    let times = server.requests.map { (($0.time - start).seconds * 10).rounded() / 10 }
    #expect(times == [0, 0.5, 1.5, 3.5])
    #expect(Set(server.requests.map(\.bytes)).count == 1)
    edge.checkIdle("edge")
    try world.stopAll()
  }

  @Test func theIntervalIsTheHubs() throws {
    let world = try World(seed: 21)
    let server = try STUNServer(world.kernel, world.targetHost)
    server.answers = { _, request in [STUNServer.success(Self.home, to: request)] }
    world.others = [server.turn]
    let (hub, edge) = try start(world, interval: 1)
    world.run(for: .milliseconds(10_500))
    #expect(server.requests.count == 11, "0 s, 1 s, … 10 s")
    #expect(Set(server.requests.map(\.bytes)).count == 11)
    var allowed = world.allowedEdge([1001])
    allowed.stunIntervalSecs = 0
    try hub.send(.updateAllowedEdges([allowed]))
    world.run(for: .seconds(100))
    #expect(server.requests.count <= 12)
    #expect(found(edge) == [Self.home] && warnings(edge).isEmpty)
    try world.stopAll()
  }

  @Test func aServerThatIsNotThereIsWarnedOfOnce() throws {
    for server in ["10.0.3.1:3478", "nowhere:3478"] {
      let world = try World(seed: 22)
      let (_, edge) = try start(world, interval: 1, server: server)
      world.run(for: .seconds(200))
      #expect(warnings(edge).count == 1, "\(warnings(edge))")
      #expect(found(edge).isEmpty && edge.shard.status.publicIp == nil)
      edge.checkIdle("edge")
      try world.stopAll()
    }
  }

  @Test func aDrainingEdgeAsksNoMore() throws {
    let world = try World(seed: 23)
    let server = try STUNServer(world.kernel, world.targetHost)
    world.others = [server.turn]
    var plan = PeerPlan()
    plan.sends = 1_000
    plan.end = .hold
    try world.targets.serve(1001) { [plan] _ in plan }
    let (_, edge) = try start(world, interval: 1)
    let client = try world.connect(1001, plan)
    world.run(for: .milliseconds(100))
    let before = server.requests.count
    try edge.send(.drain(.seconds(60)))
    world.run(for: .seconds(30))
    #expect(!edge.hasEnded && server.requests.count == before)
    world.clients.finish(client)
    try world.stopAll()
  }
}
