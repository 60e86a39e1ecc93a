// Downloads and uploads at a fixed rate each. Downloads are read in turn, a piece when it is due,
// so a small rate makes slow readers; an upload's end is checked against what the target has
// received.

import Glibc
import LoadKit

final class BulkDriver: LoadDriver {
  /// A piece is a twentieth of a second's bytes, within these bounds.
  private static let pieceBytes: ClosedRange<Double> = 1_024...262_144
  /// Slow readers keep little in their sockets: what they do not read shall wait elsewhere.
  private static let slowBytesPerSecond = 1_000_000.0
  private static let slowBufferBytes: Int32 = 65_536

  private struct Transfer {
    var lane: Lane
    var bytes: UInt64 = 0
    var receipt: [UInt8] = []
    var isDone = false
  }

  private let context: LoadContext
  private let poller: PollerBox
  private let isDownload: Bool
  private let piece: Int
  private var opening: Schedule
  private var pieces: Schedule
  private var transfers: [Transfer]
  private var opened = 0
  private var isStopped = false
  private var buffer: [UInt8]

  init(_ context: LoadContext, _ poller: PollerBox) {
    self.context = context
    self.poller = poller
    let plan = context.plan
    isDownload = plan.mode == .download
    transfers = (0..<plan.connections).map { Transfer(lane: Lane($0)) }
    piece = Int(
      min(max(plan.bytesPerSecond / 20, Self.pieceBytes.lowerBound), Self.pieceBytes.upperBound))
    let now = clockNanoseconds()
    opening = Schedule(start: now, perSecond: plan.connectsPerSecond)
    pieces = Schedule(
      start: now, perSecond: plan.bytesPerSecond / Double(piece) * Double(plan.connections))
    buffer = [UInt8](repeating: 0, count: piece)
  }

  var isAnswered: Bool { transfers.allSatisfy(\.isDone) }

  func work(at now: UInt64) throws(LoadError) {
    while opened < transfers.count, let (number, _) = opening.take(at: now) {
      let offset = UInt64(number + 1) &* 8191
      let slow = isDownload && context.plan.bytesPerSecond < Self.slowBytesPerSecond
      let why = transfers[number].lane.open(
        context.edge, Request(isDownload ? .download : .upload, offset: offset),
        receiveBufferBytes: slow ? Self.slowBufferBytes : nil, on: poller.poller)
      if let why { fail(number, why) }
      opened += 1
    }
    while let (count, _) = pieces.take(at: now) {
      let number = count % transfers.count
      guard transfers[number].lane.isReady, !transfers[number].isDone else { continue }
      if isDownload { try read(number) } else { write(number) }
    }
  }

  private func fail(_ number: Int, _ why: String) {
    context.tally.failed(why)
    transfers[number].lane.end()
    transfers[number].isDone = true
  }

  private func read(_ number: Int) throws(LoadError) {
    let transfer = transfers[number]
    let count = recv(transfer.lane.socket, &buffer, piece, 0)
    guard count > 0 else {
      if count < 0, errno == EAGAIN { return }
      return fail(number, transfer.lane.ended(count))
    }
    let offset = transfer.lane.offset + transfer.bytes
    guard context.pattern.equals(buffer, count: count, at: offset) else {
      throw LoadError("download \(number): wrong bytes at or after \(transfer.bytes)")
    }
    transfers[number].bytes += UInt64(count)
    context.tally.bytes(received: count)
  }

  private func write(_ number: Int) {
    let transfer = transfers[number]
    let count = context.pattern.send(
      on: transfer.lane.socket, from: transfer.lane.offset + transfer.bytes, bytesMax: piece)
    guard count > 0 else {
      if count < 0, errno != EAGAIN { fail(number, failure("send").description) }
      return
    }
    transfers[number].bytes += UInt64(count)
    context.tally.bytes(sent: count)
  }

  func handle(_ number: Int, _ what: UInt32) throws(LoadError) {
    let lane = transfers[number].lane
    switch lane.handle(what, on: poller.poller) {
    case .none: break
    case .failed(let why): fail(number, why)
    case .ready(let reply):
      context.tally.opened(reply)
      try checkAddress(lane, reply, context.plan)
      // A download is read when a piece is due, not when there is something.
      if isDownload { poller.poller.remove(lane.socket) }
    case .load: try receiveReceipt(number)
    }
  }

  /// An upload's end: all that was sent has arrived, as it was sent.
  private func receiveReceipt(_ number: Int) throws(LoadError) {
    var bytes = [UInt8](repeating: 0, count: Receipt.byteCount)
    let wanted = Receipt.byteCount - transfers[number].receipt.count
    let count = recv(transfers[number].lane.socket, &bytes, wanted, 0)
    guard count > 0 else {
      if count < 0, errno == EAGAIN { return }
      return fail(number, transfers[number].lane.ended(count))
    }
    transfers[number].receipt += bytes[..<count]
    guard transfers[number].receipt.count == Receipt.byteCount else { return }
    guard let receipt = Receipt(transfers[number].receipt) else {
      throw LoadError("upload \(number): the target's receipt is wrong")
    }
    guard !receipt.isWrong else {
      throw LoadError("upload \(number): wrong bytes at or after \(receipt.bytesReceived)")
    }
    guard isStopped, receipt.bytesReceived == transfers[number].bytes else {
      throw LoadError(
        "upload \(number): \(transfers[number].bytes) bytes were sent, "
          + "\(receipt.bytesReceived) arrived")
    }
    transfers[number].lane.end()
    transfers[number].isDone = true
  }

  func stopSending() throws(LoadError) {
    isStopped = true
    for number in transfers.indices where !transfers[number].isDone {
      guard transfers[number].lane.isReady else {
        fail(number, "not answered before the end")
        continue
      }
      if isDownload {
        transfers[number].lane.end()
        transfers[number].isDone = true
      } else {
        shutdown(transfers[number].lane.socket, Int32(SHUT_WR))
      }
    }
  }
}
