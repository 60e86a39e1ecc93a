// Which streams are sustained flows, at the borders of the rule and on the wire (SPEC 2.5).

import RIBase
import RIWire
import Testing

@testable import RITunnel

@Suite struct FlowClassifierTests {
  private static func verdict(bytes: Int, after age: Interval) -> Bool {
    let opened = Instant(nanoseconds: 77)
    var classifier = FlowClassifier(now: opened)
    return classifier.moved(bytes, now: opened + age)
  }

  @Test func tenSecondsAreNotYetMoreThanTenSeconds() {
    #expect(!Self.verdict(bytes: 1 << 40, after: .seconds(10)))
    #expect(Self.verdict(bytes: 1 << 40, after: Interval(nanoseconds: 10_000_001_000)))
  }

  @Test func twentyMegabitsAreNotYetMoreThanTwentyMegabits() {
    #expect(!Self.verdict(bytes: 50_000_000, after: .seconds(20)))
    #expect(Self.verdict(bytes: 50_000_001, after: .seconds(20)))
    #expect(!Self.verdict(bytes: 50_000_001, after: .milliseconds(20_001)))
  }

  @Test func bytesOfAllItsLifeCount() {
    var classifier = FlowClassifier(now: Instant(nanoseconds: 0))
    for second in 1...10 {
      let early = classifier.moved(
        2_600_000, now: Instant(nanoseconds: UInt64(second) * 1_000_000_000))
      #expect(!early)
    }
    let isSustained = classifier.moved(2_600_000, now: Instant(nanoseconds: 10_300_000_000))
    #expect(isSustained)
    #expect(classifier.bytes == 28_600_000)
  }

  @Test func aClockThatStandsStillOrACenturyIsNoTrouble() {
    var classifier = FlowClassifier(now: Instant(nanoseconds: .max))
    let backwards = classifier.moved(.max, now: Instant(nanoseconds: 0))
    #expect(!backwards)
    #expect(!Self.verdict(bytes: 1, after: Interval(nanoseconds: .max)))
  }

  /// Either direction counts, at either end; the verdict is told once and stays.
  @Test func aSustainedStreamIsToldOnceAndGoesBehindTheOthers() {
    let hub = TunnelHarness(.hub)
    let bulk = hub.opened(1)
    let other = hub.opened(2)
    hub.now = hub.now + .seconds(11)
    var seen: [Seen] = []
    for _ in 0..<140 {
      seen += hub.receive(WireFrame(.data, 1, Array(repeating: 0, count: 200_000)))
      hub.tunnel.consumed(200_000, on: bulk, now: hub.now)
      _ = hub.frames()
    }
    #expect(seen.filter { $0 == .sustained(bulk) }.count == 1)
    #expect(hub.tunnel.sustainedStreams == 1)
    #expect(hub.tunnel.counters.streamsSustained == 1)
    #expect(hub.tunnel.tier(of: bulk) == .sustained && hub.tunnel.tier(of: other) == .data)
    hub.send(Array(repeating: 1, count: 100_000), on: bulk)
    hub.send([2], on: other)
    #expect(hub.tunnel.queuedBytes.sustained == 100_000 && hub.tunnel.queuedBytes.data == 1)
    let first = hub.frames().first { $0.type == FrameType.dataBack.rawValue }
    #expect(first == WireFrame(.dataBack, 2, [2]))
    hub.tunnel.reset(bulk)
    #expect(hub.tunnel.sustainedStreams == 0)
    hub.tunnel.end()
    #expect(hub.held == 0)
  }

  /// By the published rules its window shrinks to 1 MB, told by withheld credit alone.
  @Test func aSustainedStreamsWindowIsOneMegabyteForGood() {
    let hub = TunnelHarness(.hub)
    let bulk = hub.opened(1)
    var returned = 0
    var consumed = 0
    func take(_ count: Int) {
      _ = hub.receive(WireFrame(.data, 1, Array(repeating: 0, count: count)))
      hub.tunnel.consumed(count, on: bulk, now: hub.now)
      consumed += count
      returned += hub.frames().filter { $0.type == FrameType.windowUpdateBack.rawValue }
        .reduce(0) { $0 + $1.creditBytes }
    }
    // The sender uses its whole window of 4 MB once, before anything is consumed.
    for _ in 0..<32 { _ = hub.receive(WireFrame(.data, 1, Array(repeating: 0, count: 1 << 17))) }
    hub.tunnel.consumed(4 << 20, on: bulk, now: hub.now)
    consumed += 4 << 20
    returned += hub.frames().reduce(0) { $0 + ($1.type == 0x0A ? $1.creditBytes : 0) }
    hub.now = hub.now + .seconds(11)
    for _ in 0..<400 { take(100_000) }
    #expect(hub.tunnel.sustainedStreams == 1)
    let withheld = consumed - returned
    #expect(withheld >= 3 << 20 && withheld < 4 << 20, "withheld \(withheld)")
    hub.tunnel.end()
  }
}
