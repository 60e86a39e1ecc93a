// Back-off of an edge: the borders of every attempt.

import RIBase
import Testing

@testable import RIControl

@Suite struct ReconnectPolicyTests {
  private let lost = EndReason.lost(livedFor: .zero)

  @Test func attemptsWaitBetweenHalfAndAllOfADoublingTime() {
    var shortest = ReconnectPolicy()
    var longest = ReconnectPolicy()
    for seconds: Int64 in [1, 2, 4, 8, 16, 30, 30, 30] {
      #expect(shortest.delay(after: lost, random: 0) == .milliseconds(seconds * 500))
      #expect(longest.delay(after: lost, random: .max) == .seconds(seconds))
    }
  }

  @Test func randomnessIsSpreadEvenly() {
    for (random, milliseconds) in [(UInt64.max / 4, 625), (.max / 2, 750), (.max / 4 * 3, 875)] {
      var policy = ReconnectPolicy()
      let delay = policy.delay(after: lost, random: random)
      let distance = delay.nanoseconds - Int64(milliseconds) * 1_000_000
      #expect(distance.magnitude <= 1)
    }
  }

  @Test func tunnelThatLivedForAMinuteStartsTheCountAnew() {
    var policy = ReconnectPolicy()
    for _ in 0..<10 { _ = policy.delay(after: lost, random: 0) }
    let almost = EndReason.lost(livedFor: Interval(nanoseconds: 59_999_999_999))
    #expect(policy.delay(after: almost, random: .max) == .seconds(30))
    #expect(policy.delay(after: .lost(livedFor: .seconds(60)), random: .max) == .seconds(1))
    #expect(policy.delay(after: lost, random: .max) == .seconds(2))
  }

  @Test func hubThatDrainsIsReplacedAtOnce() {
    var policy = ReconnectPolicy()
    for _ in 0..<10 { _ = policy.delay(after: lost, random: 0) }
    #expect(policy.delay(afterDrainingFor: .seconds(3_600), random: .max) == .zero)
    // Should the next one not be there yet: the usual waits from the first on.
    for seconds: Int64 in [1, 2, 4] {
      #expect(policy.delay(after: lost, random: .max) == .seconds(seconds))
    }
  }

  @Test func hubThatDrainsTunnelAfterTunnelIsNotHammered() {
    var policy = ReconnectPolicy()
    #expect(policy.delay(afterDrainingFor: .zero, random: .max) == .zero)
    for seconds: Int64 in [1, 2, 4, 8, 16, 30, 30] {
      #expect(policy.delay(afterDrainingFor: .seconds(1), random: .max) == .seconds(seconds))
    }
    #expect(policy.delay(afterDrainingFor: .seconds(60), random: .max) == .zero)
    // A tunnel that was merely lost makes it neither better nor worse.
    #expect(policy.delay(after: .lost(livedFor: .seconds(5)), random: .max) == .seconds(1))
    #expect(policy.delay(afterDrainingFor: .seconds(5), random: .max) == .seconds(2))
  }

  @Test func refusalWaitsLongestEachTime() {
    var policy = ReconnectPolicy()
    for _ in 0..<3 {
      #expect(policy.delay(after: .unauthorized, random: 0) == .seconds(15))
      #expect(policy.delay(after: .unauthorized, random: .max) == .seconds(30))
    }
    #expect(policy.delay(after: lost, random: .max) == .seconds(30))
    #expect(policy.delay(after: .lost(livedFor: .seconds(3_600)), random: .max) == .seconds(1))
  }
}
