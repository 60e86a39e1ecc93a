// Paths that change under a link, and keys that do.

import RIBase
import RIQUIC
import RITunnel
import Testing

@Suite struct PathTests {
  /// A NAT gives the edge another port: the link and its streams go on.
  @Test func aNATRebinding() throws {
    let pair = try LinkPair()
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    pair.edge.send([1], on: edge)
    #expect(pair.run(for: .seconds(1)) { pair.hub.received[hub] == [1] })
    let outside = SocketAddress(IPAddress(v4: 0xC633_6401), 61_000)
    pair.natAddress = outside
    pair.edge.send([2], on: edge)
    #expect(pair.run(for: .seconds(1)) { pair.hub.received[hub] == [1, 2] })
    pair.hub.send([UInt8](repeating: 3, count: 100_000), on: hub)
    #expect(pair.run(for: .seconds(5)) { pair.edge.received[edge]?.count == 100_000 })
    #expect(pair.run(for: .seconds(1)) { pair.hub.happenings.contains(.moved) })
    #expect(pair.hub.tunnel?.remote == outside)
    #expect(pair.hub.endpoint.counters.migrations == 1)
    #expect(pair.edge.end == nil && pair.hub.end == nil)
  }

  /// The edge's own address changes, in the middle of a transfer.
  @Test func aMigration() throws {
    let pair = try LinkPair()
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    let bytes = (0..<600_000).map { UInt8(truncatingIfNeeded: $0 &* 5) }
    pair.edge.send(bytes, on: edge)
    pair.hub.send(bytes, on: hub)
    pair.run(for: .milliseconds(40))
    let other = SocketAddress(IPAddress(v4: 0x0A01_0002), 40_001)
    #expect(pair.edge.tunnel?.migrate(to: other, now: pair.now) == true)
    #expect(pair.edge.tunnel?.local == other)
    // The old address is gone.
    pair.filter = { $0.toHub ? $0.from == other : $0.to == other }
    #expect(
      pair.run(for: .seconds(20)) {
        pair.hub.received[hub] == bytes && pair.edge.received[edge] == bytes
      })
    #expect(pair.run(for: .seconds(2)) { pair.hub.tunnel?.remote == other })
    #expect(pair.edge.end == nil && pair.hub.end == nil)
  }

  /// Of a new path no round trip is known to pace by: the first packets on it do not hold up those
  /// behind them.
  @Test func aNewPathIsNotPacedByAGuess() throws {
    let pair = try LinkPair()
    pair.path.delay = .milliseconds(1)
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    pair.run(for: .milliseconds(100))
    let other = SocketAddress(IPAddress(v4: 0x0A01_0002), 40_001)
    #expect(pair.edge.tunnel?.migrate(to: other, now: pair.now) == true)
    let movedAt = pair.now
    for count in 1...10 {
      pair.edge.send([UInt8](repeating: UInt8(count), count: 1_000), on: edge)
      #expect(pair.run(for: .seconds(1)) { pair.hub.received[hub]?.count == 1_000 * count })
    }
    #expect(pair.now - movedAt <= .milliseconds(60))
  }

  /// What is lost while a link moves costs no second of waiting.
  @Test(arguments: 1...8 as ClosedRange<UInt64>)
  func aMigrationOnALossyPath(seed: UInt64) throws {
    let pair = try LinkPair(seed: seed)
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    pair.path.lossPercent = 10
    for number in 0..<5 {
      let other = SocketAddress(IPAddress(v4: 0x0A01_0002), Port(41_000 + number))
      let isMoved = pair.run(for: .seconds(5)) {
        pair.edge.tunnel?.migrate(to: other, now: pair.now) == true
      }
      #expect(isMoved, "seed \(seed), move \(number)")
      pair.filter = { $0.toHub ? $0.from == other : $0.to == other }
      for _ in 0..<5 {
        pair.edge.send([UInt8](repeating: 1, count: 1_000), on: edge)
        pair.hub.send([UInt8](repeating: 2, count: 1_000), on: hub)
        pair.run(for: .milliseconds(20))
      }
      #expect(
        pair.run(for: .seconds(10)) {
          pair.hub.received[hub]?.count == 5_000 * (number + 1)
            && pair.edge.received[edge]?.count == 5_000 * (number + 1)
        }, "seed \(seed), move \(number)")
    }
    #expect(pair.edge.end == nil && pair.hub.end == nil)
  }

  /// Several times over: connection ids are renewed.
  @Test func manyMigrations() throws {
    let pair = try LinkPair()
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    for number in 0..<20 {
      let other = SocketAddress(IPAddress(v4: 0x0A01_0002), Port(41_000 + number))
      #expect(pair.edge.tunnel?.migrate(to: other, now: pair.now) == true, "\(number)")
      pair.edge.send([UInt8(number)], on: edge)
      #expect(pair.run(for: .seconds(2)) { pair.hub.received[hub]?.count == number + 1 })
      pair.run(for: .seconds(1))
    }
    #expect(pair.hub.tunnel?.remote.port == 41_019)
  }

  @Test(arguments: [true, false])
  func keyUpdates(ownProtection: Bool) throws {
    var settings = QUICSettings()
    settings.usesOwnProtection = ownProtection
    let pair = try LinkPair(settings: settings)
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    for number in 0..<6 {
      pair.run(for: .seconds(1))
      // ngtcp2 makes the next keys when it writes a packet a while after the last change.
      pair.edge.tunnel?.sendHello([])
      [].withUnsafeBytes { pair.hub.tunnel?.sendPing($0) }
      pair.run(for: .milliseconds(100))
      let tunnel = number % 2 == 0 ? pair.edge.tunnel : pair.hub.tunnel
      #expect(tunnel?.updateKeys(now: pair.now) == true)
      pair.edge.send([UInt8(number)], on: edge)
      pair.hub.send([UInt8(number)], on: hub)
      #expect(
        pair.run(for: .seconds(2)) {
          pair.hub.received[hub]?.count == number + 1
            && pair.edge.received[edge]?.count == number + 1
        })
    }
    #expect(pair.edge.end == nil && pair.hub.end == nil)
  }

  /// Packets carry ECT(0) once the path is known to bear it (RFC 9000 section 13.4.2).
  @Test func packetsCarryECN() throws {
    let pair = try LinkPair()
    try pair.establish()
    let (edge, _) = try pair.openStream()
    var marks: Set<UInt8> = []
    pair.filter = {
      marks.insert($0.ecn)
      return true
    }
    pair.edge.send([UInt8](repeating: 1, count: 100_000), on: edge)
    pair.run(for: .seconds(1))
    #expect(marks.contains(2))
  }

  @Test func theRoundTripIsKnown() throws {
    let pair = try LinkPair()
    pair.path.delay = .milliseconds(20)
    try pair.establish()
    let (smoothed, least) = try #require(pair.edge.tunnel?.roundTrip)
    #expect(least >= .milliseconds(40) && least < .milliseconds(45))
    #expect(smoothed >= .milliseconds(40) && smoothed < .milliseconds(80))
  }
}
