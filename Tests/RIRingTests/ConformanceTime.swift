// Contract: timeouts, the deadline of a wait, wake-ups, clock and chance.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct ConformanceTime {
  @Test(arguments: Backend.available)
  func timeoutsEndInTheOrderOfTheirDeadlines(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let start = driver.ring.updateNow()
    let delays: [Int64] = [90, 30, 70, 10, 50, 30]
    let tokens = delays.map { delay in
      let token = driver.token()
      driver.ring.timeout(at: start + .milliseconds(delay), token: token)
      return token
    }
    for (token, delay) in zip(tokens, delays) {
      #expect(try driver.result(of: token) == 0)
      #expect(driver.ring.updateNow() >= start + .milliseconds(delay))
    }
    let order = driver.completions.compactMap { tokens.firstIndex(of: $0.token) }
    #expect(order.map { delays[$0] } == delays.sorted())
  }

  @Test(arguments: Backend.available)
  func pastDeadlineEndsAtOnce(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let token = driver.token()
    driver.ring.timeout(at: Instant(nanoseconds: 1), token: token)
    #expect(try driver.result(of: token) == 0)
  }

  @Test(arguments: Backend.available)
  func timeoutIsCancelled(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let start = driver.ring.updateNow()
    let tokens = (0..<50).map { i in
      let token = driver.token()
      driver.ring.timeout(at: start + .milliseconds(300 + Int64(i % 7)), token: token)
      return token
    }
    driver.wait(until: start)
    for i in stride(from: 0, to: 50, by: 2) { driver.ring.cancel(tokens[i]) }
    #expect(driver.run { tokens.allSatisfy { driver.terminal($0) != nil } })
    for (i, token) in tokens.enumerated() {
      #expect(driver.terminal(token)?.result == (i % 2 == 0 ? -ECANCELED : 0))
    }
    #expect(driver.completions.count == 50)
  }

  @Test(arguments: Backend.available)
  func waitReturnsAtItsDeadline(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let deadline = driver.ring.updateNow() + .milliseconds(5)
    #expect(driver.wait(until: deadline).isEmpty)
    #expect(driver.ring.now >= deadline)
  }

  @Test(.timeLimit(.minutes(1)), arguments: Backend.available)
  func waitWithAPastDeadlineDoesNotWait(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let token = driver.token()
    driver.ring.timeout(at: driver.ring.updateNow() + .seconds(3_600), token: token)
    for _ in 0..<1_000 {
      #expect(driver.wait(until: Instant(nanoseconds: 0)).isEmpty)
      #expect(driver.wait(until: driver.ring.now).isEmpty)
    }
    driver.ring.cancel(token)
    #expect(try driver.result(of: token) == -ECANCELED)
  }

  @Test(.timeLimit(.minutes(1)), arguments: Backend.available)
  func anotherThreadEndsTheWait(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let waker = driver.ring.waker
    let thread = try startThread { waker.wake() }
    // Without a deadline and with nothing pending, only the wake can end it.
    #expect(driver.wait(until: nil).isEmpty)
    pthread_join(thread, nil)
  }

  @Test(.timeLimit(.minutes(1)), arguments: Backend.available)
  func wakeBeforeTheWaitIsNotLost(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    for _ in 0..<100 {
      driver.ring.waker.wake()
      driver.ring.waker.wake()
      #expect(driver.wait(until: nil).isEmpty)
    }
    // And none is left over.
    let deadline = driver.ring.updateNow() + .milliseconds(3)
    while driver.ring.updateNow() < deadline {
      driver.wait(until: deadline)
    }
    #expect(driver.completions.isEmpty)
  }

  @Test(arguments: Backend.available)
  func timeMovesForwardOnly(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    var last = driver.ring.updateNow()
    for _ in 0..<100 {
      driver.wait(until: last)
      #expect(driver.ring.now >= last)
      last = driver.ring.updateNow()
    }
    #expect(driver.ring.wallClockSeconds > 1.6e9)
  }

  @Test(arguments: Backend.available)
  func randomNumbersDiffer(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    #expect(Set((0..<1_000).map { _ in driver.ring.random() }).count == 1_000)
  }

  /// Runs `body` on a thread of its own.
  private func startThread(_ body: @escaping @Sendable () -> Void) throws -> pthread_t {
    final class Body: Sendable {
      let run: @Sendable () -> Void
      init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    var thread = pthread_t()
    // SAFETY: the thread takes over the reference made here.
    let argument = Unmanaged.passRetained(Body(body)).toOpaque()
    let result = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
        return nil
      }, argument)
    try #require(result == 0)
    return thread
  }
}
