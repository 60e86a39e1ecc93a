// How much a link may queue, and who is called when it has sent some.

import RIBase
import RITunnel
import Testing

@testable import RIEngine

@Suite struct LinkBacklogTests {
  private static func id(_ index: UInt32) -> SlotID { SlotID(index: index, generation: 1) }

  private static func queued(_ data: Int, _ sustained: Int = 0) -> QueuedBytes {
    var queued = QueuedBytes()
    queued.data = data
    queued.sustained = sustained
    return queued
  }

  /// Sends `rate` bytes a second for a second.
  private static func backlog(bytesPerSecond rate: Int) -> LinkBacklog {
    var backlog = LinkBacklog()
    for step in 0...100 {
      backlog.sent(rate / 100, now: Instant(nanoseconds: UInt64(step) * 10_000_000))
    }
    return backlog
  }

  @Test func aLinkMayQueueWhatItSendsInFiftyMilliseconds() {
    #expect(Self.backlog(bytesPerSecond: 1_000).limitBytes == Limits.linkBacklogBytesMin)
    let limit = Self.backlog(bytesPerSecond: 20_000_000).limitBytes
    #expect(abs(limit - 1_000_000) < 10_000)
    #expect(Self.backlog(bytesPerSecond: 1 << 30).limitBytes == Limits.linkBacklogBytesMax)
  }

  @Test func sustainedFlowsWaitForBothQueuesAndHoldUpNobody() {
    var backlog = Self.backlog(bytesPerSecond: 0)
    let limit = backlog.limitBytes
    #expect(backlog.takes(.data, behind: Self.queued(limit - 1, 10 * limit)))
    #expect(!backlog.takes(.data, behind: Self.queued(limit)))
    #expect(!backlog.takes(.sustained, behind: Self.queued(limit / 2, limit / 2)))
    backlog.wait(Self.id(1), .sustained)
    backlog.wait(Self.id(2), .data)
    var called: [SlotID] = []
    backlog.call(Self.queued(0, limit)) { called.append($0) }
    #expect(called == [Self.id(2)])
    backlog.call(Self.queued(0)) { called.append($0) }
    #expect(called == [Self.id(2), Self.id(1)])
    #expect(backlog.waitingCount == 0)
  }

  /// No more are called than there may be room for, the first first, and none twice.
  @Test func theLineIsCalledInOrderAndInPortions() {
    var backlog = Self.backlog(bytesPerSecond: 0)
    for index in 0..<1_000 { backlog.wait(Self.id(UInt32(index)), .data) }
    var called: [SlotID] = []
    var turns = 0
    while backlog.waitingCount > 0, turns < 1_000 {
      let before = called.count
      backlog.call(Self.queued(Limits.linkBacklogBytesMin / 2)) { called.append($0) }
      #expect(called.count - before == Limits.linkBacklogBytesMin / 2 / Limits.roomBytesWorthwhile)
      turns += 1
    }
    #expect(called == (0..<1_000).map { Self.id(UInt32($0)) })
  }

  @Test func aSendThatIsNotTakenMakesTheLinkStuck() {
    var backlog = LinkBacklog()
    backlog.sendBegan(now: Instant(nanoseconds: 1_000_000_000))
    #expect(!backlog.isStuck(now: Instant(nanoseconds: 1_019_999_999)))
    #expect(backlog.isStuck(now: Instant(nanoseconds: 1_020_000_000)))
  }
}
