// What waits of UDP sessions: bounded, shared, dropped when full; and the turns of datagrams, which
// cannot be cut.

import RIBase
import RIWire
import TestRandom
import Testing

@testable import RITunnel

@Suite struct SessionQueueTests {
  @Test func aFloodedSessionLeavesRoomForTheOthers() throws {
    let edge = TunnelHarness(.edge)
    let sessions = (0..<4).compactMap { _ in edge.openSession() }
    let shared = edge.slice(Array(repeating: 1, count: 1_000))
    var taken = 0
    while edge.datagram(1_000, of: shared, on: sessions[0]) { taken += 1 }
    // Half of what there is.
    #expect(taken == Limits.datagramBytesQueuedMax / 2 / 1_000 || taken == 1_049)
    #expect(edge.tunnel.counters.datagramsDropped == 1)
    for session in sessions.dropFirst() {
      for _ in 0..<50 { #expect(edge.datagram(1_000, of: shared, on: session)) }
    }
    #expect(!edge.datagram(1_000, of: shared, on: sessions[0]))
    edge.store.release(shared)
    #expect(edge.frames().count == 4 + taken + 150)
    #expect(edge.tunnel.datagramBytesQueued == 0 && edge.held == 0)
    edge.tunnel.end()
  }

  @Test func theNumberOfTinyDatagramsIsBounded() throws {
    let edge = TunnelHarness(.edge)
    let (first, second) = (try #require(edge.openSession()), try #require(edge.openSession()))
    let shared = edge.slice([1])
    var taken = 0
    while edge.datagram(0, of: shared, on: first) { taken += 1 }
    #expect(taken == Limits.datagramsQueuedMax / 2)
    #expect(edge.datagram(0, of: shared, on: second))
    edge.store.release(shared)
    edge.tunnel.end()
    #expect(edge.held == 0)
  }

  @Test func largeOnesKeepFewOfTheLargeBuffers() throws {
    let edge = TunnelHarness(.edge, buffers: 4)
    let sessions = (0..<200).compactMap { _ in edge.openSession() }
    let shared = edge.slice(Array(repeating: 1, count: Limits.smallDatagramBytes + 1))
    var taken = 0
    for session in sessions
    where edge.datagram(Limits.smallDatagramBytes + 1, of: shared, on: session) { taken += 1 }
    #expect(taken == Limits.largeDatagramsQueuedMax)
    #expect(edge.datagram(Limits.smallDatagramBytes, of: shared, on: sessions[199]))
    edge.store.release(shared)
    edge.tunnel.end()
    #expect(edge.held == 0)
  }

  @Test func aSlowLinkHasLessRoom() throws {
    let edge = TunnelHarness(.edge)
    let session = try #require(edge.openSession())
    #expect(edge.datagram(Array(repeating: 1, count: 60_000), on: session, queueBytesMax: 100_000))
    #expect(!edge.datagram(Array(repeating: 1, count: 60_000), on: session, queueBytesMax: 100_000))
    #expect(edge.datagram([1], on: try #require(edge.openSession()), queueBytesMax: 100_000))
    edge.tunnel.end()
  }

  @Test func whatWaitsForAStuckLinkCanBeDropped() throws {
    let edge = TunnelHarness(.edge)
    let stream = edge.open("")
    edge.send([9], on: stream)
    for _ in 0..<3 {
      let session = try #require(edge.openSession())
      for size in [0, 10, 3_000] {
        edge.datagram(Array(repeating: 1, count: size), on: session)
      }
    }
    #expect(edge.tunnel.dropDatagrams() == 9 && edge.tunnel.dropDatagrams() == 0)
    #expect(edge.tunnel.datagramsQueued.largeCount == 0 && edge.tunnel.datagramBytesQueued == 0)
    #expect(edge.frames().last == WireFrame(.data, 1, [9]) && edge.held == 0)
    edge.tunnel.end()
  }

  @Test func aStuckLinksStreamsAreSetAsideAndItsDatagramsAreNot() throws {
    let edge = TunnelHarness(.edge)
    edge.send([9], on: edge.open(""))
    edge.datagram([1], on: try #require(edge.openSession()))
    var lent = 0
    edge.tunnel.replaceQueues { _ in lent += 1 }
    #expect(lent == 1)
    edge.tunnel.end()
  }

  @Test func datagramsDoNotCountAsBytesOfStreams() throws {
    let edge = TunnelHarness(.edge)
    edge.datagram([1, 2, 3], on: try #require(edge.openSession()))
    #expect(edge.tunnel.queuedBytes.total == 0 && edge.tunnel.datagramBytesQueued == 3)
    edge.tunnel.end()
  }

  // MARK: Turns

  /// Sessions of datagrams of all sizes and a stream, always backlogged.
  @Test func sessionsAndStreamsShareByBytes() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SplitMix64(seed)
    let edge = TunnelHarness(.edge, batchBytes: 224 * 1024, buffers: 256)
    let sizes = [1...9, 1_000...1_400, 40_000...40_000, 65_000...65_507, 0...65_507]
    let sessions = sizes.compactMap { _ in edge.openSession() }
    let stream = edge.open("")
    let shared = edge.slice(Array(repeating: 1, count: 65_507))
    var sent = Array(repeating: 0, count: sizes.count + 1)
    for _ in 0..<25 {
      for (session, size) in zip(sessions, sizes) {
        // Enough for a batch, but of the tiny ones.
        for _ in 0..<150 {
          let count = Int.random(in: size, using: &random)
          guard Int(edge.tunnel.streams[session.slot].queue.byteCount) < 140_000,
            edge.datagram(count, of: shared, on: session)
          else { break }
        }
      }
      edge.store.retain(shared)
      if edge.tunnel.streams[stream.slot].queue.byteCount < 262_144 {
        edge.tunnel.send(shared, on: stream)
      } else {
        edge.store.release(shared)
      }
      var bytes = edge.batchBytes()
      for frame in WireFrame.parse(&bytes) where frame.type != FrameType.udpOpen.rawValue {
        guard frame.type != FrameType.open.rawValue else { continue }
        let cost = frame.type == FrameType.udpData.rawValue ? FrameHeader.byteCount : 0
        sent[Int(frame.stream) - 1] += frame.payload.count + cost
      }
    }
    edge.store.release(shared)
    edge.tunnel.end()
    // Who never runs dry has its share, to within two turns and a datagram.
    let backlogged = [sent[2], sent[3], sent[4], sent[5]]
    let spread = (backlogged.max() ?? 0) - (backlogged.min() ?? 0)
    #expect(spread <= 3 * Limits.schedulerQuantumBytes, "\(sent)")
    #expect(edge.held == 0)
  }

  @Test func aDatagramThatDoesNotFitIsLeftForTheNextBatch() throws {
    let edge = TunnelHarness(.edge, batchBytes: 100_000)
    let session = try #require(edge.openSession([]))
    let first = Array(repeating: UInt8(1), count: 65_507)
    edge.datagram(first, on: session)
    edge.datagram(Array(repeating: 2, count: 50_000), on: session)
    var bytes = edge.batchBytes()
    #expect(WireFrame.parse(&bytes).last == WireFrame(.udpData, 1, first) && bytes.isEmpty)
    #expect(edge.tunnel.hasOutput)
    bytes = edge.batchBytes()
    #expect(bytes.count == 50_009)
    edge.tunnel.end()
    #expect(edge.held == 0)
  }

  @Test func controlFramesGoAheadOfAFullQueueOfDatagrams() throws {
    let edge = TunnelHarness(.edge, batchBytes: 224 * 1024)
    let session = try #require(edge.openSession())
    let shared = edge.slice(Array(repeating: 1, count: 1_200))
    _ = edge.frames()
    while edge.datagram(1_200, of: shared, on: session) {}
    edge.store.release(shared)
    let stream = edge.open("")
    edge.tunnel.finish(stream)
    [UInt8(7)].withUnsafeBytes { edge.tunnel.sendPong($0) }
    var bytes = edge.batchBytes()
    #expect(
      WireFrame.parse(&bytes).prefix(3) == [
        WireFrame(.open, 2), WireFrame(.pong, 0, [7]), WireFrame(.close, 2),
      ])
    edge.tunnel.end()
    #expect(edge.held == 0)
  }
}
