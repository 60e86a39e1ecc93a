// Messages at a fixed rate, one connection after the other: an open loop. A message counts from
// when it was due, whether or not the one before it was answered.

import Glibc
import LoadKit

final class EchoDriver: LoadDriver {
  /// When a connection that failed is tried again.
  private static let retryNanoseconds: UInt64 = 500_000_000
  /// How long the first message waits for connections that do not come about.
  private static let openNanosecondsMax: UInt64 = 5_000_000_000
  /// Answered messages are forgotten so many at a time.
  private static let forgottenAtOnce = 4_096

  /// A connection and what is under way on it.
  private struct Stream {
    var lane: Lane
    /// Bytes since the connection was opened.
    var sentBytes = 0
    var receivedBytes = 0
    /// When each message was due, from number `forgotten` on, and how many of all are answered.
    var due: [UInt64] = []
    var forgotten = 0
    var answered = 0
    var retryAt: UInt64 = 0

    var begun: Int { forgotten + due.count }
    var outstanding: Int { begun - answered }
  }

  private let context: LoadContext
  private let poller: PollerBox
  private let messageBytes: Int
  private var opening: Schedule
  private var messages: Schedule?
  private var streams: [Stream]
  private var opened = 0
  private var openCount = 0
  private var openedAllAt: UInt64 = 0
  private var retrying: [Int] = []
  private var buffer: [UInt8]

  init(_ context: LoadContext, _ poller: PollerBox) {
    self.context = context
    self.poller = poller
    messageBytes = context.plan.messageBytes
    streams = (0..<context.plan.connections).map { Stream(lane: Lane($0)) }
    opening = Schedule(start: clockNanoseconds(), perSecond: context.plan.connectsPerSecond)
    buffer = [UInt8](repeating: 0, count: 65_536)
  }

  var isAnswered: Bool { streams.allSatisfy { $0.outstanding == 0 } }

  func stopSending() {}

  /// Connections first: the first message is due when all are there, or have failed.
  func work(at now: UInt64) throws(LoadError) {
    while opened < streams.count, let (number, _) = opening.take(at: now) {
      open(number)
      opened += 1
      openedAllAt = now
    }
    while let number = retrying.first, streams[number].retryAt <= now {
      retrying.removeFirst()
      open(number)
    }
    if messages == nil {
      guard opened == streams.count,
        now > openedAllAt + Self.openNanosecondsMax
          || streams.allSatisfy({ $0.lane.isReady || $0.retryAt > 0 })
      else { return }
      messages = Schedule(start: now, perSecond: context.plan.rate)
    }
    while let (number, due) = messages?.take(at: now) {
      try send(number % streams.count, due: due, at: now)
    }
  }

  private func open(_ number: Int) {
    openCount += 1
    streams[number] = Stream(lane: streams[number].lane)
    let offset = UInt64(openCount) &* 8191
    let why = streams[number].lane.open(
      context.edge, Request(.echo, offset: offset), on: poller.poller)
    if let why { fail(number, why) }
  }

  private func fail(_ number: Int, _ why: String) {
    context.tally.failed(why)
    streams[number].lane.end()
    streams[number] = Stream(lane: streams[number].lane)
    streams[number].retryAt = clockNanoseconds() + Self.retryNanoseconds
    retrying.append(number)
  }

  private func send(_ number: Int, due: UInt64, at now: UInt64) throws(LoadError) {
    context.tally.sent(due: due, at: now)
    // Without a connection the message is lost.
    guard streams[number].lane.isReady else { return }
    streams[number].due.append(due)
    flush(number)
  }

  /// Sends what is due. What a full socket refuses goes with the next message, or when there is
  /// room.
  private func flush(_ number: Int) {
    let stream = streams[number]
    let (total, lane) = (stream.begun * messageBytes, stream.lane)
    while streams[number].sentBytes < total {
      let sent = streams[number].sentBytes
      let count = Glibc.send(
        lane.socket, context.pattern.bytes(at: lane.offset + UInt64(sent)),
        min(total - sent, Pattern.runBytesMax), Int32(MSG_NOSIGNAL))
      guard count > 0 else {
        if errno != EAGAIN { fail(number, failure("send").description) }
        return
      }
      streams[number].sentBytes += count
      context.tally.bytes(sent: count)
    }
  }

  func handle(_ number: Int, _ what: UInt32) throws(LoadError) {
    let lane = streams[number].lane
    switch lane.handle(what, on: poller.poller) {
    case .none: break
    case .failed(let why): fail(number, why)
    case .ready(let reply):
      context.tally.opened(reply)
      try checkAddress(lane, reply, context.plan)
    case .load: try receive(number)
    }
  }

  private func receive(_ number: Int) throws(LoadError) {
    let lane = streams[number].lane
    let count = recv(lane.socket, &buffer, buffer.count, 0)
    guard count > 0 else {
      if count < 0, errno == EAGAIN { return }
      return fail(number, lane.ended(count))
    }
    context.tally.bytes(received: count)
    let offset = streams[number].receivedBytes
    guard offset + count <= streams[number].sentBytes else {
      throw LoadError("connection \(number): more came back than was sent")
    }
    guard context.pattern.equals(buffer, count: count, at: lane.offset + UInt64(offset)) else {
      throw LoadError("connection \(number): wrong bytes at or after \(offset)")
    }
    streams[number].receivedBytes += count
    let now = clockNanoseconds()
    while (streams[number].answered + 1) * messageBytes <= streams[number].receivedBytes {
      let place = streams[number].answered - streams[number].forgotten
      context.tally.answered(due: streams[number].due[place], at: now)
      streams[number].answered += 1
    }
    let answered = streams[number].answered - streams[number].forgotten
    if answered >= Self.forgottenAtOnce {
      streams[number].due.removeFirst(answered)
      streams[number].forgotten += answered
    }
    flush(number)
  }
}
