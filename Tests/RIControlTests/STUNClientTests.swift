// The STUN client: when it asks, whom, and what it believes.

import RIBase
import RIWire
import Testing

@testable import RIControl

@Suite struct STUNClientTests {
  private static let v4 = SocketAddress(IPAddress(v4: 0xC633_6401), 3478)
  private static let v6 = SocketAddress(IPAddress(v6High: 0x2001_0DB8_0000_0000, low: 1), 3478)

  /// A client with its clock and its random numbers; what it does is written down.
  private final class Bench {
    var client = STUNClient()
    var now = Instant(nanoseconds: 1_000_000_000_000)
    var counter: UInt64 = 0
    var log: [STUNClient.Action] = []
    /// The requests sent, with their seconds since the start.
    var requests: [(at: Double, bytes: [UInt8])] = []
    private let start: Instant

    init() { start = now }

    var seconds: Double { (now - start).seconds }

    /// Does all that is due, and returns it; requests are written down apart.
    @discardableResult
    func settle() -> [STUNClient.Action] {
      var done: [STUNClient.Action] = []
      while let action = client.poll(
        now: now,
        random: {
          counter += 1; return counter
        })
      {
        if case .send(let bytes) = action {
          requests.append((seconds, bytes))
        } else {
          done.append(action)
        }
      }
      log += done
      return done
    }

    /// Goes from deadline to deadline for so long.
    func pass(seconds: Double) {
      let end = now + Interval(nanoseconds: Int64(seconds * 1e9))
      while let deadline = client.nextDeadline, deadline <= end {
        now = max(now, deadline)
        settle()
      }
      now = end
      settle()
    }

    func answer(
      _ address: IPAddress, from server: SocketAddress, to request: Int = -1,
      _ change: (inout [UInt8]) -> Void = { _ in }
    ) {
      let index = request < 0 ? requests.count - 1 : request
      var bytes = response(address, to: requests[index].bytes)
      change(&bytes)
      bytes.withUnsafeBytes { client.received($0, from: server, now: now) }
    }
  }

  private static func started(_ interval: Int = 10, _ servers: [SocketAddress] = [v4]) -> Bench {
    let bench = Bench()
    bench.client.configure(intervalSeconds: interval, now: bench.now)
    #expect(bench.settle() == [.resolve])
    bench.client.resolved(servers, now: bench.now)
    bench.settle()
    return bench
  }

  private static let home = IPAddress(v4: 0xCB00_7105)
  private static let away = IPAddress(v4: 0xCB00_7106)

  @Test func asksAgainAsTheStandardSays() {
    let bench = Self.started(3600)
    bench.pass(seconds: 60)
    #expect(bench.requests.map(\.at) == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
    #expect(Set(bench.requests.map(\.bytes)).count == 1, "one transaction, one id")
    #expect(
      bench.log == [
        .resolve, .open(Self.v4), .close,
        .warn("STUN: no public address found: no answer from 198.51.100.1:3478"),
      ])
  }

  @Test func theEndComes39AndAHalfSecondsAfterTheFirstRequest() {
    let bench = Self.started(3600)
    bench.pass(seconds: 39.4)
    #expect(!bench.log.contains(.close))
    bench.pass(seconds: 0.1)
    #expect(bench.log.contains(.close))
  }

  @Test func reportsTheAddressOnceAndEachChange() {
    let bench = Self.started()
    for (address, isNews) in [
      (Self.home, true), (Self.home, false), (Self.away, true), (Self.home, true),
    ] {
      bench.log = []
      bench.answer(address, from: Self.v4)
      bench.settle()
      #expect(bench.log == [.close] + (isNews ? [.discovered(address)] : []))
      #expect(bench.client.address == address)
      bench.pass(seconds: 10)
    }
    #expect(bench.requests.map(\.at) == [0, 10, 20, 30, 40])
    #expect(Set(bench.requests.map(\.bytes)).count == 5, "each round has an id of its own")
  }

  @Test func lostAndLateAnswersAreNoMatter() {
    let bench = Self.started()
    bench.pass(seconds: 4)
    // The answer to the first request comes after the fourth was sent.
    bench.answer(Self.home, from: Self.v4, to: 0)
    #expect(bench.settle() == [.close, .discovered(Self.home)])
    // And once more, and when the next round is under way.
    bench.answer(Self.away, from: Self.v4, to: 1)
    #expect(bench.settle() == [])
    bench.pass(seconds: 6)
    bench.answer(Self.away, from: Self.v4, to: 1)
    #expect(bench.settle() == [])
    #expect(bench.client.address == Self.home)
  }

  @Test func forgedAnswersChangeNothing() {
    let bench = Self.started()
    bench.answer(Self.away, from: Self.v4) { $0[4] ^= 1 }  // cookie
    bench.answer(Self.away, from: Self.v4) { $0[19] ^= 1 }  // id
    bench.answer(Self.away, from: Self.v4) { $0.removeLast() }
    bench.answer(Self.away, from: Self.v4) { $0 = Array($0[..<19]) }
    bench.answer(Self.away, from: SocketAddress(Self.v4.ip, 3479))
    bench.answer(Self.away, from: SocketAddress(Self.v6.ip, 3478))
    #expect(bench.settle() == [] && bench.client.address == nil)
    bench.answer(Self.home, from: Self.v4)
    #expect(bench.settle() == [.close, .discovered(Self.home)])
  }

  @Test func iPv4IsAskedFirstAndWhoAnsweredBefore() {
    let bench = Self.started(10, [Self.v6, Self.v4])
    #expect(bench.log == [.resolve, .open(Self.v4)])
    bench.client.failed("Connection refused", now: bench.now)
    #expect(bench.settle() == [.close, .open(Self.v6)])
    let far = IPAddress(v6High: 0x2001_0DB8_0001_0000, low: 9)
    bench.answer(far, from: Self.v6)
    #expect(bench.settle() == [.close, .discovered(far)])
    bench.log = []
    bench.pass(seconds: 10)
    #expect(bench.log == [.open(Self.v6)])
  }

  @Test func errorsAndUselessAnswersGoToTheNextServer() {
    let second = SocketAddress(IPAddress(v4: 0xC633_6402), 3478)
    let bench = Self.started(10, [Self.v4, second])
    bench.answer(Self.home, from: Self.v4) { $0[1] = 0x11 }  // an error response without a code
    #expect(bench.settle() == [.close, .open(second)])
    bench.answer(Self.home, from: second) { $0[20] = 0x7F }  // an unknown attribute
    #expect(
      bench.settle() == [
        .close,
        .warn("STUN: no public address found: 198.51.100.2:3478 sends an unknown attribute 32544"),
      ])
  }

  @Test func aFailureIsWarnedOfOnceUntilItWorksAgain() {
    let bench = Self.started(1)
    func warnings() -> Int { bench.log.count { if case .warn = $0 { true } else { false } } }
    for _ in 0..<3 {
      bench.client.failed("Connection refused", now: bench.now)
      bench.settle()
      bench.pass(seconds: 1)
      // After a failure the name is looked up anew.
      #expect(bench.log.last == .resolve)
      bench.client.resolved([Self.v4], now: bench.now)
      bench.settle()
    }
    #expect(warnings() == 1)
    bench.answer(Self.home, from: Self.v4)
    bench.pass(seconds: 1)
    bench.client.failed("Connection refused", now: bench.now)
    bench.settle()
    #expect(warnings() == 2)
  }

  @Test func aNameThatCannotBeLookedUpAnyMoreKeepsItsAddresses() {
    let bench = Self.started()
    for _ in 0..<29 {
      bench.answer(Self.home, from: Self.v4)
      bench.pass(seconds: 10)
    }
    #expect(bench.log.count { $0 == .resolve } == 1)
    bench.answer(Self.home, from: Self.v4)
    bench.pass(seconds: 10)
    #expect(bench.log.last == .resolve, "the name is looked up every five minutes")
    bench.client.failed("no such name", now: bench.now)
    #expect(bench.settle() == [.open(Self.v4)])
  }

  @Test func aNameWithoutAddressesIsTriedAgain() {
    let bench = Bench()
    bench.client.configure(intervalSeconds: 5, now: bench.now)
    bench.settle()
    bench.client.resolved([], now: bench.now)
    #expect(
      bench.settle() == [.warn("STUN: no public address found: its name has no address")])
    bench.pass(seconds: 5)
    #expect(bench.log.last == .resolve)
  }

  @Test func theIntervalIsKept() {
    let bench = Self.started(1)
    for _ in 0..<5 {
      bench.answer(Self.home, from: Self.v4)
      bench.pass(seconds: 1)
    }
    #expect(bench.requests.map(\.at) == [0, 1, 2, 3, 4, 5])
    // Another one counts from the last round.
    bench.answer(Self.home, from: Self.v4)
    bench.settle()
    bench.client.configure(intervalSeconds: 7, now: bench.now)
    bench.pass(seconds: 6.9)
    #expect(bench.requests.count == 6)
    bench.pass(seconds: 0.1)
    #expect(bench.requests.count == 7)
  }

  @Test func zeroIsOff() {
    let bench = Bench()
    bench.client.configure(intervalSeconds: 0, now: bench.now)
    bench.pass(seconds: 1_000)
    #expect(bench.log.isEmpty && bench.client.nextDeadline == nil)
    let running = Self.started()
    running.client.configure(intervalSeconds: 0, now: running.now)
    #expect(running.settle() == [.close])
    running.answer(Self.home, from: Self.v4)
    running.pass(seconds: 1_000)
    #expect(running.log.count == 3 && running.requests.count == 1)
    // And on again: at once.
    running.client.configure(intervalSeconds: 10, now: running.now)
    #expect(running.settle() == [.resolve])
  }
}

/// A binding response with XOR-MAPPED-ADDRESS.
private func response(_ address: IPAddress, to request: [UInt8]) -> [UInt8] {
  let key = Array(request[4..<20])
  let bits = address.bits
  let size = address.family.bitCount / 8
  let raw = (0..<size).map { UInt8(truncatingIfNeeded: bits >> UInt128(8 * (size - 1 - $0))) }
  let port: [UInt8] = [0x12 ^ key[0], 0x34 ^ key[1]]
  let value = [0, size == 4 ? 1 : 2] + port + zip(raw, key).map { $0 ^ $1 }
  let attribute = [0x00, 0x20, 0x00, UInt8(value.count)] + value
  return [0x01, 0x01, 0x00, UInt8(attribute.count)] + key + attribute
}
