// Streams: every verb, resets, headers, credit, ten thousand of them.

import RIBase
import RIQUIC
import RITunnel
import RIWire
import Testing

@Suite struct StreamTests {
  @Test func aResetReachesTheOtherEnd() throws {
    let pair = try LinkPair()
    try pair.establish()
    let first = try pair.openStream(1)
    let second = try pair.openStream(2)
    pair.edge.send([UInt8](repeating: 1, count: 50_000), on: first.edge)
    pair.edge.tunnel?.reset(first.edge)
    pair.hub.tunnel?.reset(second.hub)
    #expect(
      pair.run(for: .seconds(5)) {
        pair.hub.happenings.contains(.reset(first.hub))
          && pair.edge.happenings.contains(.reset(second.edge))
      })
    pair.run(for: .seconds(1))
    for tunnel in [pair.edge.tunnel, pair.hub.tunnel] {
      #expect(tunnel?.streamsHeld == 0 && tunnel?.activeStreams == 0)
      #expect(tunnel?.unackedBytes == 0 && tunnel?.queuedBytes.total == 0)
    }
    // Verbs on dead streams do nothing.
    pair.edge.send([1], on: first.edge)
    pair.edge.tunnel?.finish(first.edge)
    pair.edge.tunnel?.reset(first.edge)
    pair.edge.tunnel?.consumed(1, on: first.edge, now: pair.now)
    #expect(pair.edge.tunnel?.sendRoom(first.edge) == 0)
    #expect(pair.edge.tunnel?.owner(of: first.edge) == SlotID.none)
    #expect(pair.edge.tunnel?.details(of: first.edge) == nil)
  }

  @Test func aResetAfterOurEndOfDirection() throws {
    let pair = try LinkPair()
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    pair.edge.send([1, 2, 3], on: edge)
    pair.edge.tunnel?.finish(edge)
    #expect(pair.run(for: .seconds(1)) { pair.hub.happenings.contains(.finished(hub)) })
    pair.hub.tunnel?.reset(hub)
    #expect(pair.run(for: .seconds(1)) { pair.edge.happenings.contains(.reset(edge)) })
    pair.run(for: .seconds(1))
    #expect(pair.edge.tunnel?.streamsHeld == 0 && pair.hub.tunnel?.streamsHeld == 0)
  }

  @Test func ownersAreKept() throws {
    let pair = try LinkPair()
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    #expect(pair.edge.tunnel?.owner(of: edge) == SlotID(index: 1, generation: 1))
    #expect(pair.hub.tunnel?.owner(of: hub) == SlotID(index: 2, generation: 1))
    #expect(pair.hub.tunnel?.details(of: hub)?.bytes == 38)
  }

  /// What is not read is not sent: the sender stops at the window, and others go on.
  @Test func windowsHold() throws {
    let pair = try LinkPair()
    try pair.establish()
    let stalled = try pair.openStream(1)
    let other = try pair.openStream(2)
    pair.hub.consumes = false
    pair.edge.send([UInt8](repeating: 1, count: 2_000_000), on: stalled.edge)
    pair.run(for: .seconds(3))
    let window = WindowLimits.standard.autoBytesMin
    let arrived = try #require(pair.hub.received[stalled.hub]?.count)
    #expect(arrived <= window && arrived > window - 200)
    #expect(pair.edge.tunnel?.sendRoom(stalled.edge, atLeast: 1) ?? 1 <= 0)
    #expect(pair.edge.tunnel?.isRead(stalled.edge) == false)
    pair.edge.send([7, 8, 9], on: other.edge)
    #expect(pair.run(for: .seconds(1)) { pair.hub.received[other.hub] == [7, 8, 9] })
    // Once it is read all of it comes, and there is room again.
    pair.hub.consumes = true
    pair.hub.tunnel?.consumed(arrived, on: stalled.hub, now: pair.now)
    #expect(pair.run(for: .seconds(10)) { pair.hub.received[stalled.hub]?.count == 2_000_000 })
    #expect(pair.edge.happenings.contains(.room(stalled.edge)))
    #expect(pair.edge.tunnel?.isRead(stalled.edge) == true)
  }

  /// The window of a stream that is read grows with the path; the link is not held to 256 KiB a
  /// round trip.
  @Test func windowsGrowWithThePath() throws {
    let pair = try LinkPair()
    pair.path.delay = .milliseconds(100)
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    var rates: [Int] = []
    for _ in 0..<10 {
      let before = pair.hub.received[hub]?.count ?? 0
      let end = pair.now + .seconds(1)
      while pair.now < end {
        while pair.edge.tunnel?.sendRoom(edge) ?? 0 > 16_384,
          pair.edge.tunnel?.unackedBytes ?? 0 < 8 << 20
        {
          pair.edge.send([UInt8](repeating: 1, count: 16_384), on: edge)
        }
        pair.run(for: .milliseconds(20))
      }
      rates.append((pair.hub.received[hub]?.count ?? 0) - before)
      if rates.last ?? 0 > 4 << 20 { break }
    }
    // 256 KiB a round trip of 200 ms would be 1.3 MB a second.
    #expect(rates.max() ?? 0 > 4 << 20, "\(rates)")
  }

  @Test(arguments: ["no line at all", String(repeating: "x", count: 200) + "\r\n"])
  func aStreamWithoutAHeaderIsRefused(header: String) throws {
    let pair = try LinkPair()
    try pair.establish()
    let bytes = Array(header.utf8)
    let opened = bytes.prefix(107).withUnsafeBytes {
      pair.edge.tunnel?.open(header: $0, owner: .none, now: pair.now)
    }
    let stream = try #require(opened)
    if bytes.count > 107 {
      pair.edge.send(Array(bytes[107...]), on: stream)
    } else {
      pair.edge.tunnel?.finish(stream)
    }
    #expect(pair.run(for: .seconds(1)) { pair.edge.happenings.contains(.reset(stream)) })
    #expect(pair.hub.streams.isEmpty && pair.hub.tunnel?.counters.streamsRefused == 1)
    pair.run(for: .seconds(1))
    #expect(pair.hub.tunnel?.streamsHeld == 0 && pair.edge.tunnel?.streamsHeld == 0)
  }

  @Test func tenThousandStreams() throws {
    let pair = try LinkPair()
    try pair.establish()
    let header = Array("PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n".utf8)
    var streams: [StreamRef] = []
    for _ in 0..<10_000 {
      let stream = header.withUnsafeBytes {
        pair.edge.tunnel?.open(header: $0, owner: .none, now: pair.now)
      }
      streams.append(try #require(stream))
    }
    #expect(pair.run(for: .seconds(30)) { pair.hub.streams.count == 10_000 })
    #expect(pair.hub.tunnel?.activeStreams == 10_000)
    // They all work, and they all go.
    for stream in streams {
      pair.edge.send([1, 2], on: stream)
      pair.edge.tunnel?.finish(stream)
    }
    for stream in pair.hub.streams { pair.hub.tunnel?.finish(stream) }
    #expect(pair.run(for: .seconds(60)) { pair.edge.tunnel?.streamsHeld == 0 })
    #expect(pair.hub.receivedBytes == 20_000)
    #expect(pair.run(for: .seconds(5)) { pair.hub.tunnel?.streamsHeld == 0 })
  }

  /// The limit on streams holds whatever the edge does; those that go make room.
  @Test func theLimitOnStreamsHolds() throws {
    var settings = QUICSettings()
    settings.streamsMax = 8
    let pair = try LinkPair(hubSettings: settings)
    try pair.establish()
    // The hub's limit is known to the edge when the answer is.
    pair.run(for: .milliseconds(100))
    var streams: [(edge: StreamRef, hub: StreamRef)] = []
    for number in 1...7 { streams.append(try pair.openStream(number)) }
    let refused = Array("PROXY\r\n".utf8).withUnsafeBytes {
      pair.edge.tunnel?.open(header: $0, owner: .none, now: pair.now)
    }
    #expect(refused == nil)
    pair.edge.tunnel?.reset(streams[0].edge)
    pair.run(for: .seconds(1))
    _ = try pair.openStream(9)
  }

  /// A busy stream does not keep a small one waiting for more than its turn.
  @Test func streamsTakeTurns() throws {
    let pair = try LinkPair()
    try pair.establish()
    let bulk = try pair.openStream(1)
    let small = try pair.openStream(2)
    pair.edge.send([UInt8](repeating: 1, count: 4_000_000), on: bulk.edge)
    pair.edge.send([5], on: small.edge)
    #expect(pair.run(for: .seconds(5)) { pair.hub.received[small.hub] == [5] })
    #expect((pair.hub.received[bulk.hub]?.count ?? 0) <= 2 * Limits.quicQuantumBytes)
  }

  @Test func replacedQueuesAreSentAsTheyWere() throws {
    let pair = try LinkPair()
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    pair.path.isCut = true
    let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
    pair.edge.send(bytes, on: edge)
    pair.run(for: .milliseconds(50))
    var replaced = 0
    pair.edge.tunnel?.replaceQueues { queue in
      var copy = SliceQueue()
      while let slice = pair.edge.store.popFirst(from: &queue) {
        let same = pair.edge.slices(Array(pair.edge.store.bytes(slice)))[0]
        pair.edge.store.release(slice)
        pair.edge.store.append(same, to: &copy)
      }
      replaced += Int(copy.byteCount)
      queue = copy
    }
    #expect(replaced > 0 && replaced < bytes.count)
    pair.path.isCut = false
    #expect(pair.run(for: .seconds(10)) { pair.hub.received[hub] == bytes })
  }

  /// Ten streams in bulk for eleven seconds: they are told as sustained, and small ones are not.
  @Test func sustainedStreamsAreTold() throws {
    let pair = try LinkPair()
    try pair.establish()
    let bulk = try pair.openStream(1)
    let small = try pair.openStream(2)
    let end = pair.now + .seconds(12)
    while pair.now < end {
      if pair.edge.tunnel?.sendRoom(bulk.edge) ?? 0 >= 100_000 {
        pair.edge.send([UInt8](repeating: 1, count: 100_000), on: bulk.edge)
      }
      pair.run(for: .milliseconds(10))
    }
    #expect(pair.hub.received[bulk.hub]?.count ?? 0 > 30_000_000)
    #expect(pair.edge.happenings.contains(.sustained(bulk.edge)))
    #expect(!pair.edge.happenings.contains(.sustained(small.edge)))
    #expect(pair.edge.tunnel?.tier(of: bulk.edge) == .sustained)
    #expect(pair.edge.tunnel?.sustainedStreams == 1)
    pair.edge.send([5], on: small.edge)
    #expect(pair.run(for: .seconds(1)) { pair.hub.received[small.hub] == [5] })
  }

  /// Everything is given back when a link ends in the middle of its work.
  @Test func endGivesEverythingBack() throws {
    let pair = try LinkPair()
    try pair.establish()
    pair.hub.consumes = false
    for number in 1...10 {
      let (edge, hub) = try pair.openStream(number)
      pair.edge.send([UInt8](repeating: 1, count: 400_000), on: edge)
      pair.hub.send([UInt8](repeating: 1, count: 400_000), on: hub)
    }
    pair.run(for: .milliseconds(20))
    pair.edge.tunnel?.end()
    #expect(pair.run(for: .seconds(1)) { pair.hub.end == .closed(applicationError: 0) })
    pair.run(for: .seconds(30))
    #expect(pair.hub.endpoint.connectionCount == 0 && pair.edge.endpoint.connectionCount == 0)
    pair.hub.endpoint.end()
    pair.edge.endpoint.end()
    for end in [pair.hub, pair.edge] {
      #expect((0..<3).allSatisfy { end.store[PoolID(UInt8($0))].usedCount == 0 })
    }
  }

  /// Without a buffer packets are dropped, not data: everything comes once there are buffers again.
  @Test func aReceiverWithoutBuffers() throws {
    let pair = try LinkPair()
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    var taken: [BufferHandle] = []
    pair.hub.handler = { _, event in
      // Whoever keeps what it is lent, and everything else.
      guard case .tunnel(.data(_, let slice)) = event, taken.count < 64 else { return }
      pair.hub.store.retain(slice)
      taken.append(slice.buffer)
      while let buffer = pair.hub.store[PoolID(0)].take() { taken.append(buffer) }
    }
    let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 11) }
    pair.edge.send(bytes, on: edge)
    pair.run(for: .milliseconds(300))
    #expect(pair.hub.received[hub]?.count ?? 0 < bytes.count)
    pair.hub.handler = nil
    for buffer in taken { pair.hub.store.release(buffer) }
    #expect(pair.run(for: .seconds(20)) { pair.hub.received[hub] == bytes })
    #expect(pair.hub.endpoint.counters.droppedNoBuffer > 0)
  }
}
