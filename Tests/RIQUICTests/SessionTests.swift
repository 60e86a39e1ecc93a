// UDP sessions over DATAGRAM frames: opens that are lost and repeated, and what is too large.

import RIBase
import RIQUIC
import RITunnel
import RIWire
import Testing

@Suite struct SessionTests {
  static let header = ProxyHeader(
    source: SocketAddress(IPAddress(v4: 0xC000_0201), 5_000),
    destination: SocketAddress(IPAddress(v4: 0xC000_0202), 53)
  ).encodedV2(transport: .datagram)

  func openSession(_ pair: LinkPair) throws -> StreamRef {
    let session = Self.header.withUnsafeBytes {
      pair.edge.tunnel?.openSession(
        header: $0, owner: SlotID(index: 9, generation: 1), now: pair.now)
    }
    return try #require(session)
  }

  func send(_ bytes: [UInt8], _ end: End, _ session: StreamRef) -> Bool {
    guard let buffer = end.store[bytes.count > 16_384 ? PoolID(0) : PoolID(2)].take() else {
      return false
    }
    let slice = Slice(buffer: buffer, offset: 0, count: bytes.count)
    end.store.mutableBytes(slice).copyBytes(from: bytes)
    return end.tunnel?.sendDatagram(slice, on: session) ?? false
  }

  func session(_ end: End) -> StreamRef? {
    end.happenings.compactMap {
      if case .sessionOpened(let session, let header) = $0, header == Self.header {
        session
      } else {
        nil
      }
    }.first
  }

  func datagrams(_ end: End) -> [[UInt8]] {
    end.happenings.compactMap { if case .datagram(_, let bytes) = $0 { bytes } else { nil } }
  }

  @Test func datagramsBothWays() throws {
    let pair = try LinkPair()
    try pair.establish()
    let edge = try openSession(pair)
    #expect(send([1, 2, 3], pair.edge, edge))
    #expect(pair.run(for: .seconds(1)) { datagrams(pair.hub) == [[1, 2, 3]] })
    let hub = try #require(session(pair.hub))
    #expect(send([4], pair.hub, hub) && send([], pair.hub, hub))
    #expect(pair.run(for: .seconds(1)) { datagrams(pair.edge) == [[4], []] })
    #expect(pair.edge.tunnel?.owner(of: edge) == SlotID(index: 9, generation: 1))
    #expect(pair.edge.tunnel?.activeSessions == 1 && pair.hub.tunnel?.activeSessions == 1)
    pair.edge.tunnel?.reset(edge)
    pair.hub.tunnel?.reset(hub)
    #expect(pair.edge.tunnel?.sessionsHeld == 0 && pair.hub.tunnel?.sessionsHeld == 0)
    #expect(pair.edge.tunnel?.streamsHeld == 0)
  }

  /// The open goes in front of data again until something comes back, every 250 ms at most.
  @Test func lostOpensAreRepeated() throws {
    let pair = try LinkPair()
    try pair.establish()
    pair.run(for: .milliseconds(500))
    let edge = try openSession(pair)
    pair.path.isCut = true
    #expect(send([1], pair.edge, edge))
    pair.run(for: .milliseconds(10))
    pair.path.isCut = false
    // Too early for another open: the hub does not know the session.
    #expect(send([2], pair.edge, edge))
    pair.run(for: .milliseconds(200))
    #expect(session(pair.hub) == nil && datagrams(pair.hub).isEmpty)
    pair.run(for: .milliseconds(100))
    #expect(send([3], pair.edge, edge))
    #expect(pair.run(for: .seconds(1)) { datagrams(pair.hub) == [[3]] })
    let hub = try #require(session(pair.hub))
    // Repeated, and taken as none.
    pair.run(for: .milliseconds(300))
    #expect(send([4], pair.edge, edge))
    pair.run(for: .milliseconds(100))
    #expect(datagrams(pair.hub) == [[3], [4]] && pair.hub.tunnel?.activeSessions == 1)
    // Once answered there are no more opens.
    #expect(send([9], pair.hub, hub))
    pair.run(for: .milliseconds(300))
    let sent = pair.edge.tunnel?.bytesSent ?? 0
    #expect(send([5], pair.edge, edge))
    pair.exchange()
    #expect((pair.edge.tunnel?.bytesSent ?? 0) - sent < 60)
  }

  @Test func tooLargeWithoutTheExtension() throws {
    let pair = try LinkPair()
    try pair.establish()
    let edge = try openSession(pair)
    let largest = try #require(pair.edge.tunnel?.datagramBytesMax)
    #expect(largest >= 1_100)
    #expect(send([UInt8](repeating: 1, count: largest), pair.edge, edge))
    #expect(!send([UInt8](repeating: 1, count: largest + 1), pair.edge, edge))
    #expect(pair.run(for: .seconds(1)) { datagrams(pair.hub).map(\.count) == [largest] })
    #expect(pair.edge.tunnel?.datagramsTooLarge == 1)
    #expect(pair.edge.tunnel?.counters.datagramsDropped == 1)
  }

  @Test func tooLargeWithTheExtension() throws {
    let pair = try LinkPair()
    try pair.establish()
    pair.edge.tunnel?.usesUDPStreams = true
    pair.hub.tunnel?.usesUDPStreams = true
    pair.run(for: .milliseconds(100))
    let edge = try openSession(pair)
    #expect(send([1], pair.edge, edge))
    pair.run(for: .milliseconds(100))
    let large = (0..<Limits.udpPayloadBytesMax).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    #expect(send(large, pair.edge, edge))
    #expect(pair.run(for: .seconds(5)) { datagrams(pair.hub).last == large })
    let hub = try #require(session(pair.hub))
    // Many, one after the other: streams that have ended make room for others.
    for count in 0..<300 {
      let isSent = send([UInt8](repeating: UInt8(count & 255), count: 3_000 + count), pair.hub, hub)
      #expect(isSent)
      pair.run(for: .milliseconds(20))
    }
    #expect(pair.run(for: .seconds(5)) { datagrams(pair.edge).count == 300 })
    #expect(pair.edge.tunnel?.streamsHeld == 1 && pair.hub.tunnel?.streamsHeld == 1)
  }

  /// A large datagram can be a session's first.
  @Test func theFirstDatagramIsLarge() throws {
    let pair = try LinkPair()
    try pair.establish()
    pair.edge.tunnel?.usesUDPStreams = true
    pair.hub.tunnel?.usesUDPStreams = true
    pair.run(for: .milliseconds(100))
    let edge = try openSession(pair)
    #expect(send([UInt8](repeating: 3, count: 5_000), pair.edge, edge))
    #expect(pair.run(for: .seconds(5)) { session(pair.hub) != nil })
    #expect(pair.run(for: .seconds(1)) { datagrams(pair.hub).map(\.count) == [5_000] })
  }

  @Test func queuesAreBounded() throws {
    let pair = try LinkPair()
    try pair.establish()
    let edge = try openSession(pair)
    pair.path.isCut = true
    var taken = 0
    for _ in 0..<20_000 where send([UInt8](repeating: 1, count: 100), pair.edge, edge) {
      taken += 1
      if taken % 100 == 0 { pair.exchange() }
    }
    #expect(taken < 20_000 && pair.edge.tunnel?.counters.datagramsDropped ?? 0 > 0)
    #expect(pair.edge.tunnel?.datagramBytesQueued ?? 0 <= Limits.datagramBytesQueuedMax)
    #expect(pair.edge.tunnel?.dropDatagrams() ?? 0 > 0)
    #expect(pair.edge.tunnel?.datagramBytesQueued == 0)
  }

  /// Datagrams and streams share the link by turns.
  @Test func datagramsDoNotStarveStreams() throws {
    let pair = try LinkPair()
    try pair.establish()
    let stream = try pair.openStream()
    let edge = try openSession(pair)
    pair.edge.send([UInt8](repeating: 1, count: 400_000), on: stream.edge)
    let end = pair.now + .seconds(20)
    while pair.now < end, pair.hub.received[stream.hub]?.count ?? 0 < 400_000 {
      for _ in 0..<50 { _ = send([UInt8](repeating: 2, count: 1_000), pair.edge, edge) }
      pair.run(for: .milliseconds(2))
    }
    #expect(pair.hub.received[stream.hub]?.count == 400_000)
    #expect(!datagrams(pair.hub).isEmpty)
  }
}
