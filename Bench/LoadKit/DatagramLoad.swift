// The load of UDP: clients and target as threads of one process, the window kept by a third.
//
//   rr            clients ── a datagram each, its echo, the next ──▶ target echoes
//   stream-up     clients ── as many as are due ──▶ target counts
//   stream-down   target ─── as many as are due ──▶ clients count

import CLoadIO
import Glibc
import Synchronization

/// Does what the order says and reports what it measured.
public func runDatagramLoad(_ order: DatagramOrder) throws(LoadError) -> DatagramResult {
  _ = load_exact_timers()
  let sockets = try DatagramSockets(order)
  try sockets.openSessions()
  let start = clockNanoseconds()
  let begin = start + UInt64(order.warmUpSeconds * 1e9)
  let run = DatagramRun(
    order: order, sockets: sockets, start: start,
    window: begin..<begin + UInt64(order.seconds * 1e9))
  switch order.workload.kind {
  case .requests:
    run.startThread(echoDatagrams)
    run.startThread(requestDatagrams)
  case .up, .down:
    run.startThread(receiveDatagrams)
    run.startThread(sendDatagrams)
  }
  sleep(until: run.window.lowerBound)
  let first = MachineReading(watched: order.watched)
  sleep(until: run.window.upperBound)
  let use = MachineUse(from: first, to: MachineReading(watched: order.watched))
  return try DatagramResult(run.finish(), order, use)
}

/// The sockets of a load, the sessions open.
final class DatagramSockets: Sendable {
  let clients: [Int32]
  let target: Int32
  /// Where the target sees the sessions; filled in before any thread starts.
  private let sessions = Mutex<[sockaddr_in]>([])
  private let payloadBytes: Int

  init(_ order: DatagramOrder) throws(LoadError) {
    target = try datagramSocket(bound: order.targetPort)
    var sockets: [Int32] = []
    for _ in 0..<order.workload.sessions {
      sockets.append(try datagramSocket(to: order.entryPort))
    }
    clients = sockets
    payloadBytes = order.workload.payloadBytes
  }

  var addresses: [sockaddr_in] { sessions.withLock { $0 } }

  /// Sends from each client until the target knows them all; 5 s at most.
  func openSessions() throws(LoadError) {
    let batch = DatagramBatch(bytesMax: payloadBytes)
    var known: [UInt64: sockaddr_in] = [:]
    let deadline = clockNanoseconds() + 5_000_000_000
    while known.count < clients.count {
      guard clockNanoseconds() < deadline else {
        throw LoadError("\(known.count) of \(clients.count) sessions in 5 s")
      }
      for client in clients { batch.send(1, bytes: 1, on: client, to: nil) }
      sleep(until: clockNanoseconds() + 50_000_000)
      var count = batch.receive(from: target)
      while count > 0 {
        for i in 0..<count {
          let name = batch.name(i)
          known[UInt64(name.sin_addr.s_addr) << 16 | UInt64(name.sin_port)] = name
        }
        count = batch.receive(from: target)
      }
    }
    let found = Array(known.values)
    sessions.withLock { $0 = found }
  }
}

/// One run: what its threads share.
final class DatagramRun: Sendable {
  let order: DatagramOrder
  let sockets: DatagramSockets
  let start: UInt64
  let window: Range<UInt64>
  /// No datagram is sent after the window; what is under way has this long.
  static let graceNanoseconds: UInt64 = 500_000_000
  private let tally = Mutex(DatagramTally())
  private let threadsLeft = Atomic(0)

  init(order: DatagramOrder, sockets: DatagramSockets, start: UInt64, window: Range<UInt64>) {
    self.order = order
    self.sockets = sockets
    self.start = start
    self.window = window
  }

  var end: UInt64 { window.upperBound + Self.graceNanoseconds }

  func startThread(_ body: @escaping @Sendable (DatagramRun) -> DatagramTally) {
    threadsLeft.add(1, ordering: .sequentiallyConsistent)
    LoadKit.startThread { [self] in
      _ = load_exact_timers()
      let counted = body(self)
      tally.withLock { $0.add(counted) }
      threadsLeft.subtract(1, ordering: .sequentiallyConsistent)
    }
  }

  /// Waits for the threads.
  func finish() -> DatagramTally {
    while threadsLeft.load(ordering: .sequentiallyConsistent) > 0 {
      sleep(until: clockNanoseconds() + 5_000_000)
    }
    return tally.withLock { $0 }
  }
}

// MARK: Requests

@Sendable
private func echoDatagrams(_ run: DatagramRun) -> DatagramTally {
  let batch = DatagramBatch(bytesMax: run.order.workload.payloadBytes)
  let poller = Poller()
  poller.add(run.sockets.target, Poller.readable, number: 0)
  while clockNanoseconds() < run.end {
    guard poller.wait(until: run.end) > 0 else { continue }
    let count = batch.receive(from: run.sockets.target)
    if count > 0 { batch.sendBack(count, on: run.sockets.target) }
  }
  return DatagramTally()
}

/// An echo that has not come after this long is lost.
private let echoTimeoutNanoseconds: UInt64 = 250_000_000

@Sendable
private func requestDatagrams(_ run: DatagramRun) -> DatagramTally {
  let bytes = run.order.workload.payloadBytes
  let (batch, pattern) = (DatagramBatch(bytesMax: bytes), Pattern())
  let poller = Poller()
  let clients = run.sockets.clients
  var tally = DatagramTally()
  /// What each session waits for; nil: nothing any more.
  var waiting = [DatagramStamp?](repeating: nil, count: clients.count)
  var number: UInt64 = 0
  func ask(_ session: Int) {
    let now = clockNanoseconds()
    guard now < run.window.upperBound else { return waiting[session] = nil }
    number += 1
    let stamp = DatagramStamp(number: number, sentAt: now)
    stamp.write(to: batch.payload(0), bytes: bytes, pattern)
    batch.send(1, bytes: bytes, on: clients[session], to: nil)
    if run.window.contains(now) { tally.sent += 1 }
    waiting[session] = stamp
  }
  for (session, socket) in clients.enumerated() {
    poller.add(socket, Poller.readable, number: session)
    ask(session)
  }
  var nextCheck = clockNanoseconds() + echoTimeoutNanoseconds / 2
  while waiting.contains(where: { $0 != nil }) {
    for i in 0..<poller.wait(until: nextCheck) {
      let (session, _) = poller.event(i)
      let count = batch.receive(from: clients[session])
      var isAnswered = false
      for j in 0..<count {
        let stamp = DatagramStamp(
          reading: batch.payload(j), count: batch.count(j), bytes: bytes, pattern)
        guard let stamp else {
          // The echo of a datagram that opened the session.
          if batch.count(j) != 1 { tally.failure = LoadError("an echo is wrong") }
          continue
        }
        guard stamp.number == waiting[session]?.number, !isAnswered else {
          tally.repeated += 1
          continue
        }
        isAnswered = true
        guard run.window.contains(stamp.sentAt) else { continue }
        tally.received += 1
        tally.latency.record(clockNanoseconds() - stamp.sentAt)
      }
      if isAnswered { ask(session) }
    }
    let now = clockNanoseconds()
    guard now >= nextCheck else { continue }
    nextCheck = now + echoTimeoutNanoseconds / 2
    for session in clients.indices {
      if let stamp = waiting[session], now - stamp.sentAt >= echoTimeoutNanoseconds { ask(session) }
    }
  }
  return tally
}

// MARK: Streams

/// Looks every half millisecond what is due, and sends it, to the sessions by turns.
@Sendable
private func sendDatagrams(_ run: DatagramRun) -> DatagramTally {
  let workload = run.order.workload
  let (batch, pattern) = (DatagramBatch(bytesMax: workload.payloadBytes), Pattern())
  let (clients, addresses) = (run.sockets.clients, run.sockets.addresses)
  let perSecond = UInt64(workload.packetsPerSecond ?? 1)
  var tally = DatagramTally()
  var number: UInt64 = 0
  var session = 0
  while true {
    let now = clockNanoseconds()
    guard now < run.window.upperBound else { return tally }
    let due = Int((now - run.start) * perSecond / 1_000_000_000 - number)
    if due == 0 {
      sleep(until: now + 500_000)
      continue
    }
    // What is due goes to all sessions in equal parts.
    let count = min(DatagramBatch.capacity, max(1, due / clients.count))
    let sentAt = clockNanoseconds()
    for i in 0..<count {
      DatagramStamp(number: number + UInt64(i), sentAt: sentAt)
        .write(to: batch.payload(i), bytes: workload.payloadBytes, pattern)
    }
    let taken =
      workload.kind == .up
      ? batch.send(count, bytes: workload.payloadBytes, on: clients[session], to: nil)
      : batch.send(
        count, bytes: workload.payloadBytes, on: run.sockets.target, to: addresses[session])
    // What the kernel did not take was not sent; it is not made up for.
    if run.window.contains(sentAt) { tally.sent += taken }
    number += UInt64(count)
    session = (session + 1) % clients.count
  }
}

@Sendable
private func receiveDatagrams(_ run: DatagramRun) -> DatagramTally {
  let workload = run.order.workload
  let bytes = workload.payloadBytes
  let (batch, pattern) = (DatagramBatch(bytesMax: bytes), Pattern())
  let poller = Poller()
  let sockets = workload.kind == .up ? [run.sockets.target] : run.sockets.clients
  for (number, socket) in sockets.enumerated() {
    poller.add(socket, Poller.readable, number: number)
  }
  var tally = DatagramTally()
  var seen = SeenNumbers(
    capacity: Int(run.end - run.start) / 1_000_000 * (workload.packetsPerSecond ?? 1) / 1_000
      + 1_000)
  while clockNanoseconds() < run.end {
    for i in 0..<poller.wait(until: run.end) {
      let (place, _) = poller.event(i)
      let count = batch.receive(from: sockets[place])
      let now = clockNanoseconds()
      for j in 0..<count {
        let stamp = DatagramStamp(
          reading: batch.payload(j), count: batch.count(j), bytes: bytes, pattern)
        guard let stamp else {
          if batch.count(j) != 1 { tally.failure = LoadError("a datagram is wrong") }
          continue
        }
        guard seen.insert(stamp.number) else {
          tally.repeated += 1
          continue
        }
        guard run.window.contains(stamp.sentAt) else { continue }
        tally.received += 1
        tally.latency.record(now - stamp.sentAt)
      }
    }
  }
  return tally
}

/// A bit for each number.
private struct SeenNumbers {
  private var words: [UInt64]

  init(capacity: Int) { words = Array(repeating: 0, count: capacity / 64 + 1) }

  /// False when it was there, or is none that could be.
  mutating func insert(_ number: UInt64) -> Bool {
    let word = Int(truncatingIfNeeded: number >> 6)
    guard words.indices.contains(word) else { return false }
    let bit = UInt64(1) << (number & 63)
    defer { words[word] |= bit }
    return words[word] & bit == 0
  }
}
