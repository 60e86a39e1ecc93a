// How much the streams of a link may have queued for it, and who waits to queue more.

import RIBase
import RITunnel

/// Queued bytes are pooled buffers that other links of the shard need too. So a link may queue what
/// it sends in `Limits.linkBacklogTime`, within bounds; sockets beyond that wait in line to be
/// read. Sustained flows have a line of their own, and wait for the queues of both tiers.
struct LinkBacklog {
  /// Bytes that may be queued.
  private(set) var limitBytes = Limits.linkBacklogBytesMax
  /// When the present send began.
  private(set) var sendBegan = Instant(nanoseconds: 0)
  /// The queue was copied aside in the present send.
  var isSetAside = false

  private var spanBegan = Instant(nanoseconds: 0)
  private var spanBytes = 0
  private var dataLine = ConnectionLine()
  private var sustainedLine = ConnectionLine()

  var waitingCount: Int { dataLine.count + sustainedLine.count }

  // MARK: The rate

  mutating func sendBegan(now: Instant) { sendBegan = now }

  /// Counts bytes that the kernel took.
  mutating func sent(_ bytes: Int, now: Instant) {
    isSetAside = false
    spanBytes += bytes
    let span = now - spanBegan
    guard span >= Limits.linkBacklogTime else { return }
    let perTime = Double(spanBytes) * (Limits.linkBacklogTime.seconds / span.seconds)
    limitBytes = min(
      max(Int(perTime), Limits.linkBacklogBytesMin), Limits.linkBacklogBytesMax)
    spanBegan = now
    spanBytes = 0
  }

  /// Whether the kernel has not taken a send for so long that the link counts as stuck.
  func isStuck(now: Instant) -> Bool { now - sendBegan >= Limits.linkStuckAfter }

  // MARK: The lines

  /// Whether more may be queued in a tier behind what it has before it.
  func takes(_ tier: Tier, behind queued: QueuedBytes) -> Bool {
    queued.ahead(of: tier) < limitBytes
  }

  /// Puts a connection at the end of its tier's line.
  mutating func wait(_ connection: SlotID, _ tier: Tier) {
    switch tier {
    case .data: dataLine.append(connection)
    case .sustained: sustainedLine.append(connection)
    }
  }

  /// Calls those whose turn it is, as many as there may be room for.
  mutating func call(_ queued: QueuedBytes, _ body: (SlotID) -> Void) {
    var queued = queued
    while takes(.data, behind: queued), let next = dataLine.popFirst() {
      queued.data += Limits.roomBytesWorthwhile
      body(next)
    }
    while takes(.sustained, behind: queued), let next = sustainedLine.popFirst() {
      queued.sustained += Limits.roomBytesWorthwhile
      body(next)
    }
  }
}

/// First come, first served. Memory grows to the longest line there was.
private struct ConnectionLine {
  private var ids: [SlotID] = []
  /// Those before it have been called.
  private var head = 0

  var count: Int { ids.count - head }

  mutating func append(_ id: SlotID) { ids.append(id) }

  mutating func popFirst() -> SlotID? {
    guard head < ids.count else { return nil }
    let id = ids[head]
    head += 1
    // Each id moves at most once for each that is called.
    if head > ids.count / 2 {
      ids.removeFirst(head)
      head = 0
    }
    return id
  }
}
