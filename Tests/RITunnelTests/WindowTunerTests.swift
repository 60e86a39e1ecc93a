// Windows that fit the path: how they grow, shrink and stay (extension `autoWindow`).

import RIBase
import RIWire
import TestRandom
import Testing

@testable import RITunnel

@Suite struct WindowTunerTests {
  static let limits = WindowLimits.standard
  static let least = Limits.autoWindowBytesMin

  /// A reader at `rate` bytes a second behind a path of `roundTrip`, a window at a time, for some
  /// trips; the sender is always eager.
  static func window(
    bytesPerSecond rate: Double, roundTrip: Interval, trips: Int, from start: Int = 0
  ) -> Int {
    var now = Instant(nanoseconds: 0)
    var tuner = WindowTuner(limits: limits, now: now)
    for _ in 0..<start { grow(&tuner, &now, roundTrip) }
    for _ in 0..<trips {
      now = now + roundTrip
      let bytes = min(Double(tuner.target), rate * roundTrip.seconds)
      tuner.consumed(
        Int(bytes), buffered: 0, now: now, roundTrip: roundTrip, limits: limits,
        mayGrow: { _ in true })
    }
    return Int(tuner.target)
  }

  private static func grow(_ tuner: inout WindowTuner, _ now: inout Instant, _ roundTrip: Interval)
  {
    now = now + roundTrip
    tuner.consumed(
      Int(tuner.target), buffered: 0, now: now, roundTrip: roundTrip, limits: limits,
      mayGrow: { _ in true })
  }

  /// 1 Gbit/s over 80 ms has 10 MB under way: within eight trips the window has twice that or more.
  @Test func aLongFatPathIsFullWithinEightRoundTrips() {
    let window = Self.window(
      bytesPerSecond: 125e6, roundTrip: .milliseconds(80), trips: 8)
    #expect(window >= 20_000_000 && window <= Limits.autoWindowBytesMax)
    let later = Self.window(bytesPerSecond: 125e6, roundTrip: .milliseconds(80), trips: 500)
    #expect(later == window, "and stays")
  }

  @Test func aShortPathKeepsTheSmallWindow() {
    let window = Self.window(bytesPerSecond: 60e6, roundTrip: .milliseconds(1), trips: 500)
    #expect(window == Self.least)
  }

  @Test func aSlowerReaderGetsASmallerWindow() {
    let roundTrip = Interval.milliseconds(80)
    let window = Self.window(bytesPerSecond: 1e6, roundTrip: roundTrip, trips: 50, from: 8)
    #expect(window < 16 * 80_000 + Self.least && window >= Self.least)
  }

  @Test func whatIsNotReadHalvesTheWindow() {
    var now = Instant(nanoseconds: 0)
    let roundTrip = Interval.milliseconds(10)
    var tuner = WindowTuner(limits: Self.limits, now: now)
    for _ in 0..<3 { Self.grow(&tuner, &now, roundTrip) }
    #expect(Int(tuner.target) == 8 * Self.least)
    now = now + roundTrip
    tuner.consumed(
      4 * Self.least, buffered: 4 * Self.least + 1, now: now, roundTrip: roundTrip,
      limits: Self.limits, mayGrow: { _ in true })
    #expect(Int(tuner.target) == 4 * Self.least)
  }

  @Test func nothingGrowsWithoutLeaveNorWithinATrip() {
    var tuner = WindowTuner(limits: Self.limits, now: Instant(nanoseconds: 0))
    tuner.consumed(
      Self.least, buffered: 0, now: Instant(nanoseconds: 9_999_999),
      roundTrip: .milliseconds(10), limits: Self.limits, mayGrow: { _ in true })
    #expect(Int(tuner.target) == Self.least)
    tuner.consumed(
      0, buffered: 0, now: Instant(nanoseconds: 10_000_000), roundTrip: .milliseconds(10),
      limits: Self.limits, mayGrow: { _ in false })
    #expect(Int(tuner.target) == Self.least)
  }

  /// Neither any rate nor any clock takes it out of its bounds.
  @Test func theWindowStaysWithinItsBounds() {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SplitMix64(seed)
    var now = Instant(nanoseconds: 5)
    var tuner = WindowTuner(limits: Self.limits, now: now)
    for _ in 0..<10_000 {
      now = now + Interval(nanoseconds: Int64.random(in: -1_000...1 << 40, using: &random) >> 12)
      let target = Int(tuner.target)
      tuner.consumed(
        Int.random(in: 0...target, using: &random),
        buffered: Int.random(in: 0...target, using: &random),
        now: now, roundTrip: .microseconds(Int64.random(in: 250...1 << 20, using: &random)),
        limits: Self.limits, mayGrow: { _ in true })
      let window = Int(tuner.target)
      #expect(window >= Self.least && window <= Limits.autoWindowBytesMax)
      #expect(window == target || window == target / 2 || window == 2 * target)
    }
  }

  // MARK: On the wire

  private static func hub(_ budget: Int = 200 << 20) -> (TunnelHarness, StreamRef) {
    let hub = TunnelHarness(.hub, budget: MemoryBudget(bytes: budget))
    hub.tunnel.usesAutoWindows = true
    hub.tunnel.pathRoundTrip = .milliseconds(10)
    return (hub, hub.opened(1))
  }

  /// Takes in a full window and consumes it a round trip later; returns the credit that went out.
  private static func fill(_ hub: TunnelHarness, _ stream: StreamRef, _ window: Int) -> Int {
    var left = window
    while left > 0 {
      let count = min(left, 200_000)
      let seen = hub.receive(WireFrame(.data, 1, Array(repeating: 0, count: count)))
      #expect(seen.count == 1)
      left -= count
    }
    hub.now = hub.now + .milliseconds(10)
    hub.tunnel.consumed(window, on: stream, now: hub.now)
    return hub.frames().filter { $0.type == FrameType.windowUpdateBack.rawValue }
      .reduce(0) { $0 + $1.creditBytes }
  }

  @Test func creditBeyondWhatWasConsumedMakesTheWindowGrow() {
    let (hub, stream) = Self.hub()
    #expect(Self.fill(hub, stream, Self.least) == 2 * Self.least)
    #expect(hub.tunnel.budget.grownBytes == Self.least)
    #expect(Self.fill(hub, stream, 2 * Self.least) == 4 * Self.least)
    hub.tunnel.reset(stream)
    #expect(hub.tunnel.budget.grownBytes == 0)
    hub.tunnel.end()
  }

  @Test func growthStaysWithinHalfOfTheBudget() {
    let (hub, stream) = Self.hub(4 * Self.least)
    #expect(Self.fill(hub, stream, Self.least) == 2 * Self.least)
    #expect(Self.fill(hub, stream, 2 * Self.least) == 2 * Self.least, "no room to double again")
    hub.tunnel.end()
  }

  @Test func pressureShrinksWindowsBelowTheirFloorAndItsEndRestoresThem() {
    let (hub, stream) = Self.hub()
    hub.tunnel.budget.setHeld(150 << 20)
    #expect(hub.tunnel.budget.pressure == .critical)
    #expect(Self.fill(hub, stream, Self.least) == Self.least / 4)
    hub.tunnel.budget.setHeld(100 << 20)
    #expect(hub.tunnel.budget.pressure == .high)
    #expect(Self.fill(hub, stream, Self.least / 4) == Self.least)
    hub.tunnel.budget.setHeld(0)
    #expect(Self.fill(hub, stream, Self.least) >= Self.least)
    hub.tunnel.end()
  }

  /// All of the window is what was granted, so one byte more is too much.
  @Test func oneByteBeyondWhatWasGrantedResetsTheStream() {
    let (hub, stream) = Self.hub()
    _ = hub.receive(WireFrame(.data, 1, Array(repeating: 0, count: 200_000)))
    let rest = Self.least - 200_000
    #expect(hub.receive(WireFrame(.data, 1, Array(repeating: 0, count: rest))).count == 1)
    #expect(hub.receive(WireFrame(.data, 1, [0])) == [.reset(stream)])
    #expect(hub.tunnel.counters.creditOverdrawn == 1)
    hub.tunnel.end()
  }

  @Test func noPeerOpensAWindowBeyondTheLargest() {
    var window = SendWindow(auto: .standard)
    window.credited(.max)
    #expect(Int(window.credit) == Limits.autoWindowBytesMax)
    window.sent(1_000)
    window.credited(.max)
    #expect(Int(window.credit) == Limits.autoWindowBytesMax)
  }
}
