// The model of a link, in virtual time.

import Testing

@testable import LinkKit

@Suite("Direction")
struct LinkDirectionTests {
  static let millisecond: UInt64 = 1_000_000

  static func conditions(_ change: (inout LinkConditions) -> Void) -> LinkConditions {
    var conditions = LinkConditions()
    change(&conditions)
    return conditions
  }

  /// Departures of `count` packets that come every `spacing`, in the order in which they came.
  static func departures(
    _ conditions: LinkConditions, count: Int, bytes: Int = 1500, spacing: UInt64, stream: UInt64 = 0
  ) -> [LinkDirection.Verdict] {
    var direction = LinkDirection(conditions, stream: stream)
    return (0..<count).map { direction.admit(bytes: bytes, now: UInt64($0) * spacing) }
  }

  @Test("without a rate every packet leaves after the delay, to the nanosecond")
  func delay() {
    let conditions = Self.conditions { $0.delayNanoseconds = 40_000_000 }
    for (number, verdict) in Self.departures(conditions, count: 1000, spacing: 777).enumerated() {
      #expect(verdict == .departs(at: UInt64(number) * 777 + 40_000_000))
    }
  }

  @Test("a line sends bit after bit: its last packet leaves when the rate says, exactly")
  func rate() {
    // 1500 bytes at 700 Mbit/s take 17142.857… ns: fractions must add up.
    let conditions = Self.conditions {
      $0.bitsPerSecond = 700_000_000
      $0.queueBytes = 1 << 30
    }
    let verdicts = Self.departures(conditions, count: 70_000, spacing: 0)
    for number in [1, 7, 12_345, 70_000] {
      let exact = UInt64(number) * 1500 * 8_000_000_000 / 700_000_000
      #expect(verdicts[number - 1] == .departs(at: exact))
    }
  }

  @Test("an idle line owes nothing: each packet takes its own time")
  func idleLine() {
    let conditions = Self.conditions {
      $0.bitsPerSecond = 1_000_000_000
      $0.delayNanoseconds = Self.millisecond
    }
    for (number, verdict) in Self.departures(conditions, count: 100, spacing: 50_000).enumerated() {
      #expect(verdict == .departs(at: UInt64(number) * 50_000 + 12_000 + Self.millisecond))
    }
  }

  @Test(
    "twice the rate offered, half of it passes, whatever the packets' sizes",
    arguments: [8_000, 100_000_000, 1_000_000_000, 25_000_000_000] as [UInt64])
  func overload(rate: UInt64) throws {
    var random = SeededRandom(rate)
    var direction = LinkDirection(
      Self.conditions {
        $0.bitsPerSecond = rate
        $0.queueBytes = 100_000
      }, stream: 0)
    var now: UInt64 = 0
    var (offered, passed) = (0, 0)
    for _ in 0..<200_000 {
      let bytes = Int.random(in: 40...1500, using: &random)
      offered += bytes
      now += UInt64(bytes) * 8_000_000_000 / rate / 2
      if case .departs = direction.admit(bytes: bytes, now: now) { passed += bytes }
    }
    let possible = Double(now) * Double(rate) / 8e9
    // The queue may hold 100,000 bytes on top; the line must never have been idle.
    #expect(Double(passed) <= possible + 100_000)
    #expect(Double(passed) >= possible - 3000)
    #expect(Double(passed) > 0.49 * Double(offered))
  }

  @Test("the queue holds its bytes and not one packet more")
  func queueBound() {
    let conditions = Self.conditions {
      $0.bitsPerSecond = 1_000_000_000
      $0.queueBytes = 15_000
    }
    var direction = LinkDirection(conditions, stream: 0)
    let burst = (0..<20).map { _ in direction.admit(bytes: 1500, now: 0) }
    #expect(burst.filter { $0 == .queueFull }.count == 10)
    #expect(burst[9] == .departs(at: 120_000))
    #expect(burst[10] == .queueFull)
    // A packet's time later there is room for one.
    #expect(direction.admit(bytes: 1500, now: 11_999) == .queueFull)
    #expect(direction.admit(bytes: 1500, now: 12_000) == .departs(at: 132_000))
    #expect(direction.admit(bytes: 1, now: 12_000) == .queueFull)
  }

  @Test("an idle line takes a packet that the queue would not hold")
  func tinyQueue() {
    let conditions = Self.conditions {
      $0.bitsPerSecond = 1_000_000_000
      $0.queueBytes = 1
    }
    var direction = LinkDirection(conditions, stream: 0)
    #expect(direction.admit(bytes: 1500, now: 0) == .departs(at: 12_000))
    #expect(direction.admit(bytes: 1500, now: 11_999) == .queueFull)
    #expect(direction.admit(bytes: 1500, now: 12_000) == .departs(at: 24_000))
  }

  @Test("the asked share is lost, no more", arguments: [0, 0.001, 0.01, 0.5, 1])
  func loss(share: Double) {
    let conditions = Self.conditions { $0.lossShare = share }
    let lost = Self.departures(conditions, count: 1_000_000, spacing: 1).count { $0 == .lost }
    // Four standard deviations of a fair draw.
    let tolerance = 4 * (share * (1 - share) * 1e6).squareRoot()
    #expect((Double(lost) - share * 1e6).magnitude <= tolerance)
  }

  @Test("which packets are lost does not depend on when they come")
  func lossIsByNumber() {
    let conditions = Self.conditions {
      $0.lossShare = 0.1
      $0.bitsPerSecond = 1_000_000_000
    }
    let slow = Self.departures(conditions, count: 2000, spacing: 20_000).map { $0 == .lost }
    let fast = Self.departures(conditions, count: 2000, spacing: 12_100).map { $0 == .lost }
    #expect(slow == fast)
  }

  @Test("a lost packet has used the line")
  func lossBehindTheLine() {
    let conditions = Self.conditions {
      $0.lossShare = 0.5
      $0.bitsPerSecond = 1_000_000_000
    }
    let verdicts = Self.departures(conditions, count: 1000, spacing: 0)
    for (number, verdict) in verdicts.enumerated() where verdict != .lost {
      #expect(verdict == .departs(at: UInt64(number + 1) * 12_000))
    }
  }

  @Test("order is kept unless reordering is asked for, also under jitter and loss")
  func order() {
    let conditions = Self.conditions {
      $0.delayNanoseconds = 10 * Self.millisecond
      $0.jitterNanoseconds = 10 * Self.millisecond
      $0.lossShare = 0.05
      $0.bitsPerSecond = 10_000_000_000
    }
    var last: UInt64 = 0
    for verdict in Self.departures(conditions, count: 500_000, bytes: 100, spacing: 977) {
      if case .departsLate = verdict { Issue.record("held back, though nobody asked") }
      guard case .departs(let time) = verdict else { continue }
      #expect(time >= last)
      last = time
    }
    #expect(last > 0)
  }

  @Test("the asked share is held back, by the asked time")
  func reordering() {
    let conditions = Self.conditions {
      $0.delayNanoseconds = 5 * Self.millisecond
      $0.reorderShare = 0.02
      $0.reorderNanoseconds = 3 * Self.millisecond
    }
    var late = 0
    for (number, verdict) in Self.departures(conditions, count: 100_000, spacing: 1000).enumerated()
    {
      let base = UInt64(number) * 1000 + 5 * Self.millisecond
      if verdict == .departsLate(at: base + 3 * Self.millisecond) {
        late += 1
      } else {
        #expect(verdict == .departs(at: base))
      }
    }
    #expect((late - 2000).magnitude < 4 * 45)
  }

  @Test("jitter swings between its borders, and around the delay")
  func jitter() {
    let (delay, jitter) = (40 * Self.millisecond, 2 * Self.millisecond)
    let conditions = Self.conditions {
      $0.delayNanoseconds = delay
      $0.jitterNanoseconds = jitter
    }
    var delays: [UInt64] = []
    for (number, verdict) in Self.departures(conditions, count: 100_000, spacing: 100_000)
      .enumerated()
    {
      guard case .departs(let time) = verdict else { continue }
      delays.append(time - UInt64(number) * 100_000)
    }
    #expect(delays.allSatisfy { (delay - jitter...delay + jitter).contains($0) })
    // 1,000 random values: the extremes and the middle are near.
    #expect(delays.min().map { $0 < delay - jitter * 9 / 10 } == true)
    #expect(delays.max().map { $0 > delay + jitter * 9 / 10 } == true)
    let mean = delays.reduce(0, +) / UInt64(delays.count)
    #expect((delay - jitter / 10...delay + jitter / 10).contains(mean))
  }

  @Test("a seed gives the same link again, another seed or direction another one")
  func determinism() {
    func run(_ seed: UInt64, _ stream: UInt64) -> [LinkDirection.Verdict] {
      let conditions = Self.conditions {
        $0.delayNanoseconds = 10 * Self.millisecond
        $0.jitterNanoseconds = Self.millisecond
        $0.lossShare = 0.1
        $0.reorderShare = 0.1
        $0.bitsPerSecond = 100_000_000
        $0.queueBytes = 30_000
        $0.seed = seed
      }
      return Self.departures(conditions, count: 10_000, spacing: 100_000, stream: stream)
    }
    let first = run(7, 0)
    #expect(first == run(7, 0))
    #expect(first != run(8, 0))
    #expect(first != run(7, 1))
    #expect(first.contains(.lost) && first.contains(.queueFull))
  }

  @Test("what is out of range is refused by name")
  func ranges() {
    func complaint(_ change: (inout LinkConditions) -> Void) -> String? {
      do {
        try Self.conditions(change).check()
        return nil
      } catch { return error.description }
    }
    #expect(complaint { _ in } == nil)
    #expect(complaint { $0.bitsPerSecond = 7999 }?.hasPrefix("rate") == true)
    #expect(complaint { $0.delayNanoseconds = 60_000_000_001 }?.hasPrefix("delay") == true)
    #expect(complaint { $0.jitterNanoseconds = 1 }?.hasPrefix("jitter") == true)
    #expect(complaint { $0.lossShare = 1.01 }?.hasPrefix("loss") == true)
    #expect(complaint { $0.lossShare = .nan }?.hasPrefix("loss") == true)
    #expect(complaint { $0.reorderShare = -0.1 }?.hasPrefix("reorder") == true)
    #expect(complaint { $0.queueBytes = 0 }?.hasPrefix("queue") == true)
    #expect(complaint { $0.queueBytes = 1 << 30 + 1 }?.hasPrefix("queue") == true)
  }

  @Test("the largest values that are allowed do not overflow")
  func extremes() {
    let conditions = Self.conditions {
      $0.bitsPerSecond = 8_000
      $0.delayNanoseconds = 60_000_000_000
      $0.jitterNanoseconds = 1_000_000_000
      $0.reorderShare = 1
      $0.reorderNanoseconds = 1_000_000_000
      $0.queueBytes = 1 << 30
    }
    // 1 GiB at 8 kbit/s is twelve days of queue.
    var direction = LinkDirection(conditions, stream: 1)
    var last = LinkDirection.Verdict.lost
    for _ in 0..<20_000 {
      last = direction.admit(bytes: 65_535, now: 1_000_000_000_000_000)
    }
    #expect(last == .queueFull)
  }
}
