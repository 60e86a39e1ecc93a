// UDP sessions against a plain model, in virtual time: who is found, who ends, who has to go.

import RIBase
import RITunnel
import RIWire
import TestRandom
import Testing

@testable import RIControl

private let listeners = (0..<3).map { SlotID(index: UInt32($0), generation: 1) }
private let start = Instant(nanoseconds: 5_000_000_000)

private func session(
  _ client: SocketAddress, _ listener: SlotID = .none, now: Instant = start
) -> UDPSession {
  var session = UDPSession(
    link: .none, stream: .none, client: client,
    destination: SocketAddress(IPAddress(v4: 0x0A00_0001), 53), now: now)
  session.listener = listener
  return session
}

private func v4(_ host: UInt32, _ port: Port) -> SocketAddress {
  SocketAddress(IPAddress(v4: 0x0A01_0000 + host), port)
}

private func v6(_ net: UInt64, _ host: UInt64, _ port: Port, scope: UInt32 = 0) -> SocketAddress {
  SocketAddress(IPAddress(v6High: 0x2001_0DB8 << 32 | net, low: host), port, scope: scope)
}

private func table(
  _ capacity: Int, perSource: Int? = nil, idle: Interval = .seconds(60)
) -> UDPSessions {
  UDPSessions(
    share: SessionShare(alone: capacity), perSourceMax: perSource, idleTimeout: idle, seed: 7)
}

@Suite struct UDPSessionsTests {
  // MARK: Found

  @Test func aSessionIsThatOfAClientAtAListener() throws {
    let sessions = table(100, perSource: 100)
    var ids: [SlotID] = []
    let clients = [
      v4(1, 1_000), v4(1, 1_001), v4(2, 1_000), v6(1, 1, 1_000), v6(1, 2, 1_000),
      v6(1, 1, 1_000, scope: 2), v6(2, 1, 1_000),
    ]
    for client in clients {
      for listener in listeners {
        ids.append(try #require(sessions.open(session(client, listener))))
      }
    }
    for (i, id) in ids.enumerated() {
      #expect(sessions.find(clients[i / 3], listener: listeners[i % 3]) == id)
    }
    sessions.close(ids[0])
    #expect(sessions.find(clients[0], listener: listeners[0]) == nil)
    #expect(sessions.find(clients[0], listener: listeners[1]) == ids[1])
    #expect(sessions.sourceCount == 4)
  }

  @Test func aHubsSessionsAreNotFoundAndMayHaveOneClient() throws {
    let sessions = table(10_000, perSource: 10_000)
    let ids = (0..<10_000).compactMap { _ in sessions.open(session(v4(1, 1))) }
    #expect(ids.count == 10_000 && sessions.find(v4(1, 1), listener: .none) == nil)
    for id in ids { sessions.close(id) }
    #expect(sessions.count == 0 && sessions.sourceCount == 0 && sessions.nextDeadline == nil)
  }

  // MARK: Idle

  @Test func anIdleSessionEndsOnTimeAndABusyOneDoesNot() throws {
    let sessions = table(10)
    let idle = try #require(sessions.open(session(v4(1, 1))))
    let busy = try #require(sessions.open(session(v4(2, 1))))
    #expect(sessions.nextDeadline == start + .seconds(60))
    for second in 1...30 { sessions.touch(busy, now: start + .seconds(Int64(second))) }
    #expect(sessions.pollIdle(now: start + .milliseconds(59_999)) == nil)
    #expect(sessions.pollIdle(now: start + .seconds(60)) == idle)
    sessions.close(idle)
    #expect(sessions.nextDeadline == start + .seconds(90))
    #expect(sessions.pollIdle(now: start + .seconds(60)) == nil)
  }

  // MARK: Who has to go

  @Test func aSourceBeyondItsShareLosesItsOwnOldest() throws {
    let sessions = table(80)
    #expect(sessions.perSourceMax == 10)
    let own = (0..<10).compactMap { sessions.open(session(v4(1, Port($0)))) }
    _ = sessions.open(session(v4(2, 1)))
    sessions.answer(own[0], now: start)
    // Never answered goes before answered.
    #expect(sessions.victim(for: v4(1, 99), now: start) == own[1])
    #expect(sessions.victim(for: v4(3, 99), now: start) == nil)
    for id in own.dropFirst() { sessions.answer(id, now: start) }
    #expect(sessions.victim(for: v4(1, 99), now: start) == own[0])
  }

  @Test func theSourceOfIPv6IsItsSlash64() throws {
    let sessions = table(80)
    let own = (0..<10).compactMap { sessions.open(session(v6(7, UInt64($0), 1))) }
    #expect(sessions.victim(for: v6(7, 1_000, 1), now: start) == own[0])
    #expect(sessions.victim(for: v6(8, 1_000, 1), now: start) == nil)
  }

  @Test func atTheCapWhoWasNeverAnsweredGoesFirstAndThenTheLongestIdle() throws {
    let sessions = table(4)
    let ids = (0..<4).compactMap {
      sessions.open(session(v4(UInt32($0), 1), now: start + .seconds(Int64($0))))
    }
    let later = start + .seconds(20)
    #expect(sessions.victim(for: v4(9, 1), now: later) == ids[0])
    sessions.answer(ids[0], now: start + .seconds(10))
    #expect(sessions.victim(for: v4(9, 1), now: later) == ids[1])
    for i in 1..<4 { sessions.answer(ids[i], now: start + .seconds(10 + Int64(i))) }
    #expect(sessions.victim(for: v4(9, 1), now: later) == ids[0])
  }

  /// Forty sources with one live session each fill the table; one more opens a thousand.
  @Test func aFloodFromOneSourceCostsItsOwnSessionsAtTheCapToo() throws {
    let sessions = table(40)
    var now = start
    let others = (0..<40).compactMap { sessions.open(session(v4(UInt32($0 + 1), 1))) }
    var evictedOthers = 0
    for port in 1...1_000 {
      now = now + .milliseconds(1)
      for id in others where sessions.contains(id) { sessions.touch(id, now: now) }
      if let victim = sessions.victim(for: v4(99, Port(port)), now: now) {
        if others.contains(victim) { evictedOthers += 1 }
        sessions.close(victim)
      }
      #expect(sessions.open(session(v4(99, Port(port)), now: now)) != nil)
    }
    // A newcomer gets one place, whoever it is.
    #expect(evictedOthers == 1)
  }

  // MARK: Several shards

  @Test func shardsShareTheCapAndEachHasItsPart() throws {
    let share = SessionShare.split(160, shards: 2)
    func make() -> UDPSessions {
      UDPSessions(share: share, perSourceMax: 1_000, idleTimeout: .seconds(60), seed: 1)
    }
    var first: UDPSessions? = make()
    let second = make()
    var opened: [SlotID] = []
    while let id = first?.open(session(v4(1, Port(opened.count)))) { opened.append(id) }
    #expect(opened.count == 150)
    #expect(first?.victim(for: v4(2, 1), now: start) == opened[0])
    for i in 0..<10 {
      #expect(second.victim(for: v4(2, 1), now: start) == nil)
      #expect(second.open(session(v4(2, Port(i)))) != nil)
    }
    #expect(second.open(session(v4(2, 99))) == nil)
    // What one gives back the other may have.
    first?.close(opened[149])
    #expect(second.open(session(v4(2, 99))) != nil)
    first = nil
    var more = 0
    while second.open(session(v4(3, Port(more)))) != nil { more += 1 }
    #expect(second.count == 150)
  }
}

/// The model: a plain list.
private struct Model {
  struct Entry {
    var client: SocketAddress
    var listener: SlotID
    var lastActive: Instant
    var isAnswered = false
    var source: IPAddress { client.ip.source }
  }
  var entries: [SlotID: Entry] = [:]
  let capacity: Int
  let perSourceMax: Int
  /// How far the order of activity may be off.
  let tolerance = Limits.udpSessionListInterval

  func held(_ source: IPAddress) -> Int { entries.values.count { $0.source == source } }

  /// Whether `victim` is one that may go first among `candidates`.
  private func isFirst(_ victim: Entry, of candidates: [Entry]) -> Bool {
    let unanswered = candidates.filter { !$0.isAnswered }
    if victim.isAnswered, !unanswered.isEmpty { return false }
    let same = victim.isAnswered ? candidates : unanswered
    let oldest = same.map(\.lastActive).min() ?? victim.lastActive
    return victim.lastActive <= oldest + tolerance
  }

  /// What is wrong about a choice; nil when nothing is.
  func fault(_ victim: SlotID?, for client: SocketAddress, now: Instant) -> String? {
    let own = entries.values.filter { $0.source == client.ip.source }
    let isOver = own.count >= perSourceMax
    guard isOver || entries.count >= capacity else {
      return victim == nil ? nil : "a victim though there is room"
    }
    guard let victim, let entry = entries[victim] else { return "no victim" }
    let all = Array(entries.values)
    let sources = Set(all.map(\.source)).count
    let isRich = isOver || own.count > entries.count / (sources + 1)
    if entry.source == client.ip.source {
      if !isFirst(entry, of: own) { return "another of its own should go" }
      if isRich { return nil }
      let first = all.contains { isFirst($0, of: all) && now - $0.lastActive < .seconds(3) }
      return first || isFirst(entry, of: all) ? nil : "it need not lose its own"
    }
    if isRich { return "a source beyond its share cost another" }
    if !isFirst(entry, of: all) { return "another should go" }
    if !own.isEmpty, now - entry.lastActive < .seconds(3) { return "it cost another a live one" }
    return nil
  }
}

@Suite struct UDPSessionsPropertyTests {
  @Test(arguments: 0..<24)
  func itDoesAsThePlainModel(round: Int) {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SplitMix64(seed)
    let capacity = Int.random(in: 1...60, using: &random)
    let perSource = Int.random(in: 1...capacity, using: &random)
    let idle = Interval.seconds(Int64.random(in: 1...60, using: &random))
    let sessions = UDPSessions(
      share: SessionShare(alone: capacity), perSourceMax: perSource, idleTimeout: idle,
      seed: random.next())
    var model = Model(capacity: capacity, perSourceMax: perSource)
    var now = start
    var faults: [String] = []
    for step in 0..<2_000 {
      let pause = [0, 1_000, 500_000, 20_000_000, 900_000_000].randomElement(using: &random) ?? 0
      now = now + Interval(nanoseconds: Int64.random(in: 0...Int64(pause), using: &random))
      let client =
        Bool.random(using: &random)
        ? v4(UInt32.random(in: 0...12, using: &random), Port.random(in: 1...9, using: &random))
        : v6(
          UInt64.random(in: 0...3, using: &random), UInt64.random(in: 0...3, using: &random),
          Port.random(in: 1...9, using: &random))
      let listener = listeners.randomElement(using: &random) ?? .none
      let known = model.entries.first { $1.client == client && $1.listener == listener }?.key
      if sessions.find(client, listener: listener) != known { faults.append("\(step): found") }
      if let known {
        switch Int.random(in: 0..<10, using: &random) {
        case 0:
          sessions.close(known)
          model.entries[known] = nil
        case 1...3:
          sessions.answer(known, now: now)
          model.entries[known]?.isAnswered = true
          model.entries[known]?.lastActive = now
        default:
          sessions.touch(known, now: now)
          model.entries[known]?.lastActive = now
        }
      } else {
        let victim = sessions.victim(for: client, now: now)
        if let fault = model.fault(victim, for: client, now: now) {
          faults.append("\(step): \(fault)")
        }
        if let victim {
          sessions.close(victim)
          model.entries[victim] = nil
        }
        guard let id = sessions.open(session(client, listener, now: now)) else {
          faults.append("\(step): no room")
          break
        }
        model.entries[id] = Model.Entry(client: client, listener: listener, lastActive: now)
      }
      checkIdle(sessions, &model, idle, now, &faults)
      if sessions.count != model.entries.count { faults.append("\(step): count") }
      if !faults.isEmpty { break }
    }
    #expect(faults.isEmpty, "seed \(seed): \(faults)")
    for id in model.entries.keys { sessions.close(id) }
    #expect(sessions.count == 0 && sessions.sourceCount == 0 && sessions.nextDeadline == nil)
  }

  /// Never early, at most a second late.
  private func checkIdle(
    _ sessions: UDPSessions, _ model: inout Model, _ idle: Interval, _ now: Instant,
    _ faults: inout [String]
  ) {
    while let id = sessions.pollIdle(now: now) {
      guard let entry = model.entries.removeValue(forKey: id), entry.lastActive + idle <= now else {
        return faults.append("ended early")
      }
      sessions.close(id)
    }
    guard let oldest = model.entries.values.map(\.lastActive).min() else { return }
    if oldest + idle + model.tolerance < now { faults.append("ended late") }
    guard let deadline = sessions.nextDeadline else { return faults.append("no deadline") }
    if deadline > oldest + idle + model.tolerance { faults.append("a late deadline") }
    if deadline <= now { faults.append("a deadline that has passed") }
  }
}
