// In steady state no frame costs an allocation, on either side. Unoptimised code allocates in the
// standard library's generics, so this is for `swift test -c release -Xswiftc -enable-testing`.

import CMallocCount
import Testing

@testable import RIEngine

private let isOptimized: Bool = {
  var isDebug = false
  assert(
    {
      isDebug = true
      return true
    }())
  return !isDebug
}()

@Suite(.enabled(if: isOptimized, "needs an optimised build"))
struct AllocationTests {
  @Test func theCounterCounts() throws {
    let before = malloc_count()
    _ = try LoopbackPair()
    #expect(malloc_count() > before)
  }

  private static func allocations(_ body: () -> Bool) -> UInt64 {
    let before = malloc_count()
    let isDone = body()
    let count = malloc_count() - before
    #expect(isDone, "the bytes did not arrive")
    return count
  }

  @Test func bulkAllocatesNothing() throws {
    let pair = try LoopbackPair()
    for (from, to) in [(pair.client, pair.target), (pair.target, pair.client)] {
      // Tables grow to their working size.
      #expect(pair.move(24 << 20, from: from, to: to))
      let count = Self.allocations { pair.move(24 << 20, from: from, to: to) }
      #expect(count == 0)
    }
  }

  @Test func smallMessagesAllocateNothing() throws {
    let pair = try LoopbackPair()
    for _ in 0..<200 { #expect(pair.echo()) }
    let count = Self.allocations {
      for _ in 0..<1_000 where !pair.echo() { return false }
      return true
    }
    #expect(count == 0)
  }

  /// One by one, in bursts that leave as runs, and large ones.
  @Test(arguments: [(1, 64), (40, 1_200), (3, 20_000)])
  func datagramsAllocateNothing(count: Int, size: Int) throws {
    let pair = try LoopbackPair()
    for _ in 0..<200 { #expect(pair.echoDatagrams(count, size)) }
    let allocated = Self.allocations {
      for _ in 0..<200 where !pair.echoDatagrams(count, size) { return false }
      return true
    }
    #expect(allocated == 0)
  }

  /// A reader that stops for a while: the stash fills and empties.
  @Test func stallingAllocatesNothing() throws {
    let pair = try LoopbackPair()
    func stallAndCatchUp() -> Bool {
      var sent = 0
      for _ in 0..<3_000 {
        sent += pair.send(64 * 1024, on: pair.target)
        pair.turn()
      }
      var received = 0
      for _ in 0..<1_000_000 where received < sent {
        received += pair.receive(on: pair.client)
        pair.turn()
      }
      return received == sent
    }
    #expect(stallAndCatchUp())
    #expect(stallAndCatchUp())
    let count = Self.allocations { stallAndCatchUp() }
    #expect(count == 0)
  }
}
