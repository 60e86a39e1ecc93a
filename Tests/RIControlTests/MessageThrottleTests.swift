// How many messages of a kind go through, and what is said of the rest.

import RIBase
import Testing

@testable import RIControl

@Suite struct MessageThrottleTests {
  private let start = Instant(nanoseconds: 5_000_000_000)

  private func at(_ milliseconds: Int64) -> Instant { start + .milliseconds(milliseconds) }

  @Test func aBurstThenOneASecondThatSaysHowManyWereLeftOut() {
    var throttle = MessageThrottle(burst: 3, now: start)
    for _ in 0..<3 { #expect(throttle.admit(now: start) == 0) }
    for n in 1..<1_000 { #expect(throttle.admit(now: at(Int64(n))) == nil) }
    #expect(throttle.leftOut == 999)
    #expect(throttle.admit(now: at(1_000)) == 999)
    #expect(throttle.admit(now: at(1_001)) == nil)
    #expect(throttle.admit(now: at(1_999)) == nil)
    #expect(throttle.admit(now: at(2_000)) == 2)
    #expect(throttle.admit(now: at(2_500)) == nil)
  }

  @Test func aPauseGivesTheBurstBackAndNoMore() {
    var throttle = MessageThrottle(burst: 3, now: start)
    for _ in 0..<5 { _ = throttle.admit(now: start) }
    #expect(throttle.admit(now: at(100_000)) == 2)
    #expect(throttle.admit(now: at(100_000)) == 0)
    #expect(throttle.admit(now: at(100_000)) == 0)
    #expect(throttle.admit(now: at(100_000)) == nil)
  }

  @Test func whatNobodyFollowsIsToldByItself() {
    var throttle = MessageThrottle(burst: 1, now: start)
    #expect(throttle.pollLeftOut(now: at(5_000)) == nil)
    #expect(throttle.admit(now: at(5_000)) == 0)
    for _ in 0..<4 { #expect(throttle.admit(now: at(5_100)) == nil) }
    // Not before its time, and it counts for nothing.
    #expect(throttle.pollLeftOut(now: at(5_200)) == nil)
    #expect(throttle.pollLeftOut(now: at(6_000)) == 4)
    #expect(throttle.pollLeftOut(now: at(6_000)) == nil)
    #expect(throttle.admit(now: at(6_100)) == nil, "it was this second's message")
    #expect(throttle.admit(now: at(7_000)) == 1)
  }

  /// Against a plain count: never more than the burst and one for each second since the start, and
  /// nothing is lost.
  @Test(arguments: 0..<20) func nothingIsLostAndTheRateHolds(seed: UInt64) {
    var state = seed
    var throttle = MessageThrottle(now: start)
    var (now, said, told, offered) = (Int64(0), 0, 0, 0)
    for _ in 0..<5_000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      now += Int64(state >> 33 % 300)
      offered += 1
      if let leftOut = throttle.admit(now: at(now)) {
        said += 1
        told += leftOut
      }
      #expect(said <= Limits.messagesBurst + Int(now / 1_000))
    }
    #expect(said + told + throttle.leftOut == offered)
  }

  @Test func kindsDoNotShareTheirBursts() {
    var throttles = MessageThrottles(now: start)
    for _ in 0..<Limits.messagesBurst { #expect(throttles.admit(.refusal, now: start) == 0) }
    #expect(throttles.admit(.refusal, now: start) == nil)
    #expect(throttles.admit(.memoryBudget, now: start) == 0)
    #expect(throttles.pollLeftOut(now: start) == nil)
    let told = throttles.pollLeftOut(now: at(1_000))
    #expect(told?.kind == .refusal && told?.count == 1)
    #expect(throttles.pollLeftOut(now: at(1_000)) == nil)
  }
}
