// What an engine says to its supervisor: lines written by a thread of their own, so that a shard
// never waits for who reads them.

import Dispatch
import Glibc
import RIBase
import RIControl
import RIEngine
import RemoteIngress
import Synchronization

/// Two bounded queues of messages. What finds its queue full is lost, and counted.
final class EngineOutput: Sendable {
  private typealias Mail = Mailbox<EngineMessage>

  /// Where lines go. Standard output itself is standard error from here on: whatever writes to it
  /// must not come between.
  private let descriptor: Int32
  /// Answers, of which there are no more than questions.
  private let vital: Mail
  /// Events and log lines.
  private let other: Mail
  private let lost = Atomic(0)
  private let isFinishing = Atomic(false)
  private let work = DispatchSemaphore(value: 0)
  private let finished = DispatchSemaphore(value: 0)

  init() {
    descriptor = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
    dup2(STDERR_FILENO, STDOUT_FILENO)
    let work = work
    let wake: @Sendable () -> Void = { work.signal() }
    vital = Mail(capacity: Limits.mailboxMessagesMax, wake: wake)
    other = Mail(capacity: Limits.engineLinesQueuedMax, wake: wake)
    DispatchQueue(label: "engine.output").async { [self] in write() }
  }

  func send(_ message: EngineMessage) {
    do throws(MailboxRefusal) {
      try other.post(message)
    } catch {
      lost.add(1, ordering: .relaxed)
    }
  }

  func sendVital(_ message: EngineMessage) { try? vital.post(message) }

  /// Writes what waits, and returns when it is written or the supervisor takes nothing.
  func finish() {
    isFinishing.store(true, ordering: .releasing)
    work.signal()
    _ = finished.wait(timeout: .now() + .seconds(2))
  }

  private func write() {
    var batch: [EngineMessage] = []
    while true {
      work.wait()
      let isLast = isFinishing.load(ordering: .acquiring)
      for mail in isLast ? [other, vital] : [vital, other] {
        mail.takeAll(into: &batch)
        for message in batch { write(message) }
        batch.removeAll(keepingCapacity: batch.count < 64)
      }
      let count = lost.exchange(0, ordering: .relaxed)
      if count > 0 { write(.lost(count)) }
      if isLast { break }
    }
    finished.signal()
  }

  private func write(_ message: EngineMessage) {
    let line = Array((jsonLine(message) + "\n").utf8)
    var sent = 0
    while sent < line.count {
      let count = line[sent...].withUnsafeBytes {
        Glibc.write(descriptor, $0.baseAddress, $0.count)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return }
      sent += count
    }
  }
}
