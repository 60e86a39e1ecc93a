// The ways between simulated hosts: their delay, their rate, and their resets.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct SimulatedPathTests {
  /// Two hosts that send to a third, each with a path of its own, and what arrives there when.
  final class World {
    let kernel = SimulatedKernel(seed: 1)
    let sink: EchoShard
    let server: SimulatedHost
    private(set) var hosts: [SimulatedHost] = []
    private(set) var clients: [ClientShard] = []

    init() throws {
      server = kernel.makeHost([SimulatedKernelTests.serverIP])
      sink = EchoShard(kernel, server, buffers: 64)
      try sink.start()
    }

    /// A client on a host of its own that has `bytes` echoed.
    func add(_ bytes: Int, _ path: SimulatedPath?) throws {
      let host = kernel.makeHost([IPAddress(v4: 0x0A00_0100 + UInt32(hosts.count))])
      hosts.append(host)
      if let path { kernel.setPath(path, between: host, server) }
      try addClient(bytes, on: host)
    }

    func addClient(_ bytes: Int, on host: SimulatedHost) throws {
      let client = ClientShard(
        kernel, host, sending: RingDriver.pattern(bytes, seed: UInt64(clients.count)))
      try client.start(to: SimulatedKernelTests.server)
      clients.append(client)
    }

    /// The time until all, or the given clients, are done.
    func run(_ which: ClosedRange<Int>? = nil) -> Interval? {
      let start = kernel.now
      let waited = which.map { Array(clients[$0]) } ?? clients
      let isDone = kernel.run(
        [sink.turn] + clients.map(\.turn), until: start + .seconds(600),
        or: { waited.allSatisfy(\.isDone) })
      return isDone ? kernel.now - start : nil
    }
  }

  private static func path(_ milliseconds: Int64, _ rate: Int? = nil) -> SimulatedPath {
    SimulatedPath(
      delay: .milliseconds(milliseconds)...Interval.milliseconds(milliseconds),
      bytesPerSecond: rate)
  }

  @Test func eachPairOfHostsHasItsDelay() throws {
    let world = try World()
    try world.add(1_000, nil)
    let near = try #require(world.run())
    #expect(near < .milliseconds(1))
    // Connecting is a round trip, the echo another, the end of both directions at most one more.
    try world.add(1_000, Self.path(50))
    let far = try #require(world.run())
    #expect(far >= .milliseconds(200) && far <= .milliseconds(310))
  }

  @Test func aRateHoldsForAllConnectionsTogetherAndForEachDirection() throws {
    let world = try World()
    // 1 MB there and 1 MB back, at once: a second, not two.
    try world.add(1_000_000, Self.path(1, 1_000_000))
    let one = try #require(world.run())
    #expect(one >= .milliseconds(1_000) && one < .milliseconds(1_400))
    try world.addClient(1_000_000, on: world.hosts[0])
    try world.addClient(1_000_000, on: world.hosts[0])
    let two = try #require(world.run(1...2))
    #expect(two >= .milliseconds(2_000) && two < .milliseconds(2_500))
  }

  @Test func aSlowPathDoesNotSlowAnother() throws {
    let world = try World()
    try world.add(1_000_000, Self.path(1, 100_000))
    try world.add(1_000_000, Self.path(1))
    let fast = try #require(world.run(1...1))
    #expect(fast < .milliseconds(100))
    #expect(!world.clients[0].isDone)
  }

  @Test func resettingAPathResetsItsConnectionsAlone() throws {
    let world = try World()
    for _ in 0..<2 { try world.add(1_000_000, Self.path(1, 1_000_000)) }
    world.kernel.run(
      [world.sink.turn] + world.clients.map(\.turn), until: world.kernel.now + .milliseconds(200))
    world.kernel.resetConnections(between: world.server, world.hosts[0])
    _ = try #require(world.run())
    #expect(world.clients[0].end == -ECONNRESET)
    #expect(world.clients[1].end == 0 && world.clients[1].received.count == 1_000_000)
    #expect(world.sink.isEmpty)
  }

  @Test func theKernelCountsWhatPasses() throws {
    let kernel = SimulatedKernel(seed: 2)
    let host = kernel.makeHost([SimulatedKernelTests.clientIP])
    let store = BufferStore([BufferPoolShape(count: 4, bytes: 1_000)])
    let ring = SimulatedRing(kernel: kernel, host: host, store: store)
    let address = SocketAddress(SimulatedKernelTests.clientIP, 7)
    let listener = try ring.listen(on: address, reusePort: false, backlog: 1)
    let client = try ring.makeStreamSocket(.v4)
    ring.passesTime = true
    ring.accept(on: listener, token: Token(1))
    ring.connect(client, to: address, token: Token(2))
    var server: Socket?
    var isConnected = false
    while server == nil || !isConnected {
      for completion in ring.wait(until: nil) {
        if completion.token == Token(1) { server = Socket(descriptor: completion.result) }
        if completion.token == Token(2) { isConnected = completion.result == 0 }
      }
    }
    let accepted = try #require(server)
    let buffer = try #require(store[PoolID(0)].take())
    var queue = SliceQueue()
    store.append(Slice(buffer: buffer, offset: 0, count: 700), to: &queue)
    ring.send(queue, on: client, mode: .all, token: Token(3))
    #expect(kernel.traffic(of: client) == SimulatedTraffic(sentBytes: 700, receivedBytes: 0))
    ring.receive(on: accepted, into: PoolID(0), limitBytes: 700, token: Token(4))
    var received = 0
    while received < 700 {
      for completion in ring.wait(until: nil) where completion.token == Token(4) {
        received += Int(completion.result)
        if let slice = completion.slice { store.release(slice) }
      }
    }
    #expect(
      kernel.traffic(of: accepted) == SimulatedTraffic(sentBytes: 0, receivedBytes: 700))
    #expect(kernel.traffic(of: listener) == nil)
    store.removeAll(from: &queue)
    #expect(store[PoolID(0)].usedCount == 0)
  }
}
