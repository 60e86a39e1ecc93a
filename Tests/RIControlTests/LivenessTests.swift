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
    #expect(liveness.poll(now: at(15)) == .sendPing(payload: 1))
    #expect(liveness.poll(now: at(15)) == nil)
    #expect(liveness.nextDeadline == at(30))
    #expect(liveness.poll(now: at(30)) == .sendPing(payload: 2))
  }

  @Test func lateHubAsksOnceAndNotForEveryMissedTurn() {
    var liveness = Liveness(role: .hub, now: start)
    #expect(liveness.poll(now: at(40)) == .sendPing(payload: 1))
    #expect(liveness.poll(now: at(40)) == nil)
    #expect(liveness.nextDeadline == at(45))
  }

  @Test func edgeNeverAsks() {
    var liveness = Liveness(role: .edge, now: start)
    #expect(liveness.nextDeadline == at(45))
    #expect(liveness.poll(now: at(44)) == nil)
  }

  @Test(arguments: [LivenessRole.hub, .edge])
  func silenceOf45SecondsIsDeath(role: LivenessRole) {
    var liveness = Liveness(role: role, now: start)
    liveness.received(now: at(10))
    #expect(liveness.poll(now: at(55) + Interval(nanoseconds: -1)) != .dead)
    #expect(liveness.poll(now: at(55)) == .dead)
    liveness.received(now: at(55))
    #expect(liveness.poll(now: at(55) + tick) == nil)
  }

  @Test func deathGoesBeforeAPing() {
    var liveness = Liveness(role: .hub, now: start)
    #expect(liveness.poll(now: at(100)) == .dead)
  }

  @Test func roundTripIsMeasuredFromTheLastPingOnly() {
    var liveness = Liveness(role: .hub, now: start)
    liveness.pong(payload: 0, now: at(1))
    #expect(liveness.roundTrip == nil)
    _ = liveness.poll(now: at(15))
    liveness.pong(payload: 9, now: at(16))
    #expect(liveness.roundTrip == nil)
    liveness.pong(payload: 1, now: at(15) + .milliseconds(20))
    #expect(liveness.roundTrip == .milliseconds(20))
    liveness.pong(payload: 1, now: at(20))
    #expect(liveness.roundTrip == .milliseconds(20))
  }
}
