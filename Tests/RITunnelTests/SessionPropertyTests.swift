// Sessions between an edge and a hub at random, over a wire that splits anywhere, against a model
// that knows every datagram that was taken.

import RIBase
import RIWire
import TestRandom
import Testing

@testable import RITunnel

@Suite struct SessionPropertyTests {
  @Test(arguments: 0..<24)
  func everyDatagramThatWasTakenArrivesOnceInOrderAndWhole(round: Int) {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    let world = SessionWorld(seed: seed, longest: [40, 3_000, 65_507][round % 3])
    for _ in 0..<800 { world.step() }
    world.settle()
    #expect(world.faults.isEmpty, "seed \(seed): \(world.faults)")
  }
}

private final class SessionWorld {
  /// A session as the model knows it. By end: 0 the edge, 1 the hub.
  struct Session {
    var refs: [StreamRef]
    var alive = [true, false]
    /// What each end has sent and the other has not seen, first to last.
    var underWay: [[Expected]] = [[], []]
  }
  struct Expected: Equatable {
    var serial: Int
    var count: Int
  }

  var random: SplitMix64
  let longest: Int
  let ends: [TunnelHarness]
  var wires: [[UInt8]] = [[], []]
  var sessions: [Session] = []
  var serial = 0
  var taken = 0
  var arrived = 0
  var faults: [String] = []

  init(seed: UInt64, longest: Int) {
    random = SplitMix64(seed)
    self.longest = longest
    ends = [TunnelRole.edge, .hub].map {
      TunnelHarness($0, batchBytes: 224 * 1024, streamsMax: 64, buffers: 4_096)
    }
  }

  func check(_ condition: Bool, _ fault: @autoclosure () -> String) {
    if !condition, faults.count < 5 { faults.append(fault()) }
  }

  private static let pattern = (0..<1 << 17).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 >> 8) }

  private func bytes(_ expected: Expected) -> [UInt8] {
    let start = expected.serial * 7_919 % (1 << 16)
    return Array(Self.pattern[start..<start + expected.count])
  }

  func step() {
    let end = Int.random(in: 0...1, using: &random)
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<10: open()
    case 10..<60: if let i = anySession() { send(i, end) }
    case 60..<64: if let i = anySession() { close(i, end) }
    case 64..<80: transmit(end)
    default: deliver(from: end)
    }
  }

  private func anySession() -> Int? {
    sessions.isEmpty
      ? nil : Int.random(in: max(0, sessions.count - 8)..<sessions.count, using: &random)
  }

  func open() {
    let i = sessions.count
    let places = ends[0].tunnel.sessionsHeld
    let ref = ends[0].openSession([UInt8(i & 0xFF), UInt8(i >> 8)], owner: UInt32(i))
    check((ref == nil) == (places == 32), "session \(i): \(places) places taken")
    if let ref { sessions.append(Session(refs: [ref, .none])) }
  }

  func send(_ i: Int, _ end: Int) {
    guard sessions[i].alive[end] else { return }
    serial += 1
    let count = Int.random(in: 0...Int.random(in: 0...longest, using: &random), using: &random)
    let expected = Expected(serial: serial, count: count)
    if ends[end].datagram(bytes(expected), on: sessions[i].refs[end]) {
      taken += 1
      sessions[i].underWay[end].append(expected)
    }
  }

  func close(_ i: Int, _ end: Int) {
    guard sessions[i].alive[end] else { return }
    ends[end].tunnel.reset(sessions[i].refs[end])
    sessions[i].alive[end] = false
  }

  func transmit(_ end: Int) {
    if wires[end].count < 1 << 20 { wires[end] += ends[end].batchBytes() }
    handle(ends[end].events(), 1 - end)
  }

  func deliver(from end: Int) {
    guard !wires[end].isEmpty else { return }
    let limit = random.chance(30) ? 12 : 1 << 17
    let count = min(wires[end].count, Int.random(in: 1...limit, using: &random))
    let bytes = Array(wires[end][..<count])
    wires[end].removeFirst(count)
    handle(ends[1 - end].receive(bytes: bytes), end)
  }

  /// Events at the other end of `end`.
  func handle(_ seen: [Seen], _ end: Int) {
    for event in seen {
      switch event {
      case .sessionOpened(let ref, let header):
        let i = Int(header[0]) | Int(header[1]) << 8
        ends[1].tunnel.accept(ref, owner: SlotID(index: UInt32(i), generation: 1))
        sessions[i].refs[1] = ref
        sessions[i].alive[1] = true
      case .datagram(let ref, let got):
        guard let i = index(ref, 1 - end) else { continue }
        guard !sessions[i].underWay[end].isEmpty else {
          check(false, "session \(i): a datagram that nobody sent")
          continue
        }
        check(got == bytes(sessions[i].underWay[end].removeFirst()), "session \(i): another one")
        arrived += 1
      case .sessionClosed(let ref):
        guard let i = index(ref, 1 - end) else { continue }
        check(!sessions[i].alive[end], "session \(i): closed by nobody")
        sessions[i].alive[1 - end] = false
      default: check(false, "\(event)")
      }
    }
  }

  private func index(_ ref: StreamRef, _ end: Int) -> Int? {
    sessions.indices.last { sessions[$0].refs[end] == ref && sessions[$0].alive[end] }
  }

  /// Delivers what is under way, closes all, and checks that nothing is left.
  func settle() {
    run()
    for session in sessions where session.alive == [true, true] {
      check(session.underWay.allSatisfy(\.isEmpty), "datagrams were lost in an open session")
    }
    check(arrived > 0 && arrived <= taken, "\(arrived) of \(taken)")
    for i in sessions.indices { close(i, random.chance(50) ? 0 : 1) }
    run()
    for end in ends {
      check(end.tunnel.streams.count == 0 && end.tunnel.table.count == 0, "a session is left")
      check(end.tunnel.sessionsHeld == 0 && end.tunnel.activeSessions == 0, "a count is left")
      check(end.tunnel.datagramsQueued.count == 0 && end.held == 0, "a datagram is left")
      end.tunnel.end()
    }
  }

  private func run() {
    for _ in 0..<100_000 {
      for end in 0...1 {
        transmit(end)
        deliver(from: end)
      }
      if wires.allSatisfy(\.isEmpty), !ends.contains(where: { $0.tunnel.hasOutput }) { return }
    }
    check(false, "it never ends")
  }
}
