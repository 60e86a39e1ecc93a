// How streams share a tunnel: fair by bytes, small ones soon, frames cut to the batch's room.

import RIBase
import RIWire
import TestRandom
import Testing

@testable import RITunnel

@Suite struct SchedulerTests {
  /// Streams with all kinds of slice sizes, always backlogged, batches of any size.
  @Test func backloggedStreamsShareByBytesWithinOneQuantum() {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SplitMix64(seed)
    let edge = TunnelHarness(.edge, batchBytes: 200_000, buffers: 128)
    let streams = (0..<6).map { _ in edge.open() }
    var left = Array(repeating: 0, count: streams.count)
    for (i, stream) in streams.enumerated() {
      let size = [300, 5_000, 16_384, 65_536, 100_000, 262_144][i]
      while left[i] < 2 << 20 {
        // Many slices of one buffer, with gaps so that they do not join.
        let whole = edge.slice(Array(repeating: UInt8(i), count: 1 << 18))
        var offset = 0
        while offset + size <= Int(whole.count), left[i] < 2 << 20 {
          edge.store.retain(whole)
          edge.tunnel.send(
            Slice(buffer: whole.buffer, offset: offset, count: size - 1), on: stream)
          left[i] += size - 1
          offset += size
        }
        edge.store.release(whole)
      }
    }
    var sent = Array(repeating: 0, count: streams.count)
    var partial: [UInt8] = []
    while left.allSatisfy({ $0 > 0 }) {
      if random.chance(50) {
        // Somebody else took a part of the batch: as a piece of its own, for it is not small.
        let taken = Int.random(in: 513..<edge.batch.capacity, using: &random)
        edge.batch.append(edge.slice(Array(repeating: 0, count: taken)))
      }
      let before = edge.batch.pieceCount
      edge.tunnel.pollFrames(into: edge.batch, now: TunnelHarness.noTime)
      for i in before..<edge.batch.pieceCount { partial += edge.batch.piece(i) }
      edge.batch.clear()
      for frame in WireFrame.parse(&partial) where frame.type == FrameType.data.rawValue {
        let i = Int(frame.stream) - 1
        #expect(frame.payload.count <= Limits.dataFrameBytes)
        sent[i] += frame.payload.count
        left[i] -= frame.payload.count
        // Once one has run dry the others share what it leaves.
        guard left.allSatisfy({ $0 > 0 }) else { break }
        let spread = (sent.max() ?? 0) - (sent.min() ?? 0)
        #expect(spread <= Limits.schedulerQuantumBytes)
      }
    }
    edge.tunnel.end()
    #expect(edge.held == 0)
  }

  @Test func aSmallStreamWaitsNoLongerThanOneRound() {
    let edge = TunnelHarness(.edge, buffers: 64)
    let bulk = (0..<4).map { _ in edge.open() }
    for stream in bulk {
      for _ in 0..<4 { edge.send(Array(repeating: 1, count: 1 << 18), on: stream) }
    }
    let small = edge.open()
    edge.send([1, 2, 3], on: small)
    let frames = edge.frames().filter { $0.type == FrameType.data.rawValue }
    let turn = frames.firstIndex { $0.stream == 5 }
    #expect(turn == 4)
    edge.tunnel.end()
  }

  @Test func smallSlicesOfOneStreamShareAFrame() {
    let edge = TunnelHarness(.edge)
    let stream = edge.open()
    for i in 0..<20 { edge.send(Array(repeating: UInt8(i), count: 700), on: stream) }
    let frames = edge.frames()
    #expect(frames.count == 2)
    #expect(frames[1].payload == (0..<20).flatMap { Array(repeating: UInt8($0), count: 700) })
    edge.tunnel.end()
    #expect(edge.held == 0)
  }

  @Test func aFrameIsCutToTheRoomOfItsBatchAndNoSliverIsStarted() {
    let edge = TunnelHarness(.edge, batchBytes: 20_000)
    let stream = edge.open("")
    edge.send(Array(repeating: 1, count: 21_000), on: stream)
    edge.send(Array(repeating: 1, count: 10), on: edge.open(""))
    var bytes = edge.batchBytes()
    #expect(bytes.count == 20_000)
    var count = WireFrame.parse(&bytes).count
    #expect(count == 3 && bytes.isEmpty)
    bytes = edge.batchBytes()
    count = WireFrame.parse(&bytes).count
    #expect(count == 2 && bytes.isEmpty)
    // 1,000 bytes of room are not worth a part of a large payload.
    edge.send(Array(repeating: 1, count: 10_000), on: stream)
    edge.batch.append(edge.slice(Array(repeating: 0, count: 19_000)))
    #expect(edge.tunnel.pollFrames(into: edge.batch, now: TunnelHarness.noTime) == 0)
    #expect(edge.tunnel.hasOutput)
    edge.batch.clear()
    edge.tunnel.end()
    #expect(edge.held == 0)
  }
}
