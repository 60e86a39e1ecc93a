// A link from its handshake to its end, over a path that loses nothing.

import RIBase
import RICrypto
import RIQUIC
import RITunnel
import Testing

@Suite struct LinkTests {
  @Test func handshakeAndLines() throws {
    let pair = try LinkPair()
    try pair.establish()
    #expect(pair.hub.happenings.prefix(2) == [.established, .controlBytes(LinkPair.line)])
    #expect(pair.edge.tunnel?.peerPin == hubIdentity.pin)
    #expect(pair.edge.tunnel?.cipherName == "AES-128-GCM")
    #expect(pair.hub.tunnel?.remote == LinkPair.edgeAddress)
    #expect(pair.hub.endpoint.handshakeCount == 0 && pair.edge.endpoint.handshakeCount == 0)
  }

  @Test(arguments: [true, false])
  func bytesBothWaysAndHalfClose(ownProtection: Bool) throws {
    var settings = QUICSettings()
    settings.usesOwnProtection = ownProtection
    let pair = try LinkPair(settings: settings)
    try pair.establish()
    let (edge, hub) = try pair.openStream(77)
    #expect(
      pair.hub.happenings.contains(
        .opened(hub, "PROXY TCP4 192.0.2.1 192.0.2.2 77 443\r\n")))
    let question = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    pair.edge.send(question, on: edge)
    pair.edge.tunnel?.finish(edge)
    #expect(pair.run(for: .seconds(5)) { pair.hub.happenings.contains(.finished(hub)) })
    #expect(pair.hub.received[hub] == question)
    // The other direction is still open.
    let answer = (0..<500_000).map { UInt8(truncatingIfNeeded: $0 &* 3) }
    pair.hub.send(answer, on: hub)
    pair.hub.tunnel?.finish(hub)
    #expect(pair.run(for: .seconds(5)) { pair.edge.happenings.contains(.finished(edge)) })
    #expect(pair.edge.received[edge] == answer)
    #expect(
      pair.run(for: .seconds(5)) {
        pair.edge.happenings.contains(.closed(edge)) && pair.hub.happenings.contains(.closed(hub))
      })
    #expect(pair.edge.tunnel?.streamsHeld == 0 && pair.hub.tunnel?.streamsHeld == 0)
    #expect(pair.edge.tunnel?.activeStreams == 0 && pair.hub.tunnel?.activeStreams == 0)
    #expect(pair.edge.tunnel?.unackedBytes == 0 && pair.hub.tunnel?.unackedBytes == 0)
  }

  /// The time of a link's last packet says nothing of when it ends.
  @Test func whoeverLeavesAfterALongRestSaysSo() throws {
    var settings = QUICSettings()
    settings.keepAlive = nil
    let pair = try LinkPair(settings: settings)
    try pair.establish()
    _ = pair.run(for: .seconds(20))
    pair.edge.tunnel?.end()
    // As an engine does: the deadlines that are due come before the packets.
    pair.edge.endpoint.handleDeadline(now: pair.now)
    #expect(pair.run(for: .seconds(1)) { pair.hub.end == .closed(applicationError: 0) })
  }

  /// 45 s after its last packet the end that hears nothing can still say that it gives up, so that
  /// the other one, to which everything comes, does not wait for as long again.
  @Test(arguments: [true, false])
  func whoeverHearsNothingCanStillSayThatItLeaves(isHub: Bool) throws {
    let pair = try LinkPair()
    try pair.establish()
    _ = pair.run(for: .seconds(10))
    pair.filter = { $0.toHub != isHub }
    let cut = pair.now
    let (deaf, other) = isHub ? (pair.hub, pair.edge) : (pair.edge, pair.hub)
    let sequence: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 1]
    sequence.withUnsafeBytes { pair.hub.tunnel?.sendPing($0) }
    _ = pair.run(for: .seconds(5))
    let last = try #require(deaf.tunnel?.lastReceived)
    // An edge that rests asks after its hub, without a word to whoever reads events.
    #expect(last <= cut + .milliseconds(10) && cut - last <= Limits.quicKeepAliveInterval)
    _ = pair.run(for: last + Limits.silenceTimeout - pair.now)
    #expect(deaf.end == nil && other.end == nil)
    deaf.tunnel?.end()
    #expect(pair.run(for: .seconds(1)) { other.end == .closed(applicationError: 0) })
  }
}
