// Memory for those who are stalled: how near the budget is to its end (SPEC 2.4), who loses then,
// what a stuck link gives up, and what goes back to the system.

import RIBase
import RIRing
import RITunnel

extension Shard {
  // MARK: The budget

  /// Says how much of the budget is held, which shrinks windows, and resets the connection that has
  /// taken no byte for longest when the stash is nearly empty. Its buffers come back when its
  /// socket is closed; until then no other is reset.
  func keepBudget() {
    let stash = store[ShardPool.stash]
    budget.setHeld(heldBytes)
    guard stash.freeCount < stash.shape.count / Limits.stashReserveDivisor,
      !connections.contains(evicted), let id = longestStalled()
    else { return }
    evicted = id
    counters.budgetResets += 1
    let span = now - connections[id].progressAt
    reportBudgetReset("reset a stream stalled for \(span.seconds) s")
    connectionFailed(id)
  }

  /// Bytes held for sockets that take none.
  var heldBytes: Int { store[ShardPool.stash].usedCount * store[ShardPool.stash].shape.bytes }

  func reportBudgetReset(_ what: String) {
    guard let leftOut = throttles.admit(.memoryBudget, now: now) else { return }
    let others = leftOut > 0 ? ", and \(leftOut) others" : ""
    report(.warning("memory budget spent: \(what)\(others)"))
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

  func streamSustained(_ stream: StreamRef, of tunnel: Tunnel, _ link: Link) {
    counters.streamsSustained += 1
    guard let details = tunnel.details(of: stream) else { return }
    report(
      .streamSustained(edgeID: link.edge?.id, stream: details.id, bytes: details.bytes))
  }

  // MARK: Stuck links

  /// Receives have found no buffer for a while. Links whose peer takes nothing give up the pooled
  /// buffers of what they have queued, by a copy: a stalled edge must not stop the others.
  func relieveStarvation() {
    reliefTimer = nil
    for index in 0..<links.slotsEverUsed {
      guard let id = links.id(at: index) else { continue }
      let link = links[id]
      guard link.isSending, !link.backlog.isSetAside, link.backlog.isStuck(now: now),
        let tunnel = link.tunnel, tunnel.queuedBytes.total > 0
      else { continue }
      link.backlog.isSetAside = true
      tunnel.replaceQueues(setAside)
    }
    if !starvedReceivers.isEmpty { _ = dropStuckDatagrams() }
  }

  private func setAside(_ queue: inout SliceQueue) {
    let stash = store[ShardPool.stash]
    let needed = Int(queue.byteCount) / stash.shape.bytes + 1
    // Half of the budget stays for stalled clients and targets.
    guard stash.freeCount - needed >= stash.shape.count / 2 else { return }
    var copy = SliceQueue()
    let fits = stashCopy(of: &queue, behind: &copy)
    precondition(fits, "as many buffers as were counted")
    queue = copy
  }

  // MARK: Giving memory back

  /// One step of giving back the memory behind buffers that a burst has left; the next step comes
  /// soon, as all at once would hold up the tick.
  func trimPools() {
    isTrimming = false
    for pool in [
      ShardPool.stash, ShardPool.bulk, ShardPool.datagramReceive, ShardPool.datagramQueue,
      ShardPool.quicHold,
    ] {
      let isLeft = store[pool].trim(
        keeping: Limits.stashBuffersKept, atMost: Limits.trimBuffersPerStep)
      isTrimming = isTrimming || isLeft
    }
    if isTrimming { schedule(.trim, at: now + Limits.trimInterval) }
  }
}
