// The timer wheel against a plain list of deadlines.

import TestRandom
import Testing

@testable import RIBase

@Suite struct TimerWheelTests {
  private let tick = TimerWheel.tickNanoseconds

  private func expired(_ wheel: TimerWheel, at nanoseconds: UInt64) -> [UInt64] {
    var payloads: [UInt64] = []
    wheel.expire(now: Instant(nanoseconds: nanoseconds)) { payloads.append($0) }
    return payloads
  }

  @Test func expiresNeverEarlyAndLessThanATickLate() {
    for deadline in [1, tick - 1, tick, tick + 1, 64 * tick, 64 * tick + 1, 5_000 * tick - 1] {
      let wheel = TimerWheel(capacity: 1, now: Instant(nanoseconds: 0))
      #expect(wheel.schedule(7, at: Instant(nanoseconds: deadline)) != nil)
      #expect(expired(wheel, at: deadline - 1) == [], "deadline \(deadline)")
      #expect(expired(wheel, at: deadline + tick - 1) == [7], "deadline \(deadline)")
      #expect(wheel.nextDeadline == nil)
    }
  }

  @Test func aDeadlineInThePastIsDueWithTheNextTick() {
    let wheel = TimerWheel(capacity: 1, now: Instant(nanoseconds: 100 * tick))
    _ = wheel.schedule(7, at: Instant(nanoseconds: 3))
    #expect(wheel.nextDeadline == Instant(nanoseconds: 101 * tick))
    #expect(expired(wheel, at: 101 * tick) == [7])
  }

  @Test func theEndOfTheClockIsADeadline() {
    let wheel = TimerWheel(capacity: 1, now: Instant(nanoseconds: 5))
    _ = wheel.schedule(7, at: Instant(nanoseconds: .max))
    #expect(expired(wheel, at: .max - tick) == [])
    #expect(wheel.count == 1)
    #expect((wheel.nextDeadline?.nanoseconds ?? 0) > .max - 2 * tick)
  }

  @Test func refusesMoreThanItsCapacity() throws {
    let wheel = TimerWheel(capacity: 2, now: Instant(nanoseconds: 0))
    let first = try #require(wheel.schedule(1, at: Instant(nanoseconds: 5)))
    _ = wheel.schedule(2, at: Instant(nanoseconds: 5))
    #expect(wheel.schedule(3, at: Instant(nanoseconds: 5)) == nil)
    #expect(wheel.cancel(first))
    #expect(wheel.schedule(4, at: Instant(nanoseconds: 5)) != nil)
    #expect(expired(wheel, at: tick) == [2, 4])
  }

  @Test func aTimerThatIsGoneCannotBeChanged() throws {
    let wheel = TimerWheel(capacity: 2, now: Instant(nanoseconds: 0))
    let timer = try #require(wheel.schedule(1, at: Instant(nanoseconds: 5)))
    #expect(expired(wheel, at: tick) == [1])
    let other = try #require(wheel.schedule(2, at: Instant(nanoseconds: 2 * tick)))
    #expect(!wheel.cancel(timer))
    #expect(!wheel.reschedule(timer, at: Instant(nanoseconds: 0)))
    #expect(!wheel.cancel(.none))
    #expect(wheel.cancel(other))
    #expect(!wheel.cancel(other))
  }

  @Test func aTimerThatAnotherCancelsInTheSameTickDoesNotExpire() throws {
    let wheel = TimerWheel(capacity: 4, now: Instant(nanoseconds: 0))
    _ = wheel.schedule(1, at: Instant(nanoseconds: 5))
    let second = try #require(wheel.schedule(2, at: Instant(nanoseconds: 5)))
    var payloads: [UInt64] = []
    wheel.expire(now: Instant(nanoseconds: tick)) {
      payloads.append($0)
      wheel.cancel(second)
    }
    #expect(payloads == [1])
  }

  @Test func aTimerThatSchedulesItselfInThePastDoesNotLoop() {
    let wheel = TimerWheel(capacity: 4, now: Instant(nanoseconds: 0))
    _ = wheel.schedule(1, at: Instant(nanoseconds: 5))
    var count = 0
    wheel.expire(now: Instant(nanoseconds: 1_000 * tick)) {
      count += 1
      _ = wheel.schedule($0, at: Instant(nanoseconds: 0))
    }
    #expect(count == 1)
    #expect(wheel.nextDeadline == Instant(nanoseconds: 1_001 * tick))
  }

  /// What the wheel must do, with every timer in a dictionary.
  private struct Oracle {
    var deadlines: [UInt64: UInt64] = [:]

    /// Removes and returns what must have expired at `now`, where ticks are whole.
    mutating func expire(_ now: UInt64) -> Set<UInt64> {
      let due = Set(deadlines.filter { $0.value <= now }.keys)
      for payload in due { deadlines[payload] = nil }
      return due
    }
  }

  @Test(arguments: propertySeeds) func agreesWithAListOfDeadlines(seed: UInt64) {
    var random = SplitMix64(seed)
    var tickNow = UInt64(random.below(1 << 30))
    let wheel = TimerWheel(capacity: 500, now: Instant(nanoseconds: tickNow * tick))
    var oracle = Oracle()
    var ids: [UInt64: TimerID] = [:]
    var nextPayload: UInt64 = 0
    /// Deadlines on all levels, in whole ticks so that the oracle need not round.
    func deadline() -> UInt64 { tickNow + 1 + random.next() >> UInt64(34 + random.below(30)) }

    for _ in 0..<6_000 {
      switch random.below(8) {
      case 0...2:
        let tick = deadline()
        let id = wheel.schedule(nextPayload, at: Instant(nanoseconds: tick * self.tick))
        #expect((id == nil) == (oracle.deadlines.count == 500), "seed \(seed)")
        if let id {
          ids[nextPayload] = id
          oracle.deadlines[nextPayload] = tick
        }
        nextPayload += 1
      case 3:
        guard let (payload, id) = ids.randomElement(using: &random) else { continue }
        #expect(wheel.cancel(id) == (oracle.deadlines[payload] != nil), "seed \(seed)")
        oracle.deadlines[payload] = nil
        ids[payload] = nil
      case 4:
        guard let (payload, id) = ids.randomElement(using: &random) else { continue }
        let tick = deadline()
        let isLive = wheel.reschedule(id, at: Instant(nanoseconds: tick * self.tick))
        #expect(isLive == (oracle.deadlines[payload] != nil), "seed \(seed)")
        if isLive { oracle.deadlines[payload] = tick }
      default:
        tickNow += random.next() >> UInt64(40 + random.below(24))
        let due = oracle.expire(tickNow)
        let payloads = expired(wheel, at: tickNow * tick)
        #expect(payloads.count == due.count && Set(payloads) == due, "seed \(seed)")
      }
      #expect(wheel.count == oracle.deadlines.count, "seed \(seed)")
      let earliest = oracle.deadlines.values.min()
      #expect((wheel.nextDeadline == nil) == (earliest == nil), "seed \(seed)")
      if let earliest, let next = wheel.nextDeadline {
        #expect(next.nanoseconds <= earliest * tick, "seed \(seed)")
        #expect(next.nanoseconds > tickNow * tick, "the owner would spin, seed \(seed)")
        if earliest >> 6 == tickNow >> 6 { #expect(next.nanoseconds == earliest * tick) }
      }
    }
  }

  @Test(arguments: propertySeeds) func wakingAtNextDeadlineAloneReachesEveryTimer(seed: UInt64) {
    var random = SplitMix64(seed)
    let wheel = TimerWheel(capacity: 300, now: Instant(nanoseconds: 0))
    var deadlines: [UInt64] = []
    for i in 0..<300 {
      deadlines.append(1 + random.next() >> UInt64(8 + random.below(50)))
      _ = wheel.schedule(UInt64(i), at: Instant(nanoseconds: deadlines[i]))
    }
    var wakes = 0
    var last: UInt64 = 0
    while let next = wheel.nextDeadline {
      wakes += 1
      wheel.expire(now: next) {
        let deadline = deadlines[Int($0)]
        #expect(next.nanoseconds >= deadline, "seed \(seed)")
        #expect(next.nanoseconds - deadline < tick, "seed \(seed)")
        #expect(deadline >> 20 >= last, "in the order of ticks, seed \(seed)")
        last = deadline >> 20
      }
    }
    // Each timer wakes the owner at most once on each level.
    #expect(wakes <= 300 * 8)
  }
}
