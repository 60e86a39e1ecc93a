// Paths that lose, delay, reorder, duplicate and narrow.

import RIBase
import RIQUIC
import RITunnel
import Testing

@Suite struct LossTests {
  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func everythingArrivesWhole(seed: UInt64) throws {
    var settings = QUICSettings()
    settings.congestionControl = seed % 2 == 0 ? .bbr : .cubic
    let pair = try LinkPair(seed: seed, settings: settings)
    pair.path.lossPercent = Double(seed)
    pair.path.duplicatePercent = 2
    pair.path.jitter = .milliseconds(8)
    pair.connect()
    #expect(pair.run(for: .seconds(20)) { pair.isUp })
    var sent: [StreamRef: [UInt8]] = [:]
    var hubs: [StreamRef] = []
    for number in 0..<5 {
      let (edge, hub) = try pair.openStream(number + 1)
      let bytes = (0..<200_000).map { _ in UInt8.random(in: 0...255, using: &pair.random) }
      sent[hub] = bytes
      hubs.append(hub)
      pair.edge.send(bytes, on: edge)
      pair.edge.tunnel?.finish(edge)
      pair.hub.send(Array(bytes.reversed()), on: hub)
      pair.hub.tunnel?.finish(hub)
    }
    #expect(
      pair.run(for: .seconds(120)) {
        hubs.allSatisfy { pair.hub.happenings.contains(.finished($0)) }
          && pair.edge.happenings.filter { if case .finished = $0 { true } else { false } }.count
            == 5
      }, "seed \(seed)")
    for hub in hubs { #expect(pair.hub.received[hub] == sent[hub]) }
    #expect(pair.edge.receivedBytes == 1_000_000)
    #expect(pair.run(for: .seconds(60)) { pair.edge.tunnel?.streamsHeld == 0 })
    #expect(pair.edge.tunnel?.unackedBytes == 0)
  }

  /// A lost packet holds up the stream that it is of, and no other.
  @Test func aLostPacketHoldsUpOneStream() throws {
    let pair = try LinkPair()
    try pair.establish()
    let first = try pair.openStream(1)
    let second = try pair.openStream(2)
    // The next packet of data is lost, and the retransmission is long in coming.
    pair.run(for: .milliseconds(100))
    var isLost = false
    pair.filter = { packet in
      if packet.toHub, !isLost {
        isLost = true
        return false
      }
      return true
    }
    pair.edge.send([1, 2, 3], on: first.edge)
    pair.exchange()
    #expect(isLost)
    let sentAt = pair.now
    pair.edge.send([4, 5, 6], on: second.edge)
    #expect(pair.run(for: .seconds(1)) { pair.hub.received[second.hub] == [4, 5, 6] })
    #expect(pair.now - sentAt <= .milliseconds(6))
    #expect(pair.hub.received[first.hub] == nil)
    #expect(pair.run(for: .seconds(1)) { pair.hub.received[first.hub] == [1, 2, 3] })
  }

  /// It is missed after a probe timeout, which no leisure of the peer's acknowledgements draws out.
  @Test func aLostPacketThatNoneFollowsIsSoonMissed() throws {
    let pair = try LinkPair()
    pair.path.delay = .milliseconds(1)
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    for number in 1...10 {
      pair.run(for: .milliseconds(50))
      pair.edge.send([UInt8(number)], on: edge)
    }
    pair.run(for: .milliseconds(50))
    var isLost = false
    pair.filter = { packet in
      guard packet.toHub, !isLost else { return true }
      isLost = true
      return false
    }
    let sentAt = pair.now
    pair.edge.send([11], on: edge)
    #expect(pair.run(for: .seconds(1)) { pair.hub.received[hub]?.last == 11 })
    #expect(isLost)
    #expect(pair.now - sentAt <= .milliseconds(12))
  }

  @Test(arguments: [1_252, 1_300, 1_400, 1_500])
  func thePathMTUIsFound(mtu: Int) throws {
    let pair = try LinkPair()
    pair.path.mtu = mtu
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    var sent = 0
    for _ in 0..<20 {
      pair.edge.send([UInt8](repeating: 5, count: 100_000), on: edge)
      sent += 100_000
      #expect(pair.run(for: .seconds(10)) { pair.hub.received[hub]?.count == sent })
    }
    #expect(pair.largestPacket <= 1_452)
    if mtu >= 1_444 { #expect(pair.largestPacket >= 1_444) }
  }

  @Test func aCutPathEndsTheLink() throws {
    let pair = try LinkPair()
    try pair.establish()
    pair.path.isCut = true
    let cutAt = pair.now
    #expect(pair.run(for: .seconds(120)) { pair.edge.end != nil && pair.hub.end != nil })
    #expect(pair.edge.end == .idle && pair.hub.end == .idle)
    #expect(pair.now - cutAt <= .seconds(50))
    pair.run(for: .seconds(10))
    #expect(pair.hub.endpoint.connectionCount == 0 && pair.edge.endpoint.connectionCount == 0)
  }

  @Test func aHubThatNeverAnswers() throws {
    let pair = try LinkPair()
    pair.path.isCut = true
    pair.connect()
    #expect(pair.run(for: .seconds(60)) { pair.edge.end != nil })
    #expect(pair.edge.end == .handshakeTimeout)
  }
}
