// Arithmetic of instants and intervals.

import Testing

@testable import RIBase

@Suite struct TimeTests {
  @Test func sumsSaturateAtTheEndsOfTheClock() {
    let start = Instant(nanoseconds: 5)
    #expect(start + .seconds(1) == Instant(nanoseconds: 1_000_000_005))
    #expect(start + Interval(nanoseconds: -6) == Instant(nanoseconds: 0))
    #expect(start + Interval(nanoseconds: .min) == Instant(nanoseconds: 0))
    #expect(Instant(nanoseconds: .max) + .seconds(1) == Instant(nanoseconds: .max))
  }

  @Test func differencesHaveASign() {
    let early = Instant(nanoseconds: 10)
    let late = Instant(nanoseconds: 25)
    #expect(late - early == Interval(nanoseconds: 15))
    #expect(early - late == Interval(nanoseconds: -15))
    #expect(early < late && (early - late) < .zero)
    #expect(Instant(nanoseconds: .max) - Instant(nanoseconds: 0) == Interval(nanoseconds: .max))
    #expect(Instant(nanoseconds: 0) - Instant(nanoseconds: .max) == Interval(nanoseconds: -.max))
  }

  @Test func unitsAgree() {
    #expect(Interval.seconds(1) == .milliseconds(1_000))
    #expect(Interval.milliseconds(1) == .microseconds(1_000))
    #expect(Interval.milliseconds(1_500).seconds == 1.5)
  }
}
