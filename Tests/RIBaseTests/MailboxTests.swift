// The mailbox: order, bounds, wakes.

import Glibc
import Synchronization
import Testing

@testable import RIBase

@Suite struct MailboxTests {
  private final class Wakes: Sendable {
    let count = Atomic(0)
  }

  @Test func keepsOrderAndWakesOncePerBatch() throws {
    let wakes = Wakes()
    let mailbox = Mailbox<Int>(capacity: 10) { wakes.count.add(1, ordering: .relaxed) }
    #expect(mailbox.isEmpty)
    for i in 0..<3 { try mailbox.post(i) }
    #expect(!mailbox.isEmpty)
    #expect(wakes.count.load(ordering: .relaxed) == 1)
    var batch: [Int] = []
    mailbox.takeAll(into: &batch)
    #expect(batch == [0, 1, 2])
    #expect(mailbox.isEmpty)
    try mailbox.post(3)
    #expect(wakes.count.load(ordering: .relaxed) == 2)
  }

  @Test func refusesWhenFullOrClosed() throws {
    let mailbox = Mailbox<Int>(capacity: 2) {}
    try mailbox.post(1)
    try mailbox.post(2)
    #expect(throws: MailboxRefusal.full(capacity: 2)) { try mailbox.post(3) }
    mailbox.close()
    var batch: [Int] = []
    mailbox.takeAll(into: &batch)
    #expect(batch == [1, 2], "what was taken before is kept")
    #expect(throws: MailboxRefusal.closed) { try mailbox.post(4) }
  }

  /// What a posting thread works on.
  private final class Work: Sendable {
    let mailbox: Mailbox<Int>
    let nextThread = Atomic(0)
    init(_ mailbox: Mailbox<Int>) { self.mailbox = mailbox }
  }

  @Test func threadsLoseNothingAndKeepTheirOrder() throws {
    let wakes = Wakes()
    let perThread = 5_000
    let work = Work(Mailbox(capacity: 64) { wakes.count.add(1, ordering: .relaxed) })
    var threads: [pthread_t] = []
    for _ in 0..<4 {
      var thread = pthread_t()
      let argument = Unmanaged.passRetained(work).toOpaque()
      pthread_create(
        &thread, nil,
        { argument in
          guard let argument else { return nil }
          let work = Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()
          let number = work.nextThread.add(1, ordering: .relaxed).oldValue
          var i = 0
          while i < 5_000 {
            do throws(MailboxRefusal) {
              try work.mailbox.post(number << 32 | i)
              i += 1
            } catch {
              sched_yield()
            }
          }
          return nil
        }, argument)
      threads.append(thread)
    }
    var last = [Int](repeating: -1, count: 4)
    var received = 0
    var batches = 0
    var batch: [Int] = []
    while received < 4 * perThread {
      guard !work.mailbox.isEmpty else {
        sched_yield()
        continue
      }
      work.mailbox.takeAll(into: &batch)
      batches += 1
      for message in batch {
        #expect(last[message >> 32] + 1 == message & 0xFFFF_FFFF)
        last[message >> 32] = message & 0xFFFF_FFFF
      }
      received += batch.count
      batch.removeAll(keepingCapacity: true)
    }
    for thread in threads { pthread_join(thread, nil) }
    #expect(work.mailbox.isEmpty)
    #expect(wakes.count.load(ordering: .relaxed) == batches)
  }
}
