// Pools, slice queues, batches and writers against plain arrays.

import TestRandom
import Testing

@testable import RIBase

@Suite struct BufferPoolTests {
  @Test func lendsEachBufferOnceAndTakesItBackWithTheLastReference() throws {
    let store = BufferStore([BufferPoolShape(count: 2, bytes: 64)])
    let pool = store[PoolID(0)]
    let first = try #require(pool.take())
    let second = try #require(pool.take())
    #expect(first.index != second.index)
    #expect(pool.take() == nil)
    pool.retain(first)
    pool.release(first)
    #expect(pool.freeCount == 0)
    pool.release(first)
    #expect(pool.freeCount == 1 && pool.usedCount == 1)
    let again = try #require(pool.take())
    #expect(again.index == first.index && again != first)
  }

  @Test func buffersAndHeadroomsDoNotOverlap() throws {
    let store = BufferStore([BufferPoolShape(count: 3, bytes: 100, headroomBytes: 28)])
    let buffers = (0..<3).compactMap { _ in store[PoolID(0)].take() }
    let slices = buffers.map { Slice(buffer: $0, offset: -28, count: 128) }
    for (i, slice) in slices.enumerated() {
      store.mutableBytes(slice).initializeMemory(as: UInt8.self, repeating: UInt8(i + 1))
    }
    for (i, slice) in slices.enumerated() {
      #expect(store.bytes(slice).allSatisfy { $0 == UInt8(i + 1) })
    }
  }

  @Test func trimKeepsWhatIsHeld() throws {
    let store = BufferStore([BufferPoolShape(count: 4, bytes: 4_096)])
    let held = try #require(store[PoolID(0)].take())
    let slice = Slice(buffer: held, offset: 0, count: 4_096)
    store.mutableBytes(slice).initializeMemory(as: UInt8.self, repeating: 9)
    #expect(!store[PoolID(0)].trim(keeping: 0, atMost: 4))
    #expect(store.bytes(slice).allSatisfy { $0 == 9 })
  }

  /// Buffers of less than a page, and ones that begin and end in the middle of one: the system
  /// takes whole pages back, of which a part may be a neighbour's.
  @Test(arguments: [64, 192, 2_048, 4_096, 66_560], [2, 3, 5])
  func trimLeavesNeighboursAlone(bytes: Int, step: Int) {
    let store = BufferStore([BufferPoolShape(count: 64, bytes: bytes)])
    let pool = store[PoolID(0)]
    let slices = (0..<64).compactMap { _ in pool.take() }
      .map { Slice(buffer: $0, offset: 0, count: bytes) }
    for (i, slice) in slices.enumerated() {
      store.mutableBytes(slice).initializeMemory(as: UInt8.self, repeating: UInt8(i + 1))
    }
    for i in stride(from: 0, to: 64, by: step) { pool.release(slices[i].buffer) }
    while pool.trim(keeping: 0, atMost: 7) {}
    for i in 0..<64 where i % step != 0 {
      #expect(store.bytes(slices[i]).allSatisfy { $0 == UInt8(i + 1) }, "buffer \(i)")
      pool.release(slices[i].buffer)
    }
    // With all of them free, all memory goes.
    while pool.trim(keeping: 0, atMost: 7) {}
    for buffer in (0..<64).compactMap({ _ in pool.take() }) {
      let slice = Slice(buffer: buffer, offset: 0, count: bytes)
      #expect(store.bytes(slice).allSatisfy { $0 == 0 })
    }
  }

  /// What was used before and is free now is given back step by step, the warmest last.
  @Test func trimGivesBackInStepsWhatABurstHasLeft() throws {
    let store = BufferStore([BufferPoolShape(count: 16, bytes: 4_096)])
    let pool = store[PoolID(0)]
    #expect(!pool.trim(keeping: 0, atMost: 100), "nothing was ever used")
    let burst = (0..<10).compactMap { _ in pool.take() }
    for buffer in burst {
      let slice = Slice(buffer: buffer, offset: 0, count: 4_096)
      store.mutableBytes(slice).initializeMemory(as: UInt8.self, repeating: 7)
    }
    for buffer in burst { pool.release(buffer) }
    #expect(pool.trim(keeping: 2, atMost: 5))
    #expect(!pool.trim(keeping: 2, atMost: 5))
    #expect(!pool.trim(keeping: 2, atMost: 5))
    // Freed last: the two that were kept, then those whose memory is new.
    let again = (0..<10).compactMap { _ in pool.take() }
    let first = again.map { store.bytes(Slice(buffer: $0, offset: 0, count: 1))[0] }
    #expect(first == [7, 7] + Array(repeating: 0, count: 8))
  }

  @Test func handlesKeepPoolIndexAndGeneration() {
    let handle = BufferHandle(pool: PoolID(255), index: 0xFF_FFFE, generation: .max)
    #expect(handle.pool == PoolID(255))
    #expect(handle.index == 0xFF_FFFE)
    #expect(handle.generation == .max)
  }

  @Test func aReturnedBufferCannotBeUsed() async {
    await #expect(processExitsWith: .failure) {
      let store = BufferStore([BufferPoolShape(count: 1, bytes: 64)])
      guard let buffer = store[PoolID(0)].take() else { return }
      store.release(buffer)
      _ = store[PoolID(0)].take()
      store.release(buffer)
    }
  }

  @Test func aSliceBeyondItsBufferCannotBeRead() async {
    await #expect(processExitsWith: .failure) {
      let store = BufferStore([BufferPoolShape(count: 2, bytes: 64)])
      guard let buffer = store[PoolID(0)].take() else { return }
      _ = store.bytes(Slice(buffer: buffer, offset: 60, count: 5))
    }
  }
}

/// A store, and slices of fresh buffers with random content.
private struct Source {
  let store = BufferStore([
    BufferPoolShape(count: 64, bytes: 256), BufferPoolShape(count: 16, bytes: 4_096),
  ])

  func slice(_ random: inout SplitMix64, count: Int? = nil) -> (Slice, [UInt8])? {
    let pool = store[PoolID(UInt8(random.below(2)))]
    guard let buffer = pool.take() else { return nil }
    let count = min(count ?? 1 + random.below(pool.shape.bytes), pool.shape.bytes)
    let slice = Slice(
      buffer: buffer, offset: random.below(pool.shape.bytes - count + 1), count: count)
    let bytes = random.bytes(count)
    store.mutableBytes(slice).copyBytes(from: bytes)
    return (slice, bytes)
  }

  var usedCount: Int { (0..<2).reduce(0) { $0 + store[PoolID(UInt8($1))].usedCount } }
}

@Suite struct SliceQueueTests {
  private func bytes(of queue: SliceQueue, in store: BufferStore) -> [UInt8] {
    var bytes: [UInt8] = []
    store.forEach(in: queue) {
      bytes += store.bytes($0)
      return true
    }
    return bytes
  }

  @Test(arguments: propertySeeds) func holdsTheBytesOfAPlainArray(seed: UInt64) {
    var random = SplitMix64(seed)
    let source = Source()
    let store = source.store
    var queues = [(SliceQueue(), [UInt8]()), (SliceQueue(), [UInt8]())]
    for _ in 0..<4_000 {
      let i = random.below(2)
      switch random.below(7) {
      case 0, 1:
        guard let (slice, bytes) = source.slice(&random) else { continue }
        store.append(slice, to: &queues[i].0)
        queues[i].1 += bytes
      case 2:
        guard let (slice, bytes) = source.slice(&random) else { continue }
        store.prepend(slice, to: &queues[i].0)
        queues[i].1 = bytes + queues[i].1
      case 3:
        // From one queue to the other: what adjoins again becomes one slice again.
        guard let slice = store.popFirst(1 + random.below(300), from: &queues[i].0) else {
          #expect(queues[i].1.isEmpty, "seed \(seed)")
          continue
        }
        let moved = Array(queues[i].1.prefix(Int(slice.count)))
        #expect(Array(store.bytes(slice)) == moved, "seed \(seed)")
        queues[i].1.removeFirst(moved.count)
        store.append(slice, to: &queues[1 - i].0)
        queues[1 - i].1 += moved
      case 4:
        let count = random.below(queues[i].1.count + 1)
        store.dropFirst(count, from: &queues[i].0)
        queues[i].1.removeFirst(count)
      case 5:
        guard let slice = store.popFirst(from: &queues[i].0) else { continue }
        #expect(store.bytes(slice).elementsEqual(queues[i].1.prefix(Int(slice.count))))
        queues[i].1.removeFirst(Int(slice.count))
        store.release(slice)
      default:
        if random.below(10) == 0 {
          store.removeAll(from: &queues[i].0)
          queues[i].1 = []
        }
      }
      let (queue, expected) = queues[i]
      #expect(Int(queue.byteCount) == expected.count, "seed \(seed)")
      #expect(queue.isEmpty == expected.isEmpty, "seed \(seed)")
      #expect(bytes(of: queue, in: store) == expected, "seed \(seed)")
      let first = store.first(of: queue).map { Array(store.bytes($0)) } ?? []
      #expect(expected.starts(with: first), "seed \(seed)")
      let last = store.last(of: queue).map { Array(store.bytes($0)) } ?? []
      #expect(Array(expected.suffix(last.count)) == last, "seed \(seed)")
      let slices = queues[0].0.sliceCount + queues[1].0.sliceCount
      #expect(store.nodesInUse == Int(slices), "seed \(seed)")
    }
    store.removeAll(from: &queues[0].0)
    store.removeAll(from: &queues[1].0)
    #expect(source.usedCount == 0 && store.nodesInUse == 0, "nothing leaks, seed \(seed)")
  }

  @Test func adjoiningSlicesBecomeOne() throws {
    let store = BufferStore([BufferPoolShape(count: 1, bytes: 64)])
    var slice = Slice(buffer: try #require(store[PoolID(0)].take()), offset: 0, count: 64)
    var queue = SliceQueue()
    for _ in 0..<3 {
      store.retain(slice)
      store.append(slice.removePrefix(10), to: &queue)
    }
    #expect(queue.sliceCount == 1 && queue.byteCount == 30)
    store.removeAll(from: &queue)
    store.release(slice)
    #expect(store[PoolID(0)].usedCount == 0)
  }

  @Test func nodesGrowToTheirPeakAndAreUsedAgain() throws {
    let store = BufferStore([BufferPoolShape(count: 1, bytes: 64)])
    let buffer = try #require(store[PoolID(0)].take())
    var queue = SliceQueue()
    for round in 0..<3 {
      // Every second byte: nothing adjoins.
      for i in 0..<3_000 {
        let slice = Slice(buffer: buffer, offset: 2 * (i % 32), count: 1)
        store.retain(slice)
        store.append(slice, to: &queue)
      }
      #expect(store.nodesInUse == 3_000)
      #expect(store.nodeCapacity == 4_096, "round \(round)")
      store.removeAll(from: &queue)
    }
    store.release(buffer)
    #expect(store[PoolID(0)].usedCount == 0)
  }
}

@Suite struct PlaintextBatchTests {
  @Test(arguments: propertySeeds) func holdsWhatWasAppendedInOrder(seed: UInt64) {
    var random = SplitMix64(seed)
    let source = Source()
    let batch = PlaintextBatch(store: source.store, capacity: 20_000)
    for _ in 0..<200 {
      var expected: [UInt8] = []
      for _ in 0..<random.below(40) {
        if random.below(2) == 0 {
          let bytes = random.bytes(min(random.below(40), batch.roomBytes))
          bytes.withUnsafeBytes { batch.append(copying: $0) }
          expected += bytes
        } else if let (slice, bytes) = source.slice(&random) {
          guard bytes.count <= batch.roomBytes else {
            source.store.release(slice)
            continue
          }
          batch.append(slice)
          expected += bytes
        }
      }
      #expect(batch.byteCount == expected.count && batch.isEmpty == expected.isEmpty)
      #expect(batch.roomBytes == 20_000 - expected.count)
      #expect(batch.pieceCount <= batch.piecesMax, "no growth, seed \(seed)")
      let bytes = (0..<batch.pieceCount).flatMap { Array(batch.piece($0)) }
      #expect(bytes == expected, "seed \(seed)")
      batch.clear()
      #expect(source.usedCount == 0 && batch.isEmpty, "seed \(seed)")
    }
  }

  @Test func largeSlicesAreBorrowedSmallOnesCopied() throws {
    let store = BufferStore([BufferPoolShape(count: 2, bytes: 1_024)])
    let batch = PlaintextBatch(store: store, capacity: 4_096)
    let small = Slice(
      buffer: try #require(store[PoolID(0)].take()), offset: 0,
      count: PlaintextBatch.copyBytesMax)
    batch.append(small)
    #expect(store[PoolID(0)].usedCount == 0)
    let large = Slice(
      buffer: try #require(store[PoolID(0)].take()), offset: 0,
      count: PlaintextBatch.copyBytesMax + 1)
    batch.append(large)
    #expect(store[PoolID(0)].usedCount == 1)
    #expect(batch.piece(1).baseAddress == store.bytes(large).baseAddress)
    batch.clear()
    #expect(store[PoolID(0)].usedCount == 0)
  }
}

@Suite struct BufferWriterTests {
  @Test func fillsItsBufferFromTheFront() throws {
    let store = BufferStore([BufferPoolShape(count: 1, bytes: 8)])
    var writer = BufferWriter(try #require(store[PoolID(0)].take()), in: store)
    #expect(writer.isEmpty && writer.roomBytes == 8)
    [1, 2, 3].withUnsafeBytes { writer.append(UnsafeRawBufferPointer(rebasing: $0[..<1])) }
    [UInt8](2...4).withUnsafeBytes { writer.append($0) }
    writer.room.copyBytes(from: [5, 6])
    writer.advance(2)
    #expect(writer.roomBytes == 2 && writer.room.count == 2)
    #expect(Array(store.bytes(writer.slice)) == [1, 2, 3, 4, 5, 6])
  }

  @Test func doesNotWriteBeyondItsBuffer() async {
    await #expect(processExitsWith: .failure) {
      let store = BufferStore([BufferPoolShape(count: 2, bytes: 8)])
      guard let buffer = store[PoolID(0)].take() else { return }
      var writer = BufferWriter(buffer, in: store)
      [UInt8](0..<9).withUnsafeBytes { writer.append($0) }
    }
  }
}
