// What a tick collects for UDP sockets: which datagrams become a run, and that every byte is there.

import RIBase
import RIControl
import RIRing
import TestRandom
import Testing

@testable import RIEngine

private let sockets = (0..<3).map { Socket(descriptor: Int32(10 + $0)) }

private func sessionID(_ index: Int) -> SlotID { SlotID(index: UInt32(index), generation: 1) }

private final class Outbox {
  let store = BufferStore(ShardPool.shapes(memoryBudgetBytes: 1 << 20))
  var outbox = DatagramOutbox()
  var segmentBytesMax = Limits.udpPayloadBytesMax

  @discardableResult
  func append(_ payload: [UInt8], header: [UInt8] = [], session: Int = 0) -> Bool {
    header.withUnsafeBytes { header in
      payload.withUnsafeBytes { payload in
        outbox.append(
          header, payload, of: sessionID(session), on: sockets[session % 3], to: nil, from: nil,
          segmentBytesMax: segmentBytesMax, store: store)
      }
    }
  }

  func append(sizes: Int...) {
    for size in sizes { append(Array(repeating: UInt8(truncatingIfNeeded: size), count: size)) }
  }

  /// Runs with their bytes; their references are given back.
  func take() -> [(run: DatagramRun, bytes: [UInt8])] {
    var runs: [(DatagramRun, [UInt8])] = []
    outbox.takeRuns { runs.append(($0, Array(store.bytes($0.bytes)))) }
    outbox.rest(store)
    for (run, _) in runs { store.release(run.bytes) }
    return runs
  }

  /// The sizes of the datagrams of each run.
  func takeSizes() -> [[Int]] {
    take().map { run, bytes in
      guard run.count > 1 else { return [bytes.count] }
      return stride(from: 0, to: bytes.count, by: run.segmentBytes).map {
        min(run.segmentBytes, bytes.count - $0)
      }
    }
  }

  var heldBuffers: Int { store[ShardPool.datagramSend].usedCount }
}

@Suite struct DatagramOutboxTests {
  @Test func datagramsOfOneSizeAreARunAndAShorterOneEndsIt() {
    let box = Outbox()
    box.append(sizes: 1_200, 1_200, 1_200, 300, 300, 1_200, 1_300, 1_300)
    #expect(box.takeSizes() == [[1_200, 1_200, 1_200, 300], [300], [1_200], [1_300, 1_300]])
    #expect(box.outbox.isEmpty && box.heldBuffers == 0)
  }

  @Test func anEmptyDatagramIsNeverPartOfARun() {
    let box = Outbox()
    box.append(sizes: 0, 0, 5, 5, 0, 5)
    #expect(box.takeSizes() == [[0], [0], [5, 5], [0], [5]])
  }

  @Test func sessionsAreNotMixed() {
    let box = Outbox()
    for session in [0, 0, 1, 0, 3, 3] { box.append([UInt8(session)], session: session) }
    let runs = box.take()
    #expect(runs.map(\.bytes) == [[0, 0], [1], [0], [3, 3]])
    #expect(runs.map(\.run.session) == [0, 1, 0, 3].map(sessionID))
    #expect(runs.map(\.run.socket) == [0, 1, 0, 0].map { sockets[$0] })
  }

  @Test func aRunHasNoMoreSegmentsAndBytesThanTheKernelTakes() {
    let box = Outbox()
    for _ in 0..<70 { box.append(sizes: 10) }
    #expect(box.takeSizes().map(\.count) == [64, 6])
    for _ in 0..<5 { box.append(sizes: 30_000) }
    #expect(box.takeSizes().map(\.count) == [2, 2, 1])
    box.append(sizes: 65_507, 0, 65_507)
    #expect(box.takeSizes() == [[65_507], [0], [65_507]])
    #expect(box.heldBuffers == 0)
  }

  @Test func runsAreOfDatagramsUpToTheLimit() {
    let box = Outbox()
    box.segmentBytesMax = 1_000
    box.append(sizes: 1_001, 1_001, 900, 1_000, 1_000, 20)
    #expect(box.takeSizes() == [[1_001], [1_001], [900], [1_000, 1_000, 20]])
    box.segmentBytesMax = 0
    box.append(sizes: 5, 5, 5)
    #expect(box.takeSizes() == [[5], [5], [5]])
  }

  @Test func headersAreJoinedToTheirPayload() {
    let box = Outbox()
    box.append([1, 2], header: [9, 9, 9])
    box.append([3], header: [8, 8, 8])
    box.append([], header: [7])
    let runs = box.take()
    #expect(runs.map(\.bytes) == [[9, 9, 9, 1, 2, 8, 8, 8, 3], [7]])
    #expect(runs[0].run.segmentBytes == 5 && runs[0].run.count == 2)
  }

  /// Sessions that end in a tick have theirs sent at once; that must not cost a buffer each.
  @Test func whatIsTakenEarlyLeavesItsBufferToTheNext() {
    let box = Outbox()
    var bytes: [[UInt8]] = []
    for number in 0..<200 {
      box.append([UInt8(number)])
      box.outbox.takeRuns {
        bytes.append(Array(box.store.bytes($0.bytes)))
        box.store.release($0.bytes)
      }
      #expect(box.heldBuffers == 1)
    }
    #expect(bytes == (0..<200).map { [UInt8($0)] })
    box.outbox.rest(box.store)
    #expect(box.heldBuffers == 0)
  }

  @Test func withoutABufferADatagramIsNotTaken() {
    let box = Outbox()
    let count = box.store[ShardPool.datagramSend].shape.count
    var taken = 0
    while box.append(Array(repeating: 1, count: 65_507), session: taken % 7) { taken += 1 }
    #expect(taken == 2 * count)
    #expect(box.take().count == taken && box.heldBuffers == 0)
    #expect(box.append([1]) && box.take().count == 1)
  }

  @Test func everyByteIsThereWhateverIsCollected() {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SplitMix64(seed)
    let box = Outbox()
    for _ in 0..<40 {
      var expected: [Int: [[UInt8]]] = [:]
      for number in 0..<Int.random(in: 0...60, using: &random) {
        let size = [0, 1, 20, 20, 20, 1_200, 1_200, 30_000].randomElement(using: &random) ?? 0
        let session = Int.random(in: 0...2, using: &random)
        let bytes = Array(repeating: UInt8(truncatingIfNeeded: number), count: size)
        if box.append(bytes, session: session) { expected[session, default: []].append(bytes) }
      }
      var got: [Int: [[UInt8]]] = [:]
      for (run, bytes) in box.take() {
        var rest = bytes[...]
        for _ in 0..<run.count {
          got[Int(run.session.index), default: []].append(
            Array(rest.prefix(run.count > 1 ? run.segmentBytes : rest.count)))
          rest = rest.dropFirst(run.segmentBytes)
        }
      }
      #expect(got == expected, "seed \(seed)")
      #expect(box.heldBuffers == 0)
    }
  }
}
