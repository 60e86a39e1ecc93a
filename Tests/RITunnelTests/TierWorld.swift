// What the tests of the tiers drive: a scheduler beside an oracle of plain arrays, and a link that
// sends what it gives.

import RIBase
import RIWire
import TestRandom

@testable import RITunnel

/// A scheduler with streams that are backlogged at will, and an oracle of plain arrays.
final class TierWorld {
  private let harness: TunnelHarness
  private var scheduler = Scheduler()
  private let slots: [SlotID]
  private let whole: Slice
  var random: SplitMix64
  var now = Instant(nanoseconds: 0)
  /// The longest frame of data; the length is random when it is less than a full one.
  var dataBytesMax = Limits.dataFrameBytes

  /// The oracle: who waits in each tier, in order, and what is left of the first one's turn.
  private var lines: [Tier: [Int]] = [.data: [], .sustained: []]
  private var turnLeft: [Int]
  private var backlog: [Int]
  private var tiers: [Tier]

  /// Bytes sent by each stream, and what all had sent when it last became ready in its tier.
  private(set) var sentBytes: [Int]
  private var sentAtReady: [[Int]]
  /// Sustained bytes sent while data was waiting, and the latest time seen while both waited.
  private var busySends: [(time: Instant, bytes: Int)] = []
  private var latest = Instant(nanoseconds: 0)
  private var sustainedSinceData = 0
  private(set) var faults: [String] = []

  init(seed: UInt64, streams count: Int) {
    random = SplitMix64(seed)
    harness = TunnelHarness(.edge)
    let harness = harness
    slots = (0..<count).map { _ in harness.open("").slot }
    whole = harness.slice(Array(repeating: 1, count: 1 << 18))
    turnLeft = Array(repeating: 0, count: count)
    backlog = turnLeft
    tiers = Array(repeating: .data, count: count)
    sentBytes = turnLeft
    sentAtReady = Array(repeating: turnLeft, count: count)
  }

  private func check(_ condition: Bool, _ fault: @autoclosure () -> String) {
    if !condition, faults.count < 5 { faults.append(fault()) }
  }

  func end() {
    for i in slots.indices { drop(i) }
    harness.store.release(whole)
    harness.tunnel.end()
    check(harness.held == 0, "slices are left")
  }

  // MARK: Streams

  private var streams: Slab<StreamState> { harness.tunnel.streams }

  /// Gives a stream so much to send that it is ready, for ever by default.
  func makeReady(_ i: Int, in tier: Tier? = nil, backlog bytes: Int = .max) {
    if let tier { setTier(tier, of: i) }
    let wasReady = backlog[i] > 0
    backlog[i] = max(backlog[i], bytes)
    refill(i)
    scheduler.enqueue(slots[i], in: streams)
    if !wasReady { lineUp(i) }
  }

  private func lineUp(_ i: Int) {
    lines[tiers[i]]?.append(i)
    turnLeft[i] = 0
    sentAtReady[i] = sentBytes
  }

  private func leaveLine(_ i: Int) { lines[tiers[i]]?.removeAll { $0 == i } }

  private func refill(_ i: Int) {
    let store = harness.store
    while streams[slots[i]].queue.byteCount < min(backlog[i], 1 << 17) {
      let missing = min(backlog[i] - Int(streams[slots[i]].queue.byteCount), 1 << 18)
      store.retain(whole)
      store.append(
        Slice(buffer: whole.buffer, offset: 0, count: missing), to: &streams[slots[i]].queue)
    }
  }

  private func drop(_ i: Int) {
    harness.store.removeAll(from: &streams[slots[i]].queue)
    scheduler.remove(slots[i], in: streams)
    backlog[i] = 0
    leaveLine(i)
  }

  private func setTier(_ tier: Tier, of i: Int) {
    scheduler.setTier(tier, of: slots[i], in: streams)
    guard tiers[i] != tier else { return }
    leaveLine(i)
    tiers[i] = tier
    if backlog[i] > 0 { lineUp(i) }
  }

  func isSustained(_ i: Int) -> Bool { tiers[i] == .sustained }

  // MARK: Turns

  /// One frame of whoever's turn it is, of at most `most` bytes; returns who it was.
  @discardableResult
  func sendFrame(atMost most: Int = Limits.dataFrameBytes) -> Int? {
    let data = lines[.data] ?? []
    let sustained = lines[.sustained] ?? []
    if !data.isEmpty, !sustained.isEmpty { latest = max(latest, now) }
    check(scheduler.isEmpty == (data.isEmpty && sustained.isEmpty), "isEmpty is wrong")
    guard let (slot, bytes) = scheduler.next(in: streams, now: now) else {
      check(data.isEmpty && sustained.isEmpty, "nobody's turn while some wait")
      return nil
    }
    guard let i = slots.firstIndex(of: slot) else {
      check(false, "an unknown stream")
      return nil
    }
    check(bytes > 0, "an empty turn")
    check(lines[tiers[i]]?.first == i, "stream \(i) is not first of its line")
    if tiers[i] == .data || data.isEmpty { check(bytes == turn(i), "not the rest of its turn") }
    check(bytes <= turn(i), "more than a turn")
    let isBusy = !data.isEmpty && tiers[i] == .sustained
    var count = min(bytes, most, backlog[i])
    if tiers[i] == .data, dataBytesMax < count {
      count = Int.random(in: 1...dataBytesMax, using: &random)
    }
    if isBusy {
      busySends.append((latest, count))
      sustainedSinceData += count
      check(sustainedSinceData <= Limits.sustainedBurstBytes, "data waits too long")
    } else {
      sustainedSinceData = 0
    }
    take(count, from: i)
    return i
  }

  private func turn(_ i: Int) -> Int { turnLeft[i] == 0 ? Scheduler.quantumBytes : turnLeft[i] }

  private func take(_ count: Int, from i: Int) {
    var left = count
    while left > 0, let piece = harness.store.popFirst(left, from: &streams[slots[i]].queue) {
      left -= Int(piece.count)
      harness.store.release(piece)
    }
    turnLeft[i] = turn(i) - count
    if backlog[i] < .max { backlog[i] -= count }
    refill(i)
    scheduler.sent(count, by: slots[i], in: streams)
    sentBytes[i] += count
    if backlog[i] == 0 {
      leaveLine(i)
    } else if turnLeft[i] == 0 {
      leaveLine(i)
      lines[tiers[i]]?.append(i)
    }
    checkFairness(i)
  }

  /// Streams of a tier that have both been ready since some time have sent the same since then, but
  /// for a quantum.
  private func checkFairness(_ i: Int) {
    guard backlog[i] > 0 else { return }
    for j in lines[tiers[i]] ?? [] where j != i {
      let since =
        sentAtReady[i][i] + sentAtReady[i][j] > sentAtReady[j][i] + sentAtReady[j][j]
        ? sentAtReady[i] : sentAtReady[j]
      let spread = abs((sentBytes[i] - since[i]) - (sentBytes[j] - since[j]))
      check(spread <= Scheduler.quantumBytes, "streams \(i) and \(j) are \(spread) bytes apart")
    }
  }

  // MARK: At random

  func randomStep() {
    let i = Int.random(in: slots.indices, using: &random)
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<12: makeReady(i, backlog: Int.random(in: 1...200_000, using: &random))
    case 12..<16: makeReady(i)
    case 16..<20: drop(i)
    case 20..<26: setTier(random.chance(50) ? .sustained : .data, of: i)
    case 26..<36: passTime()
    default:
      sendFrame(atMost: random.chance(50) ? 1 << 16 : Int.random(in: 1...1 << 16, using: &random))
    }
  }

  /// Microseconds mostly; sometimes years, sometimes backwards.
  private func passTime() {
    switch Int.random(in: 0..<100, using: &random) {
    case 0: now = now + .seconds(Int64.random(in: 0...100_000_000, using: &random))
    case 1: now = now + .seconds(-Int64.random(in: 0...100, using: &random))
    case 2..<10: now = now + .milliseconds(Int64.random(in: 0...200, using: &random))
    default: now = now + .microseconds(Int64.random(in: 0...2_000, using: &random))
    }
  }

  /// Between any two moments, sustained streams sent a burst and the rate at most while data was
  /// waiting, however the clock ran in between.
  func checkBusySends() {
    for first in busySends.indices {
      var sum = 0
      var allowed = Double(Limits.sustainedBurstBytes)
      var latest = busySends[first].time
      for send in busySends[first...] {
        if send.time > latest {
          let gained = (send.time - latest).seconds * Double(Limits.sustainedBytesPerSecond)
          allowed += min(gained, Double(Limits.sustainedBurstBytes))
          latest = send.time
        }
        sum += send.bytes
        check(Double(sum) <= allowed + 1, "\(sum) sustained bytes, \(allowed) allowed")
      }
    }
  }
}

/// Sends what a `TierWorld` has over a link of some rate, a batch at a time.
final class TierLink {
  enum Clock { case polled, sent }

  private let world: TierWorld
  private let bytesPerSecond: Int
  var batchBytes = 224 * 1024
  /// The longest pause between a batch's end and the next poll.
  var pauseMax = Interval.zero
  private var end = Instant(nanoseconds: 0)
  /// Sustained frames.
  private var frames: [(polled: Instant, sent: Instant, bytes: Int)] = []

  init(_ world: TierWorld, bytesPerSecond: Int) {
    self.world = world
    self.bytesPerSecond = bytesPerSecond
  }

  private func span(_ bytes: Int) -> Interval {
    Interval(nanoseconds: Int64(bytes) * 1_000_000_000 / Int64(bytesPerSecond))
  }

  func run(until end: Instant) {
    self.end = end
    while world.now < end {
      var filled = 0
      while filled + FrameHeader.byteCount + Limits.dataFrameBytesMin <= batchBytes {
        let most = min(batchBytes - filled - FrameHeader.byteCount, Limits.dataFrameBytes)
        let before = world.sentBytes
        guard let i = world.sendFrame(atMost: most) else { break }
        let count = world.sentBytes[i] - before[i]
        filled += FrameHeader.byteCount + count
        guard world.isSustained(i) else { continue }
        frames.append((world.now, world.now + span(filled), count))
      }
      precondition(filled > 0)
      var pause = Interval.zero
      if pauseMax > .zero {
        pause.nanoseconds = Int64.random(in: 0...pauseMax.nanoseconds, using: &world.random)
      }
      world.now = world.now + span(filled) + pause
    }
  }

  /// The fewest sustained bytes in any second; the emptiest begins right behind a frame.
  func leastInASecond(_ clock: Clock) -> Int {
    let times = frames.map { clock == .polled ? $0.polled : $0.sent }
    let sums = frames.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.bytes) }
    var least = Int.max
    var first = 0
    var behind = 0
    var start = Instant(nanoseconds: 0)
    while start + .seconds(1) < end {
      while behind < times.count, times[behind] < start + .seconds(1) { behind += 1 }
      least = min(least, sums[behind] - sums[first])
      guard first < times.count else { break }
      start = times[first]
      while first < times.count, times[first] == start { first += 1 }
    }
    return least
  }

  /// The most in any second, as polled.
  func mostInASecond() -> Int {
    var most = 0
    var first = 0
    var sum = 0
    for frame in frames {
      sum += frame.bytes
      while frame.polled - frames[first].polled > .seconds(1) {
        sum -= frames[first].bytes
        first += 1
      }
      most = max(most, sum)
    }
    return most
  }
}
