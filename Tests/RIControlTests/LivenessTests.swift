// Pings, their round trip, and the end of a silent tunnel.

import RIBase
import Testing

@testable import RIControl

@Suite struct LivenessTests {
  private let start = Instant(nanoseconds: 7_000_000_000)
  private let tick = Interval(nanoseconds: 1)

  private func at(_ seconds: Int64) -> Instant { start + .seconds(seconds) }

  @Test func hubAsksEvery15Seconds() {
    var liveness = Liveness(role: .hub, now: start)
    #expect(liveness.nextDeadline == at(15))
    #expect(liveness.poll(now: at(15) + Interval(nanoseconds: -1)) == nil)
    #expect(liveness.poll(now: at(15)) == .sendPing(sequence: 1))
    #expect(liveness.poll(now: at(15)) == nil)
    #expect(liveness.nextDeadline == at(30))
    #expect(liveness.poll(now: at(30)) == .sendPing(sequence: 2))
  }

  @Test func lateHubAsksOnceAndNotForEveryMissedTurn() {
    var liveness = Liveness(role: .hub, now: start)
    #expect(liveness.poll(now: at(40)) == .sendPing(sequence: 1))
    #expect(liveness.poll(now: at(40)) == nil)
    #expect(liveness.nextDeadline == at(45))
  }

  /// A PING goes with each look, and the next one is later.
  @Test func aHubWithoutPatienceLooksAfterASilentPeer() {
    var liveness = Liveness(role: .hub, patience: .seconds(3), now: start)
    liveness.received(at: at(2))
    #expect(liveness.nextDeadline == at(5))
    #expect(liveness.poll(now: at(4)) == nil)
    #expect(liveness.poll(now: at(5)) == .look)
    #expect(liveness.poll(now: at(5)) == .sendPing(sequence: 1))
    #expect(liveness.poll(now: at(5)) == nil)
    #expect(liveness.nextDeadline == at(8))
    #expect(liveness.poll(now: at(8)) == .look)
    #expect(liveness.poll(now: at(8)) == .sendPing(sequence: 2))
    liveness.received(at: at(9))
    #expect(liveness.nextDeadline == at(12))
    #expect(liveness.poll(now: at(54)) == .dead)
  }

  @Test func edgeNeverAsks() {
    var liveness = Liveness(role: .edge, now: start)
    #expect(liveness.nextDeadline == at(45))
    #expect(liveness.poll(now: at(44)) == nil)
  }

  @Test(arguments: [LivenessRole.hub, .edge])
  func silenceOf45SecondsIsDeath(role: LivenessRole) {
    var liveness = Liveness(role: role, now: start)
    liveness.received(at: at(10))
    #expect(liveness.poll(now: at(55) + Interval(nanoseconds: -1)) != .dead)
    #expect(liveness.poll(now: at(55)) == .dead)
    liveness.received(at: at(55))
    #expect(liveness.poll(now: at(55) + tick) == nil)
  }

  @Test func deathGoesBeforeAPing() {
    var liveness = Liveness(role: .hub, now: start)
    #expect(liveness.poll(now: at(100)) == .dead)
  }

  @Test func roundTripIsMeasuredFromTheLastPingOnly() {
    var liveness = Liveness(role: .hub, now: start)
    liveness.pong(sequence: 0, now: at(1))
    #expect(liveness.roundTrip == nil)
    _ = liveness.poll(now: at(15))
    liveness.pong(sequence: 9, now: at(16))
    #expect(liveness.roundTrip == nil)
    liveness.pong(sequence: 1, now: at(15) + .milliseconds(20))
    #expect(liveness.roundTrip == .milliseconds(20))
    liveness.pong(sequence: 1, now: at(20))
    #expect(liveness.roundTrip == .milliseconds(20))
  }

  @Test func theBaseIsTheShortestRoundTrip() {
    var liveness = Liveness(role: .hub, now: start)
    #expect(liveness.baseRoundTrip == nil)
    for (n, milliseconds) in [Int64(80), 300, 79, 500].enumerated() {
      let asked = at(Int64(15 * (n + 1)))
      #expect(liveness.poll(now: asked) == .sendPing(sequence: UInt64(n + 1)))
      liveness.pong(sequence: UInt64(n + 1), now: asked + .milliseconds(milliseconds))
      liveness.received(at: asked + .milliseconds(milliseconds))
      #expect(liveness.roundTrip == .milliseconds(milliseconds))
    }
    #expect(liveness.baseRoundTrip == .milliseconds(79))
  }

  @Test func measuringAtOnceAsksTwiceAndThenAsEver() {
    var liveness = Liveness(role: .hub, now: start)
    liveness.measureNow(now: at(1))
    #expect(liveness.nextDeadline == at(1))
    #expect(liveness.poll(now: at(1)) == .sendPing(sequence: 1))
    #expect(liveness.poll(now: at(1)) == nil)
    liveness.pong(sequence: 1, now: at(2))
    #expect(liveness.poll(now: at(2)) == .sendPing(sequence: 2))
    #expect(liveness.baseRoundTrip == .seconds(1))
    liveness.pong(sequence: 2, now: at(3))
    #expect(liveness.poll(now: at(3)) == nil)
    #expect(liveness.nextDeadline == at(17))
  }

  @Test func anEdgeKnowsWhatItIsTold() {
    var liveness = Liveness(role: .edge, now: start)
    liveness.told(baseRoundTrip: nil)
    #expect(liveness.baseRoundTrip == nil)
    liveness.told(baseRoundTrip: .milliseconds(80))
    liveness.told(baseRoundTrip: nil)
    #expect(liveness.baseRoundTrip == .milliseconds(80))
    liveness.told(baseRoundTrip: .milliseconds(60))
    #expect(liveness.baseRoundTrip == .milliseconds(60))
  }
}
