// How long wrong secrets wait for their answer.

import RIBase
import Testing

@testable import RIControl

struct GuessThrottleTests {
  private let start = Instant(nanoseconds: 1_000_000_000)
  private let guesser = IPAddress(v4: 0xC000_0201)

  @Test func aFewMistakesCostNothingAndGuessingWaitsLongerAndLonger() {
    var throttle = GuessThrottle()
    let waits = (0..<Limits.guessesFree + 6).map { _ in throttle.refused(guesser, now: start) }
    #expect(waits.prefix(Limits.guessesFree).allSatisfy { $0 == .zero })
    let expected = [1, 2, 4, 8, 8, 8].map { Interval.seconds($0) }
    #expect(Array(waits.dropFirst(Limits.guessesFree)) == expected)
  }

  @Test func othersDoNotWaitForAGuesser() {
    var throttle = GuessThrottle()
    for _ in 0..<100 { _ = throttle.refused(guesser, now: start) }
    #expect(throttle.refused(IPAddress(v4: 0xC000_0202), now: start) == .zero)
  }

  @Test func anIPv6GuesserIsItsSlash64() {
    var throttle = GuessThrottle()
    for low in 0..<UInt64(Limits.guessesFree) {
      _ = throttle.refused(IPAddress(v6High: 0x2001_0DB8 << 32, low: low), now: start)
    }
    let next = IPAddress(v6High: 0x2001_0DB8 << 32, low: 1 << 40)
    #expect(throttle.refused(next, now: start) == .seconds(1))
  }

  /// An edge with a wrong secret comes back every 15 to 30 s (SPEC 2.3).
  @Test func guessesAreForgottenSoThatAMisconfiguredEdgeNeverWaits() {
    var throttle = GuessThrottle()
    var now = start
    for _ in 0..<1_000 {
      #expect(throttle.refused(guesser, now: now) == .zero)
      now = now + .seconds(15)
    }
    // The worst guesser has a clean slate after some minutes.
    for _ in 0..<10_000 { _ = throttle.refused(guesser, now: now) }
    now = now + Interval(nanoseconds: Limits.guessForgottenAfter.nanoseconds * 30)
    #expect(throttle.refused(guesser, now: now) == .zero)
  }

  @Test func memoryIsBoundedAndTheLatestAreRemembered() {
    var throttle = GuessThrottle(sourcesMax: 10)
    for _ in 0..<20 { _ = throttle.refused(guesser, now: start) }
    for other in 0..<100 {
      let now = start + .milliseconds(Int64(other))
      _ = throttle.refused(IPAddress(v4: UInt32(other)), now: now)
      #expect(throttle.refused(guesser, now: now) == Limits.guessDelayMax)
      #expect(throttle.sourceCount <= 10)
    }
  }
}
