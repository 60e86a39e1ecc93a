// The simulated network: repeatable from its seed, faulty as told, and honest about bytes.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct SimulatedKernelTests {
  static let serverIP = IPAddress(v4: 0x0A00_0001)
  static let clientIP = IPAddress(v4: 0x0A00_0002)
  static let server = SocketAddress(serverIP, 7)

  /// An echo server with clients on another host.
  struct World {
    let kernel: SimulatedKernel
    let serverHost: SimulatedHost
    let clientHost: SimulatedHost
    let echo: EchoShard
    let clients: [ClientShard]

    init(
      seed: UInt64, faults: SimulatedFaults = .none, clients: Int = 1, bytes: Int = 50_000
    ) throws {
      kernel = SimulatedKernel(seed: seed, faults: faults)
      let (kernel, host) = (kernel, kernel.makeHost([clientIP]))
      serverHost = kernel.makeHost([serverIP])
      clientHost = host
      echo = EchoShard(kernel, serverHost, buffers: 64)
      try echo.start()
      self.clients = (0..<clients).map {
        ClientShard(kernel, host, sending: RingDriver.pattern(bytes, seed: UInt64($0)))
      }
      for client in self.clients { try client.start(to: server) }
    }

    var isDone: Bool { clients.allSatisfy(\.isDone) && echo.isEmpty }

    @discardableResult
    func run(for interval: Interval = .seconds(600)) -> Bool {
      kernel.run(
        [echo.turn] + clients.map(\.turn), until: kernel.now + interval, or: { isDone })
    }
  }

  @Test(arguments: [UInt64](1...40))
  func everyByteComesBackUnderHarshFaults(_ seed: UInt64) throws {
    let world = try World(seed: seed, faults: .harsh, clients: 4)
    #expect(world.run(), "seed \(seed)")
    for (i, client) in world.clients.enumerated() {
      #expect(client.end == 0, "seed \(seed)")
      #expect(client.received == RingDriver.pattern(50_000, seed: UInt64(i)), "seed \(seed)")
      #expect(client.store[PoolID(0)].usedCount == 0)
      #expect(client.ring.pendingCount == 0)
    }
    #expect(world.echo.store[PoolID(0)].usedCount == 0)
    #expect(world.echo.failures.isEmpty)
  }

  @Test func theSameSeedRepeatsExactly() throws {
    func outcome(_ seed: UInt64) throws -> [UInt64] {
      var faults = SimulatedFaults.harsh
      faults.reset = 0.01
      let world = try World(seed: seed, faults: faults, clients: 5)
      world.run()
      return [world.kernel.now.nanoseconds, world.echo.trace] + world.clients.map(\.trace)
    }
    #expect(try outcome(7) == outcome(7))
    #expect(try outcome(7) != outcome(8))
  }

  @Test(arguments: [UInt64](1...20))
  func resetsReachBothEndsAndLeaveNothing(_ seed: UInt64) throws {
    var faults = SimulatedFaults.harsh
    faults.reset = 0.05
    let world = try World(seed: seed, faults: faults, clients: 8)
    #expect(world.run(), "seed \(seed)")
    for (i, client) in world.clients.enumerated() {
      let whole = RingDriver.pattern(50_000, seed: UInt64(i))
      // What arrived before the reset is a prefix of what was sent.
      #expect(client.received[...] == whole[..<client.received.count], "seed \(seed)")
      #expect(client.end == 0 || (client.end ?? 0) < 0)
      #expect(client.store[PoolID(0)].usedCount == 0)
    }
    #expect(world.clients.contains { $0.end == -ECONNRESET }, "seed \(seed)")
    #expect(world.echo.store[PoolID(0)].usedCount == 0)
  }

  @Test func partitionHoldsBytesUntilItHeals() throws {
    let world = try World(
      seed: 3, faults: SimulatedFaults(delay: .milliseconds(1)...(.milliseconds(5))))
    world.run(for: .milliseconds(8))
    world.kernel.partition(world.serverHost, world.clientHost)
    let before = world.clients[0].received.count
    let finished = world.run(for: .seconds(20))
    #expect(!finished)
    #expect(world.clients[0].received.count == before)
    #expect(world.clients[0].end == nil)
    world.kernel.heal(world.serverHost, world.clientHost)
    #expect(world.run(for: .seconds(20)))
    #expect(world.clients[0].received == RingDriver.pattern(50_000))
  }

  @Test func connectIntoAPartitionTimesOut() throws {
    let world = try World(seed: 3)
    world.kernel.partition(world.serverHost, world.clientHost)
    let start = world.kernel.now
    world.run(for: .seconds(300))
    #expect(world.clients[0].connectResult == -ETIMEDOUT)
    #expect(world.echo.accepted == 0)
    #expect(world.kernel.now >= start + .seconds(60))
  }

  @Test func connectSurvivesAShortPartition() throws {
    let world = try World(seed: 3)
    world.kernel.partition(world.serverHost, world.clientHost)
    world.run(for: .seconds(2))
    world.kernel.heal(world.serverHost, world.clientHost)
    #expect(world.run(for: .seconds(60)))
    #expect(world.clients[0].end == 0)
  }

  @Test func unknownHostsAndPortsAreRefused() throws {
    let kernel = SimulatedKernel(seed: 1)
    let host = kernel.makeHost([Self.clientIP])
    for (address, code) in [
      (SocketAddress(IPAddress(v4: 0x0A00_0063), 7), -EHOSTUNREACH),
      (SocketAddress(Self.clientIP, 9), -ECONNREFUSED),
      (SocketAddress(.loopbackV4, 9), -ECONNREFUSED),
    ] {
      let client = ClientShard(kernel, host, sending: [])
      try client.start(to: address)
      kernel.run([client.turn], until: kernel.now + .seconds(1), or: { client.isDone })
      #expect(client.connectResult == code)
    }
  }

  @Test func killedRingsPeersSeeTheEndAndItsPortIsFree() throws {
    let world = try World(
      seed: 5, faults: SimulatedFaults(delay: .milliseconds(1)...(.milliseconds(2))), clients: 3,
      bytes: 1 << 20)
    let finished = world.run(for: .milliseconds(6))
    #expect(!finished)
    world.echo.ring.kill()
    let ended = world.kernel.run(
      world.clients.map(\.turn), until: world.kernel.now + .seconds(5),
      or: { world.clients.allSatisfy(\.isDone) })
    #expect(ended)
    let longest = world.clients.map(\.received.count).max()
    #expect(longest ?? 0 < 1 << 20)
    // A new process takes its place.
    let next = EchoShard(world.kernel, world.serverHost, buffers: 64)
    try next.start()
    let client = ClientShard(world.kernel, world.clientHost, sending: [1, 2, 3])
    try client.start(to: Self.server)
    world.kernel.run(
      [next.turn, client.turn], until: world.kernel.now + .seconds(5), or: { client.isDone })
    #expect(client.received == [1, 2, 3])
  }

  @Test func droppedRingClosesItsSockets() throws {
    let kernel = SimulatedKernel(seed: 1)
    let host = kernel.makeHost([Self.serverIP])
    weak var ring: SimulatedRing?
    do {
      let echo = EchoShard(kernel, host)
      try echo.start()
      ring = echo.ring
      let client = ClientShard(kernel, host, sending: [UInt8](repeating: 1, count: 100))
      try client.start(to: Self.server)
      kernel.run([echo.turn, client.turn], until: kernel.now + .microseconds(25))
    }
    #expect(ring == nil)
    #expect(kernel.sockets.allSatisfy { $0 == nil })
  }

  @Test func shardsShareAPort() throws {
    let kernel = SimulatedKernel(seed: 2)
    let host = kernel.makeHost([Self.serverIP])
    let shards = (0..<2).map { _ in EchoShard(kernel, host, buffers: 64) }
    for shard in shards { try shard.start() }
    let clients = (0..<20).map { _ in ClientShard(kernel, host, sending: [1, 2, 3]) }
    for client in clients { try client.start(to: Self.server) }
    kernel.run(
      shards.map(\.turn) + clients.map(\.turn), until: kernel.now + .seconds(5),
      or: { clients.allSatisfy(\.isDone) })
    #expect(clients.allSatisfy { $0.received == [1, 2, 3] })
    #expect(shards.allSatisfy { $0.accepted > 0 })
  }

  @Test func descriptorLimitEndsAcceptAndMakesNoSocket() throws {
    let kernel = SimulatedKernel(seed: 2)
    kernel.descriptorsMax = 3
    let host = kernel.makeHost([Self.serverIP])
    let echo = EchoShard(kernel, host)
    try echo.start()
    let clients = (0..<4).map { _ in
      ClientShard(kernel, host, sending: [UInt8](repeating: 0, count: 9))
    }
    for client in clients { try client.start(to: Self.server) }
    // No answers are read yet: the connections stay open.
    kernel.run([echo.turn], until: kernel.now + .seconds(1))
    #expect(echo.failures == [-EMFILE])
    let ring = clients[0].ring
    _ = try ring.makeStreamSocket(.v4)
    _ = try ring.makeStreamSocket(.v4)
    let error = #expect(throws: RingError.self) { _ = try ring.makeStreamSocket(.v4) }
    #expect(error?.code == EMFILE)
  }

  @Test func restingShardsGetNoTurns() throws {
    let world = try World(seed: 1)
    #expect(world.run())
    let ticks = world.echo.ticks
    world.run(for: .seconds(3_600))
    #expect(world.echo.ticks <= ticks + 2)
  }

  @Test func deadlinesOfWaitsMoveTime() throws {
    let kernel = SimulatedKernel(seed: 1)
    let shard = ClientShard(kernel, kernel.makeHost([]), sending: [])
    let start = kernel.now
    shard.deadlineOfTest = start + .seconds(9)
    kernel.run(
      [shard.turn], until: start + .seconds(60), or: { shard.ring.now >= start + .seconds(9) })
    #expect(kernel.now == start + .seconds(9))
    #expect(shard.ticks < 5)
  }
}

@Suite struct SimulatedDatagramTests {
  private func exchange(_ faults: SimulatedFaults, seed: UInt64) throws -> [UInt16] {
    let kernel = SimulatedKernel(seed: seed, faults: faults)
    let host = kernel.makeHost([])
    let store = BufferStore([BufferPoolShape(count: 64, bytes: 256)])
    let ring = SimulatedRing(kernel: kernel, host: host, store: store)
    ring.passesTime = true
    let server = try ring.bindDatagram(to: SocketAddress(.loopbackV4, 53), reusePort: false)
    ring.receiveDatagrams(on: server, into: PoolID(0), token: Token(1))
    let client = try ring.connectDatagram(to: SocketAddress(.loopbackV4, 53))
    let buffer = try #require(store[PoolID(0)].take())
    let slice = Slice(buffer: buffer, offset: 0, count: 2)
    var got: [UInt16] = []
    for i in 0..<1_000 {
      store.mutableBytes(slice).storeBytes(of: UInt16(i), as: UInt16.self)
      ring.sendDatagram(
        slice, segmentBytes: 0, on: client, to: nil, from: nil, token: Token(2))
      let deadline = kernel.now + .microseconds(20)
      repeat {
        for completion in ring.wait(until: deadline) {
          guard let datagram = ring.datagram(in: completion, of: server) else { continue }
          got.append(store.bytes(datagram.payload).loadUnaligned(as: UInt16.self))
          store.release(datagram.payload)
        }
      } while kernel.now < deadline
    }
    return got
  }

  @Test func datagramsAreLostDoubledAndOvertaken() throws {
    #expect(try exchange(.none, seed: 1) == [UInt16](0..<1_000))
    var lossy = SimulatedFaults.none
    lossy.datagramLoss = 0.2
    let lost = try exchange(lossy, seed: 1)
    #expect(lost == lost.sorted() && lost.count > 700 && lost.count < 900)
    var doubling = SimulatedFaults.none
    doubling.datagramDuplicate = 0.2
    let doubled = try exchange(doubling, seed: 1)
    #expect(doubled.count > 1_100 && Set(doubled).count == 1_000)
    var reordering = SimulatedFaults.none
    reordering.datagramReorder = 0.2
    let reordered = try exchange(reordering, seed: 1)
    #expect(reordered != reordered.sorted() && reordered.count > 990)
  }
}
