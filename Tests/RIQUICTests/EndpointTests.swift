// The endpoint: whom it answers, whom it sends away, and what it does with nonsense.

import RIBase
import RICrypto
import RIQUIC
import RITunnel
import RIWire
import Testing

@Suite struct EndpointTests {
  @Test func retryUnderLoad() throws {
    var settings = QUICSettings()
    settings.retryThreshold = 0
    let pair = try LinkPair(hubSettings: settings)
    try pair.establish()
    #expect(pair.hub.endpoint.counters.retriesSent == 1)
    #expect(pair.hub.endpoint.counters.handshakesStarted == 1)
  }

  /// A token of the last link shows the address at once: no Retry.
  @Test func anAddressTokenSavesTheRetry() throws {
    var settings = QUICSettings()
    settings.retryThreshold = 0
    settings.allowsEarlyData = false
    let pair = try LinkPair(hubSettings: settings)
    try pair.establish()
    #expect(pair.run(for: .seconds(1)) { pair.edge.tunnel?.resumption != nil })
    pair.run(for: .milliseconds(100))
    let resumption = try #require(pair.edge.tunnel?.resumption)
    pair.edge.tunnel?.end()
    pair.run(for: .seconds(2))
    pair.edge.happenings = []
    pair.connect(resuming: resumption)
    #expect(pair.run(for: .seconds(5)) { pair.isUp })
    #expect(pair.hub.endpoint.counters.retriesSent == 1)
    #expect(pair.edge.tunnel?.isResumed == true)
  }

  @Test func anotherVersionIsNegotiated() throws {
    let pair = try LinkPair()
    var packet = [UInt8](repeating: 0, count: 1_200)
    packet.replaceSubrange(
      0..<23, with: [0xC0, 0xFA, 0xCE, 0xB0, 0x0C, 8] + Array(1...8) + [8] + Array(11...18))
    inject(packet, pair)
    var answers: [[UInt8]] = []
    pair.filter = {
      answers.append($0.bytes)
      return false
    }
    pair.exchange()
    let answer = try #require(answers.first)
    #expect(answers.count == 1 && answer[0] & 0x80 != 0 && answer[1..<5] == [0, 0, 0, 0])
    // Ids change places; version 1 is among those offered.
    #expect(Array(answer[5..<23]) == [8] + Array(11...18) + [8] + Array(1...8))
    #expect(
      stride(from: 23, to: answer.count, by: 4).contains { answer[$0..<$0 + 4] == [0, 0, 0, 1] })
    // What is smaller than a first packet must be is not answered (RFC 9000 section 6.1).
    inject(Array(packet.prefix(600)), pair)
    pair.exchange()
    #expect(answers.count == 1)
  }

  func inject(_ bytes: [UInt8], _ pair: LinkPair, from port: Port = 4_000) {
    pair.inject(
      LinkPair.Packet(
        at: pair.now, order: 0, toHub: true, from: SocketAddress(IPAddress(v4: 9), port),
        to: LinkPair.hubAddress, ecn: 0, bytes: bytes))
  }

  /// The hub is killed and started anew: the edge hears of it within two seconds although it has
  /// nothing to send.
  @Test func aStatelessResetAfterARestart() throws {
    let pair = try LinkPair()
    try pair.establish()
    pair.run(for: .seconds(20))
    #expect(pair.edge.end == nil)
    pair.restartHub()
    let restartedAt = pair.now
    #expect(pair.run(for: .seconds(5)) { pair.edge.end != nil })
    #expect(pair.edge.end == .statelessReset)
    #expect(pair.now - restartedAt <= .seconds(2))
    #expect(pair.hub.endpoint.counters.statelessResetsSent == 1)
  }

  /// Without the right secret nobody ends a link.
  @Test func aForgedResetIsNone() throws {
    let pair = try LinkPair()
    try pair.establish()
    for _ in 0..<100 {
      let forged =
        [0x40 | UInt8.random(in: 0...63, using: &pair.random)]
        + (0..<40).map { _ in UInt8.random(in: 0...255, using: &pair.random) }
      pair.inject(
        LinkPair.Packet(
          at: pair.now, order: 0, toHub: false, from: LinkPair.hubAddress,
          to: LinkPair.edgeAddress, ecn: 0, bytes: forged))
    }
    _ = try pair.openStream()
    #expect(pair.edge.end == nil)
  }

  @Test func answersToStrangersAreBounded() throws {
    let pair = try LinkPair()
    var answers = 0
    pair.filter = { packet in
      answers += 1
      return false
    }
    for round in 0..<10 {
      for _ in 0..<500 {
        let packet = [0x41] + (0..<60).map { _ in UInt8.random(in: 0...255, using: &pair.random) }
        inject(packet, pair, from: Port(1_024 + round))
      }
      pair.exchange()
      pair.now = pair.now + .milliseconds(10)
    }
    #expect(answers > 0 && answers <= Limits.quicAnswersPerSecond / 2)
    #expect(pair.hub.endpoint.counters.droppedUnknown == 5_000)
    #expect(pair.hub.endpoint.counters.droppedRateLimited == 5_000 - UInt64(answers))
    #expect(pair.hub.endpoint.connectionCount == 0)
  }

  /// Clients that never go on: their number is bounded, they are asked to show their address, they
  /// are given less than three times what they sent, and they are forgotten.
  @Test func aFloodOfHandshakes() throws {
    var settings = QUICSettings()
    settings.retryThreshold = 16
    settings.handshakesMax = 32
    let pair = try LinkPair(hubSettings: settings)
    pair.connect()
    var hellos: [[UInt8]] = []
    pair.filter = { packet in
      if packet.toHub { hellos.append(packet.bytes) }
      return false
    }
    for _ in 0..<40 {
      _ = pair.edge.endpoint.connect(
        to: LinkPair.hubAddress, from: LinkPair.edgeAddress, serverName: nil, now: pair.now)
    }
    pair.exchange()
    #expect(hellos.count >= 41)
    var sent = 0
    pair.filter = { packet in
      if !packet.toHub { sent += packet.bytes.count }
      return false
    }
    var received = 0
    for (number, hello) in hellos.enumerated() {
      inject(hello, pair, from: Port(2_000 + number))
      received += hello.count
    }
    pair.exchange()
    let counters = pair.hub.endpoint.counters
    #expect(counters.handshakesStarted == 16 && counters.retriesSent >= 24)
    #expect(pair.hub.endpoint.handshakeCount <= 32)
    pair.run(for: .seconds(15))
    #expect(sent <= 3 * received)
    #expect(pair.hub.endpoint.handshakeCount == 0 && pair.hub.endpoint.connectionCount == 0)
    #expect(pair.hub.endpoint.counters.handshakesFailed == 16)
    // The engine never hears of them.
    #expect(pair.hub.happenings.isEmpty)
  }

  /// One address does not keep the others out.
  @Test func handshakesAreLimitedBySource() throws {
    var settings = QUICSettings()
    settings.handshakesPerSourceMax = 5
    let pair = try LinkPair(hubSettings: settings)
    var hellos: [[UInt8]] = []
    pair.filter = { packet in
      if packet.toHub { hellos.append(packet.bytes) }
      return false
    }
    for _ in 0..<8 {
      _ = pair.edge.endpoint.connect(
        to: LinkPair.hubAddress, from: LinkPair.edgeAddress, serverName: nil, now: pair.now)
    }
    pair.exchange()
    let firsts = hellos.prefix(8)
    for hello in firsts { inject(hello, pair) }
    #expect(pair.hub.endpoint.counters.handshakesStarted <= 5)
    #expect(pair.hub.endpoint.counters.droppedBusy >= 3)
    pair.filter = nil
    pair.edge.happenings = []
    pair.connect()
    #expect(pair.run(for: .seconds(5)) { pair.isUp })
    pair.run(for: .seconds(15))
    #expect(pair.hub.endpoint.handshakeCount == 0)
    // Those that were given up count no more.
    inject(firsts[0], pair)
    #expect(pair.hub.endpoint.handshakeCount == 1)
  }

  @Test func packetsOfAnotherShardAreHandedOver() throws {
    let pair = try LinkPair(shard: 2, shards: 4)
    try pair.establish()
    // The same packet at another shard's socket: a rebinding has moved the flow.
    let other = QUICEndpoint(
      server: pair.context, store: pair.hub.store, pools: End.pools,
      budget: MemoryBudget(bytes: 1 << 20), shard: 1, shards: 4)
    var seen: [LinkPair.Packet] = []
    pair.filter = { packet in
      if packet.toHub { seen.append(packet) }
      return !packet.toHub
    }
    let header = Array("PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n".utf8)
    _ = header.withUnsafeBytes { pair.edge.tunnel?.open(header: $0, owner: .none, now: pair.now) }
    pair.exchange()
    let packet = try #require(seen.first)
    func offer(isHandedOver: Bool) -> QUICReceipt {
      packet.bytes.withUnsafeBytes {
        other.receive(
          $0, segmentBytes: $0.count, from: packet.from, to: packet.to, ecn: 0, now: pair.now,
          isHandedOver: isHandedOver)
      }
    }
    #expect(offer(isHandedOver: false) == .foreign(shard: 2))
    // Never twice.
    #expect(offer(isHandedOver: true) == .done)
    #expect(other.counters.handedOver == 1 && other.counters.droppedUnknown == 1)
    other.end()
    pair.inject(packet)
    #expect(pair.hub.streams.count == 1)
  }

  /// Packets with bytes changed, cut, joined: dropped, whatever they were, and the link goes on.
  @Test(arguments: [1, 2, 3] as [UInt64])
  func mutatedPackets(seed: UInt64) throws {
    let pair = try LinkPair(seed: seed)
    var kept: [LinkPair.Packet] = []
    pair.filter = { packet in
      if kept.count < 400 { kept.append(packet) }
      return true
    }
    try pair.establish()
    let (edge, hub) = try pair.openStream()
    pair.edge.send([UInt8](repeating: 1, count: 100_000), on: edge)
    pair.hub.send([UInt8](repeating: 2, count: 100_000), on: hub)
    pair.run(for: .milliseconds(500))
    for _ in 0..<1_500 {
      guard var packet = kept.randomElement(using: &pair.random) else { break }
      for _ in 0..<Int.random(in: 1...4, using: &pair.random) where !packet.bytes.isEmpty {
        let at = Int.random(in: 0..<packet.bytes.count, using: &pair.random)
        switch Int.random(in: 0...3, using: &pair.random) {
        case 0: packet.bytes[at] ^= 1 << UInt8.random(in: 0...7, using: &pair.random)
        case 1: packet.bytes.removeSubrange(at...)
        case 2: packet.bytes.insert(UInt8.random(in: 0...255, using: &pair.random), at: at)
        default: packet.bytes[at % min(packet.bytes.count, 40)] = 0xFF
        }
      }
      if !packet.bytes.isEmpty { pair.inject(packet) }
    }
    pair.run(for: .seconds(1))
    #expect(pair.edge.end == nil && pair.hub.end == nil, "seed \(seed)")
    pair.edge.send([9, 9], on: edge)
    #expect(pair.run(for: .seconds(5)) { pair.hub.received[hub]?.count == 100_002 })
  }

  @Test func randomBytesFromStrangers() throws {
    let pair = try LinkPair()
    for _ in 0..<600 {
      let count = Int.random(in: 1...1_500, using: &pair.random)
      var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &pair.random) }
      if pair.random.chance(50) {
        bytes.replaceSubrange(0..<min(5, count), with: [0xC3, 0, 0, 0, 1].prefix(count))
      }
      inject(bytes, pair)
    }
    pair.run(for: .seconds(20))
    #expect(pair.hub.endpoint.connectionCount == 0 && pair.hub.happenings.isEmpty)
    try pair.establish()
  }

  #if DEBUG
    /// Packets that are authentic, with frames that are none: the link ends with its reason, at
    /// both ends.
    @Test(arguments: [0xFF, 0x3F, 0x1E] as [UInt8])
    func authenticNonsense(byte: UInt8) throws {
      let pair = try LinkPair()
      try pair.establish()
      let (edge, _) = try pair.openStream()
      pair.edge.send([1, 2, 3], on: edge)
      QUICTampering.set { frames in
        for at in frames.indices { frames[at] = byte }
      }
      let written = pair.edge.endpoint.pollPackets(into: pair.buffer, now: pair.now)
      QUICTampering.set(nil)
      let batch = try #require(written)
      pair.inject(
        LinkPair.Packet(
          at: pair.now, order: 0, toHub: true, from: batch.local, to: batch.remote, ecn: 0,
          bytes: Array(pair.buffer[..<batch.byteCount])))
      guard case .library = pair.hub.end else {
        Issue.record("\(String(describing: pair.hub.end))")
        return
      }
      #expect(pair.run(for: .seconds(1)) { pair.edge.end != nil })
      guard case .failedAtPeer(let code) = pair.edge.end else {
        Issue.record("\(String(describing: pair.edge.end))")
        return
      }
      // PROTOCOL_VIOLATION or FRAME_ENCODING_ERROR (RFC 9000 section 20.1).
      #expect(code == 0x07 || code == 0x0A)
    }
  #endif

  @Test func theWrongPin() throws {
    let other = try TLSIdentity.selfSigned(commonName: "other")
    let pair = try LinkPair(trust: .pin(other.pin))
    pair.connect()
    #expect(pair.run(for: .seconds(5)) { pair.edge.end != nil })
    #expect(
      pair.edge.end == .handshake(.pinMismatch(expected: other.pin, got: hubIdentity.pin)))
    pair.run(for: .seconds(20))
    #expect(pair.hub.happenings.isEmpty && pair.hub.endpoint.connectionCount == 0)
    #expect(pair.hub.endpoint.counters.handshakesFailed == 1)
  }

  @Test func firstUseAndAnything() throws {
    for trust in [HubTrust.firstUse(known: nil), .firstUse(known: hubIdentity.pin), .insecure] {
      let pair = try LinkPair(trust: trust)
      try pair.establish()
      #expect(pair.edge.tunnel?.peerPin == hubIdentity.pin)
    }
  }
}
