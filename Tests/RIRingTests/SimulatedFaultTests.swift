// The faults of simulated rings and clocks: completions that come late, clocks that jump, names
// that take their time, descriptors that are few.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct SimulatedFaultTests {
  /// A ring alone in its world.
  private static func ring(_ faults: SimulatedFaults) -> SimulatedRing {
    let kernel = SimulatedKernel(seed: 5, faults: faults)
    let store = BufferStore([BufferPoolShape(count: 4, bytes: 4_096)])
    let ring = SimulatedRing(kernel: kernel, host: kernel.makeHost([]), store: store)
    ring.passesTime = true
    ring.takesFaults = true
    return ring
  }

  @Test(arguments: [UInt64](1...20))
  func partialReapsKeepTheOrderAndLoseNothing(seed: UInt64) throws {
    var faults = SimulatedFaults.harsh
    faults.partialReap = 0.5
    let world = try SimulatedKernelTests.World(seed: seed, faults: faults, clients: 6)
    for shard in [world.echo] + world.clients { shard.ring.takesFaults = true }
    #expect(world.run(), "seed \(seed)")
    for (i, client) in world.clients.enumerated() {
      #expect(client.received == RingDriver.pattern(50_000, seed: UInt64(i)), "seed \(seed)")
    }
    #expect(world.kernel.tally.partialReaps > 0)
    #expect(world.echo.failures.isEmpty)
  }

  @Test(arguments: [false, true])
  func aCloseMayComeTooLateForWhatWasThere(isLate: Bool) throws {
    var faults = SimulatedFaults.none
    faults.lateCancel = isLate ? 1 : 0
    let ring = Self.ring(faults)
    let listener = try ring.listen(
      on: SocketAddress(.loopbackV4, 7), reusePort: false, backlog: 1)
    ring.accept(on: listener, token: Token(1))
    let client = try ring.makeStreamSocket(.v4)
    ring.connect(client, to: SocketAddress(.loopbackV4, 7), token: Token(2))
    let buffer = try #require(ring.store[PoolID(0)].take())
    var queue = SliceQueue()
    ring.store.append(Slice(buffer: buffer, offset: 0, count: 10), to: &queue)
    var server = Socket(descriptor: -1)
    var isConnected = false
    while server.descriptor < 0 || !isConnected {
      for completion in ring.wait(until: nil) {
        if completion.token == Token(2) { isConnected = completion.result == 0 }
        if completion.token == Token(1) { server = Socket(descriptor: completion.result) }
      }
    }
    ring.send(queue, on: client, mode: .all, token: Token(3))
    _ = ring.wait(until: ring.now + .seconds(1))
    // Lets the segment arrive: what is there then is what a close may be too late for.
    while ring.now < Instant(nanoseconds: 2_000_000_000) {
      _ = ring.wait(until: Instant(nanoseconds: 2_000_000_000))
    }
    ring.receive(on: server, into: PoolID(0), limitBytes: 100, token: Token(4))
    ring.close(server, mode: .reset, token: Token(5))
    let completions = Array(ring.wait(until: ring.now + .seconds(1)))
    let mine = completions.filter { [Token(4), Token(5)].contains($0.token) }
    #expect(mine.map(\.result) == (isLate ? [10, -ECANCELED, 0] : [-ECANCELED, 0]))
    #expect(mine.map(\.more) == (isLate ? [true, false, false] : [false, false]))
    #expect(ring.kernel.tally.lateReceives == (isLate ? 1 : 0))
  }

  @Test func clocksJumpAndTimersWithThem() {
    let ring = Self.ring(.none)
    let (start, wall) = (ring.now, ring.wallClockSeconds)
    ring.timeout(at: start + .seconds(10), token: Token(1))
    ring.jumpClocks(by: .seconds(9), wall: -1_000)
    #expect(ring.updateNow() == start + .seconds(9))
    #expect(abs(ring.wallClockSeconds - wall + 1_000) < 1)
    let completions = ring.wait(until: start + .seconds(60))
    #expect(completions.map(\.token) == [Token(1)])
    #expect(ring.now == start + .seconds(10))
    #expect(ring.kernel.now == start + .seconds(1))
    // A wait ends at its deadline by the ring's own clock.
    #expect(ring.wait(until: start + .seconds(12)).isEmpty)
    #expect(ring.kernel.now == start + .seconds(3))
  }

  @Test func namesMayTakeTheirTime() {
    var faults = SimulatedFaults.none
    faults.slowLookup = 1
    faults.lookupTime = .seconds(8)
    let ring = Self.ring(faults)
    let start = ring.now
    ring.resolve(host: "localhost", port: 1, token: Token(1))
    let completions = ring.wait(until: nil)
    #expect(completions.map(\.result) == [2] && ring.takeAddresses(Token(1)).count == 2)
    #expect(ring.now > start + .milliseconds(1) && ring.now <= start + .seconds(9))
    #expect(ring.kernel.tally.slowLookups == 1)
  }

  @Test func descriptorsOfOneRingAreFew() throws {
    let ring = Self.ring(.none)
    _ = try ring.makeStreamSocket(.v4)
    ring.descriptorsMax = ring.descriptorCount
    let error = #expect(throws: RingError.self) { _ = try ring.makeStreamSocket(.v4) }
    #expect(error?.code == EMFILE)
    #expect(ring.kernel.tally.descriptorsRefused == 1)
    ring.descriptorsMax = .max
    _ = try ring.makeStreamSocket(.v4)
  }
}
