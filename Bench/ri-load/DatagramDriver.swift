// Datagrams and their echoes at a fixed rate, one session after the other. What does not come back
// is counted; what comes back must be what was sent, to whom it was sent.

import CLoadIO
import Glibc
import LoadKit

final class DatagramDriver: LoadDriver {
  /// Received at a time before other sessions have their turn.
  private static let batch = 64
  /// So many of the last are known by number; an echo of an earlier one comes too late to count.
  private static let window = 1 << 20

  private let context: LoadContext
  private let poller: PollerBox
  private let sockets: [Int32]
  private var schedule: Schedule
  /// By number, in a ring: when it was due, 0 once its echo has come.
  private var due = [UInt64](repeating: 0, count: window)
  private var hasEcho: [Bool]
  private let messageBytes: Int
  private let incoming: UnsafeMutablePointer<UInt8>
  private let outgoing: UnsafeMutablePointer<UInt8>

  init(_ context: LoadContext, _ poller: PollerBox) throws(LoadError) {
    self.context = context
    self.poller = poller
    var sockets: [Int32] = []
    for number in 0..<context.plan.connections {
      let socket = try context.edge.socket(SOCK_DGRAM)
      for option in [SO_RCVBUF, SO_SNDBUF] { setOption(socket, SOL_SOCKET, option, 1 << 20) }
      guard context.edge.withName({ connect(socket, $0, $1) }) == 0 else {
        throw failure("connect to \(context.edge)")
      }
      poller.poller.add(socket, Poller.readable, number: number)
      sockets.append(socket)
    }
    self.sockets = sockets
    hasEcho = [Bool](repeating: false, count: sockets.count)
    messageBytes = context.plan.messageBytes
    incoming = .allocate(capacity: 65_536)
    outgoing = .allocate(capacity: messageBytes)
    schedule = Schedule(start: clockNanoseconds(), perSecond: context.plan.rate)
  }

  deinit {
    for socket in sockets { close(socket) }
    incoming.deallocate()
    outgoing.deallocate()
  }

  var isAnswered: Bool { context.tally.counts.lost == 0 }

  func stopSending() {}

  func work(at now: UInt64) throws(LoadError) {
    while let (number, due) = schedule.take(at: now) {
      let session = number % sockets.count
      let header = DatagramHeader(session: UInt32(session), number: UInt64(number))
      for (place, byte) in header.bytes.enumerated() { outgoing[place] = byte }
      memcpy(
        outgoing + DatagramHeader.byteCount, context.pattern.bytes(at: header.patternOffset),
        messageBytes - DatagramHeader.byteCount)
      context.tally.sent(due: due, at: now)
      self.due[number % Self.window] = due
      // What the kernel does not take is lost; a port that nobody has is said by a later call.
      let count = send(sockets[session], outgoing, messageBytes, 0)
      if count > 0 { context.tally.bytes(sent: count) }
    }
  }

  func handle(_ session: Int, _ what: UInt32) throws(LoadError) {
    for _ in 0..<Self.batch {
      let count = recv(sockets[session], incoming, 65_536, 0)
      guard count >= 0 else {
        if errno == ECONNREFUSED { context.tally.failed("nobody has the UDP port") }
        return
      }
      try receive(count, session)
    }
  }

  private func receive(_ count: Int, _ session: Int) throws(LoadError) {
    let bytes = UnsafeBufferPointer(start: incoming, count: count)
    guard count == messageBytes, let header = DatagramHeader(bytes),
      header.number < schedule.count
    else {
      throw LoadError("session \(session): a datagram of \(count) bytes is none that was sent")
    }
    guard header.session == session else {
      throw LoadError("session \(session): a datagram of session \(header.session)")
    }
    guard
      context.pattern.equals(
        incoming + DatagramHeader.byteCount, count: count - DatagramHeader.byteCount,
        at: header.patternOffset)
    else { throw LoadError("session \(session): wrong bytes in a datagram") }
    context.tally.bytes(received: count)
    if !hasEcho[session] {
      hasEcho[session] = true
      context.tally.opened()
    }
    let number = Int(header.number)
    guard number + Self.window > schedule.count, due[number % Self.window] > 0 else {
      return context.tally.repeated()
    }
    context.tally.answered(due: due[number % Self.window], at: clockNanoseconds())
    due[number % Self.window] = 0
  }
}
