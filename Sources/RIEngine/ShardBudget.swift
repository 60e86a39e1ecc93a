// The memory budget for stalled clients and targets (SPEC 2.4): who loses when it is nearly spent.

import RIBase
import RIRing

extension Shard {
  /// Resets the connection that has taken no byte for longest when the stash is nearly empty. Its
  /// buffers come back when its socket is closed; until then no other is reset.
  func keepBudget() {
    let stash = store[ShardPool.stash]
    guard stash.freeCount < stash.shape.count / Limits.stashReserveDivisor,
      !connections.contains(evicted), let id = longestStalled()
    else { return }
    evicted = id
    counters.budgetResets += 1
    let span = now - connections[id].progressAt
    report(.warning("memory budget spent: reset a stream stalled for \(span.seconds) s"))
    connectionFailed(id)
  }

  /// O(all connections): only when the budget is nearly spent, and once for each reset.
  private func longestStalled() -> SlotID? {
    var longest: SlotID?
    var since = now
    for index in 0..<connections.slotsEverUsed {
      guard let id = connections.id(at: index) else { continue }
      let connection = connections[id]
      guard connection.flags.contains(.blocked), !connection.flags.contains(.closing),
        connection.progressAt < since
      else { continue }
      longest = id
      since = connection.progressAt
    }
    return longest
  }
}
