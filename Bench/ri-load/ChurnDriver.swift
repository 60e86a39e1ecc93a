// Connections at a fixed rate: each is opened when it is due, carries one message and its echo, and
// is closed. Where none is free in time, it waits, and the wait counts.

import Glibc
import LoadKit

final class ChurnDriver: LoadDriver {
  private static let timeoutNanoseconds: UInt64 = 10_000_000_000

  private struct Visit {
    var lane: Lane
    var due: UInt64 = 0
    var receivedBytes = 0
  }

  private let context: LoadContext
  private let poller: PollerBox
  private var schedule: Schedule
  private var visits: [Visit]
  private var free: [Int]
  private var buffer: [UInt8]
  private var nextCheck: UInt64 = 0

  init(_ context: LoadContext, _ poller: PollerBox) {
    self.context = context
    self.poller = poller
    visits = (0..<context.plan.connections).map { Visit(lane: Lane($0)) }
    free = Array(visits.indices.reversed())
    schedule = Schedule(start: clockNanoseconds(), perSecond: context.plan.rate)
    buffer = [UInt8](repeating: 0, count: 65_536)
  }

  var isAnswered: Bool { free.count == visits.count }

  func stopSending() {}

  func work(at now: UInt64) throws(LoadError) {
    while let number = free.last, let (count, due) = schedule.take(at: now) {
      free.removeLast()
      context.tally.sent(due: due, at: now)
      visits[number].due = due
      visits[number].receivedBytes = 0
      let request = Request(.echo, offset: UInt64(count) &* 8191)
      let bytes = context.pattern.bytes(at: request.offset)
      let message = Array(UnsafeBufferPointer(start: bytes, count: context.plan.messageBytes))
      let why = visits[number].lane.open(
        context.edge, request, message: message, on: poller.poller)
      if let why { fail(number, why) } else { context.tally.bytes(sent: message.count) }
    }
    guard now >= nextCheck else { return }
    nextCheck = now + 1_000_000_000
    for number in visits.indices where !visits[number].lane.isClosed {
      if now > visits[number].lane.openedAt + Self.timeoutNanoseconds {
        fail(number, "no answer within 10 s")
      }
    }
  }

  private func fail(_ number: Int, _ why: String) {
    context.tally.failed(why)
    leave(number)
  }

  private func leave(_ number: Int) {
    visits[number].lane.end()
    free.append(number)
  }

  func handle(_ number: Int, _ what: UInt32) throws(LoadError) {
    let lane = visits[number].lane
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
    let visit = visits[number]
    let count = recv(visit.lane.socket, &buffer, buffer.count, 0)
    guard count > 0 else {
      if count < 0, errno == EAGAIN { return }
      return fail(number, visit.lane.ended(count))
    }
    context.tally.bytes(received: count)
    guard visit.receivedBytes + count <= context.plan.messageBytes,
      context.pattern.equals(
        buffer, count: count, at: visit.lane.offset + UInt64(visit.receivedBytes))
    else { throw LoadError("a connection's echo is wrong") }
    visits[number].receivedBytes += count
    guard visits[number].receivedBytes == context.plan.messageBytes else { return }
    context.tally.answered(due: visit.due, at: clockNanoseconds())
    leave(number)
  }
}
