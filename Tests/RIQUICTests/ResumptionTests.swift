// The second link of an edge: tickets, 0-RTT, and replays of it.

import RIBase
import RITunnel
import Testing

@testable import RIQUIC

@Suite struct ResumptionTests {
  /// A link that has ended, and what the next one can go by.
  func former(_ pair: LinkPair) throws -> QUICResumption {
    try pair.establish()
    #expect(pair.run(for: .seconds(1)) { pair.edge.happenings.contains(.resumable) })
    pair.run(for: .milliseconds(100))
    let resumption = try #require(pair.edge.tunnel?.resumption)
    pair.edge.tunnel?.end()
    pair.run(for: .seconds(2))
    pair.edge.happenings = []
    pair.hub.happenings = []
    pair.hub.tunnel = nil
    return QUICResumption(bytes: resumption.bytes)
  }

  /// The line travels with the first packets: the answer is there a round trip after the start, and
  /// half a trip after the hub may act.
  @Test func theLineTravelsInEarlyData() throws {
    let pair = try LinkPair()
    pair.path.delay = .milliseconds(50)
    let resumption = try former(pair)
    let startedAt = pair.now
    pair.connect(resuming: resumption)
    // The hub has the line when the first flight is there, and must not act on it.
    pair.run(for: .milliseconds(55))
    #expect(!pair.hub.happenings.contains(.controlBytes(LinkPair.line)))
    #expect(pair.run(for: .seconds(5)) { pair.isUp })
    #expect(pair.edge.tunnel?.isResumed == true && pair.edge.tunnel?.isEarlyDataAccepted == true)
    #expect(pair.hub.tunnel?.isEarlyDataAccepted == true)
    #expect(pair.hub.endpoint.counters.earlyDataAccepted == 1)
    #expect(pair.now - startedAt <= .milliseconds(205), "two round trips")
    #expect(pair.hub.happenings.contains(.controlBytes(LinkPair.line)))
    _ = try pair.openStream()
  }

  /// What an eavesdropper sends again: the hub shakes hands anew at most, and sees no line.
  @Test func aReplayIsRefused() throws {
    let pair = try LinkPair()
    let resumption = try former(pair)
    var first: [LinkPair.Packet] = []
    pair.filter = { packet in
      // Its first flight.
      if packet.toHub, packet.at == first.first?.at ?? packet.at { first.append(packet) }
      return true
    }
    pair.connect(resuming: resumption)
    #expect(pair.run(for: .seconds(5)) { pair.isUp })
    #expect(pair.hub.endpoint.counters.earlyDataAccepted == 1)
    pair.edge.tunnel?.end()
    pair.run(for: .seconds(3))
    pair.hub.happenings = []
    let started = pair.hub.endpoint.counters.handshakesStarted
    for var packet in first {
      packet.from = SocketAddress(IPAddress(v4: 77), 1)
      pair.inject(packet)
    }
    pair.run(for: .seconds(15))
    #expect(pair.hub.endpoint.counters.handshakesStarted == started + 1)
    #expect(pair.hub.endpoint.counters.earlyDataAccepted == 1)
    #expect(pair.hub.happenings.isEmpty)
    #expect(pair.context.replays.count == 1)
  }

  /// What the hub's TLS asks of each ClientHello with early data.
  @Test func aHelloCountsOnceUntilItIsTooOld() {
    let store = AntiReplayStore(capacity: 2)
    #expect(!store.isReplayed([1], expires: 20, now: 10))
    #expect(store.isReplayed([1], expires: 20, now: 10))
    #expect(store.isReplayed([1], expires: 30, now: 20))
    #expect(!store.isReplayed([2], expires: 30, now: 20))
    // Full: whoever comes counts as seen, until there are some too old to count.
    #expect(store.isReplayed([3], expires: 30, now: 20))
    #expect(!store.isReplayed([3], expires: 31, now: 21))
    #expect(!store.isReplayed([1], expires: 40, now: 31))
  }

  /// A hub that has a new secret knows no ticket: the link comes up all the same.
  @Test func anUnknownTicket() throws {
    let pair = try LinkPair()
    let resumption = try former(pair)
    let other = try LinkPair()
    var settings = QUICSettings()
    settings.allowsEarlyData = true
    let context = try QUICServerContext(
      identity: hubIdentity, secret: [UInt8](repeating: 8, count: 32), settings: settings)
    other.hub = End {
      QUICEndpoint(
        server: context, store: $0, pools: End.pools, budget: MemoryBudget(bytes: 200 << 20))
    }
    other.connect(resuming: resumption)
    #expect(other.run(for: .seconds(5)) { other.isUp })
    #expect(other.edge.tunnel?.isEarlyDataAccepted == false)
    #expect(other.hub.happenings.contains(.controlBytes(LinkPair.line)))
    _ = try other.openStream()
  }

  /// A hub that takes no 0-RTT any more: the line is sent again.
  @Test func earlyDataIsRefused() throws {
    let pair = try LinkPair()
    let resumption = try former(pair)
    var settings = QUICSettings()
    settings.allowsEarlyData = false
    let context = try QUICServerContext(
      identity: hubIdentity, secret: hubSecret, settings: settings)
    pair.hub.endpoint.end()
    pair.hub = End {
      QUICEndpoint(
        server: context, store: $0, pools: End.pools, budget: MemoryBudget(bytes: 200 << 20))
    }
    pair.connect(resuming: resumption)
    #expect(pair.run(for: .seconds(5)) { pair.isUp })
    #expect(pair.edge.tunnel?.isEarlyDataAccepted == false)
    _ = try pair.openStream()
  }

  @Test(arguments: [[], [1], [0, 1, 9, 0, 1, 9, 0, 1, 9], Array(repeating: 0xFF, count: 900)])
  func rubbishIsNoResumption(bytes: [UInt8]) throws {
    let pair = try LinkPair()
    pair.connect(resuming: QUICResumption(bytes: bytes))
    #expect(pair.run(for: .seconds(5)) { pair.isUp })
    #expect(pair.edge.tunnel?.isResumed == false)
  }
}
