// The tiers of the scheduler against a plain oracle: turns, shares, and the rate that sustained
// streams are guaranteed, on links of all rates and with a clock that does what it likes.

import RIBase
import RIWire
import TestRandom
import Testing

@testable import RITunnel

@Suite struct TierSchedulerPropertyTests {
  static let mib = 1 << 20

  /// Streams that come, go, move between the tiers and send frames of any length, at any time.
  @Test(arguments: 0..<16)
  func turnsAreThoseOfAPlainOracle(round: Int) {
    let seed = UInt64.random(in: 0...UInt64.max)
    let world = TierWorld(seed: seed, streams: 1 + round)
    for _ in 0..<3_000 { world.randomStep() }
    world.checkBusySends()
    world.end()
    #expect(world.faults.isEmpty, "seed \(seed): \(world.faults)")
  }

  /// Rates from 2 MB/s to 10 Gbit/s; a batch is polled when the one before has left.
  @Test(arguments: [2 << 20, 3_000_000, 12_500_000, 125_000_000, 1_250_000_000])
  func sustainedStreamsHaveTheirRateInAnySecondAndNoMore(bytesPerSecond: Int) {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = SplitMix64(seed)
    let world = TierWorld(seed: random.next(), streams: 8)
    let sustained = Int.random(in: 1...4, using: &random)
    for i in 0..<8 { world.makeReady(i, in: i < sustained ? .sustained : .data) }
    let link = TierLink(world, bytesPerSecond: bytesPerSecond)
    let seconds = bytesPerSecond > 1_000_000_000 ? 2 : 4
    link.run(until: Instant(nanoseconds: 0) + .seconds(Int64(seconds)))
    #expect(link.leastInASecond(.polled) >= Self.mib, "seed \(seed)")
    #expect(link.leastInASecond(.sent) >= Self.mib, "seed \(seed)")
    #expect(link.mostInASecond() <= Self.mib * 5 / 4, "seed \(seed)")
    world.end()
    #expect(world.faults.isEmpty, "seed \(seed): \(world.faults)")
  }

  /// A fast link whose sender comes round late and irregularly, with frames of little data.
  @Test(arguments: 0..<6)
  func theRateHoldsHoweverIrregularThePollsAre(round: Int) {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = SplitMix64(seed)
    let world = TierWorld(seed: random.next(), streams: 6)
    for i in 0..<6 { world.makeReady(i, in: i < 2 ? .sustained : .data) }
    let link = TierLink(world, bytesPerSecond: 125_000_000)
    link.pauseMax = .milliseconds([1, 20, 100][round % 3])
    world.dataBytesMax = round < 3 ? 1 << 16 : 10_000
    link.run(until: Instant(nanoseconds: 0) + .seconds(4))
    #expect(link.leastInASecond(.polled) >= Self.mib, "seed \(seed)")
    #expect(link.mostInASecond() <= Self.mib * 5 / 4, "seed \(seed)")
    world.end()
    #expect(world.faults.isEmpty, "seed \(seed): \(world.faults)")
  }

  /// The guarantee never takes more than two thirds of a link, however small data's frames are.
  @Test(arguments: [100_000, 500_000, 1_000_000], [500, 1 << 16])
  func aLinkSlowerThanTheGuaranteeStillCarriesData(bytesPerSecond: Int, dataBytesMax: Int) {
    let world = TierWorld(seed: 1, streams: 2)
    world.makeReady(0, in: .sustained)
    world.makeReady(1, in: .data)
    world.dataBytesMax = dataBytesMax
    let link = TierLink(world, bytesPerSecond: bytesPerSecond)
    link.batchBytes = 20_000
    link.run(until: Instant(nanoseconds: 0) + .seconds(10))
    let data = world.sentBytes[1]
    // But for the burst of the last batch.
    #expect(data * 3 + Limits.sustainedBurstBytes >= world.sentBytes[0] + data)
    #expect(world.sentBytes[0] > data, "and sustained streams have the rest")
    world.end()
  }

  @Test func aLongRestOrAJumpOfTheClockGivesNoMoreThanOneBurst() {
    let world = TierWorld(seed: 2, streams: 2)
    world.makeReady(0, in: .sustained)
    world.makeReady(1, in: .data)
    for hours in [0, 1, 1_000_000, 2_000_000] {
      world.now = Instant(nanoseconds: UInt64(hours) * 3_600_000_000_000)
      let before = world.sentBytes[0]
      for _ in 0..<1_000 { world.sendFrame() }
      #expect(world.sentBytes[0] - before == Limits.sustainedBurstBytes)
    }
    // Backwards it gives nothing.
    world.now = Instant(nanoseconds: 5)
    let before = world.sentBytes[0]
    for _ in 0..<1_000 { world.sendFrame() }
    #expect(world.sentBytes[0] == before)
    world.end()
  }

  @Test func whatIsSmallGoesAheadOfSustainedFrames() {
    let world = TierWorld(seed: 3, streams: 3)
    world.makeReady(0, in: .sustained)
    for _ in 0..<200 {
      world.now = world.now + .milliseconds(10)
      for i in 1...2 { world.makeReady(i, in: .data, backlog: 64) }
      #expect(world.sendFrame() == 1)
      #expect(world.sendFrame() == 2)
      #expect(world.sendFrame() == 0, "and the rest is theirs")
      #expect(world.sendFrame() == 0)
    }
    world.end()
    #expect(world.faults.isEmpty, "\(world.faults)")
  }

  /// Whole tunnels: in every batch control comes first, then data; a CLOSE right behind its own
  /// stream's last byte; and each stream's bytes in order.
  @Test(arguments: 0..<12)
  func controlGoesFirstAndEachStreamKeepsItsOrder(round: Int) {
    let seed = UInt64.random(in: 0...UInt64.max)
    var world = TierFrames(seed: seed)
    for _ in 0..<300 { world.step() }
    world.drain()
    #expect(world.faults.isEmpty, "seed \(seed): \(world.faults)")
    #expect(world.edge.held == 0)
  }
}

/// A tunnel whose streams send known bytes, and what may stand where in its output.
struct TierFrames {
  struct Stream {
    var ref: StreamRef
    var queued = 0
    var arrived = 0
    var isFinished = false
    var sawClose = false
  }

  let edge: TunnelHarness
  private var random: SplitMix64
  private var streams: [Stream] = []
  private var now = Instant(nanoseconds: 0)
  private(set) var faults: [String] = []

  init(seed: UInt64) {
    random = SplitMix64(seed)
    let batchBytes = Int.random(in: 200...100_000, using: &random)
    edge = TunnelHarness(.edge, batchBytes: batchBytes, buffers: 2_048)
  }

  private mutating func check(_ condition: Bool, _ fault: @autoclosure () -> String) {
    if !condition, faults.count < 5 { faults.append(fault()) }
  }

  private static let table =
    TunnelWorld.pattern[..<(1 << 16)] + TunnelWorld.pattern[..<(1 << 16)]

  /// The `count` bytes from `offset` on of what stream `i` sends.
  private static func bytes(_ i: Int, _ offset: Int, _ count: Int) -> [UInt8] {
    let start = (i * 9_973 + offset) & 0xFFFF
    return Array(table[start..<start + count])
  }

  mutating func step() {
    now = now + .microseconds(Int64.random(in: 0...5_000, using: &random))
    let i = streams.isEmpty ? 0 : Int.random(in: streams.indices, using: &random)
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<8: if streams.count < 40 { streams.append(Stream(ref: edge.open())) }
    case 8..<50: if !streams.isEmpty { send(i) }
    case 50..<54: if !streams.isEmpty { finish(i) }
    case 54..<60: [UInt8(1), 2, 3].withUnsafeBytes { edge.tunnel.sendPong($0) }
    case 60..<64: if !streams.isEmpty { makeSustained(i) }
    default: poll()
    }
  }

  private mutating func send(_ i: Int) {
    let room = edge.tunnel.sendRoom(streams[i].ref)
    guard room > 0, !streams[i].isFinished else { return }
    let count = min(room, Int.random(in: 1...20_000, using: &random))
    let start = streams[i].queued
    edge.send(Self.bytes(i, start, count), on: streams[i].ref)
    streams[i].queued += count
  }

  private mutating func finish(_ i: Int) {
    guard !streams[i].isFinished else { return }
    streams[i].isFinished = true
    edge.tunnel.finish(streams[i].ref)
  }

  private mutating func makeSustained(_ i: Int) {
    guard !streams[i].sawClose else { return }
    edge.tunnel.scheduler.setTier(.sustained, of: streams[i].ref.slot, in: edge.tunnel.streams)
  }

  /// One batch, and the credit for all of it.
  private mutating func poll() {
    edge.partial += edge.batchBytes(now: now)
    var last: WireFrame?
    for frame in WireFrame.parse(&edge.partial) {
      let i = Int(frame.stream) - 1
      if frame.type == FrameType.data.rawValue {
        let from = streams[i].arrived
        let isRight = frame.payload == Self.bytes(i, from, frame.payload.count)
        check(isRight, "stream \(i): wrong bytes from \(from) on")
        check(!streams[i].sawClose, "stream \(i): data behind its end")
        streams[i].arrived += frame.payload.count
        _ = edge.receive(.credit(.windowUpdateBack, frame.stream, UInt32(frame.payload.count)))
        last = frame
      } else if frame.type == FrameType.close.rawValue {
        check(last == nil || last?.stream == frame.stream, "a CLOSE behind others' data")
        check(streams[i].arrived == streams[i].queued, "stream \(i): closed early")
        streams[i].sawClose = true
      } else {
        check(last == nil, "control behind data: \(frame)")
      }
    }
    check(edge.partial.isEmpty, "part of a frame")
  }

  mutating func drain() {
    for i in streams.indices { finish(i) }
    while edge.tunnel.hasOutput, faults.isEmpty { poll() }
    for i in streams.indices { check(streams[i].sawClose, "stream \(i) never ended") }
    edge.tunnel.end()
  }
}
