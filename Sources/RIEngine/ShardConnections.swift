// Client and target connections: reading them when their stream has room, copying aside what their
// socket refuses, half-close, and their end.

import RIBase
import RIRing
import RITunnel

extension Shard {
  // MARK: Receiving

  func markReceivePending(_ id: SlotID) {
    guard !connections[id].flags.contains(.receivePending) else { return }
    connections[id].flags.insert(.receivePending)
    pendingReceives.append(id)
  }

  /// Arms receives last in a tick, when what was sealed has made room: a socket is read only while
  /// its stream may send.
  func armReceives() {
    retryStarved()
    guard !pendingReceives.isEmpty else { return }
    swap(&scratch, &pendingReceives)
    for id in scratch where connections.contains(id) {
      connections[id].flags.remove(.receivePending)
      armReceive(id)
    }
    scratch.removeAll(keepingCapacity: true)
  }

  private func armReceive(_ id: SlotID) {
    let connection = connections[id]
    guard connection.flags.contains(.connected),
      connection.flags.isDisjoint(
        with: [.receiving, .localFinished, .closing, .streamGone, .inLine]),
      links.contains(connection.link), let tunnel = links[connection.link].tunnel
    else { return }
    let link = links[connection.link]
    let tier = tunnel.tier(of: connection.stream)
    guard link.backlog.takes(tier, behind: tunnel.queuedBytes) else {
      connections[id].flags.insert(.inLine)
      link.backlog.wait(id, tier)
      return noteLine(of: link, connection.link)
    }
    // What is queued makes room when it goes: large receives are worth the wait.
    let isInBulk = connection.flags.contains(.bulk)
    let waits = isInBulk && tunnel.hasQueued(connection.stream)
    let least =
      waits
      ? Limits.streamQueueBytes / 2 : store[isInBulk ? ShardPool.bulk : ShardPool.small].shape.bytes
    let room = tunnel.sendRoom(connection.stream, atLeast: least)
    guard !waits || room >= least else { return }
    let isBulk = isInBulk && room >= store[ShardPool.bulk].shape.bytes
    let pool = isBulk ? ShardPool.bulk : ShardPool.small
    // A receive may go past its limit by less than a buffer. Nothing is read that has no credit: a
    // stream whose peer is stalled would keep its buffer from all others.
    let limit = (isBulk ? room : min(room, Limits.smallReceiveBytes)) - store[pool].shape.bytes + 1
    guard limit > 0 else { return }
    connections[id].flags.insert(.receiving)
    ring.receive(
      on: connection.socket, into: pool, limitBytes: limit,
      token: OperationToken(.connectionReceive, id).token)
  }

  /// What a link has sent makes room for those who wait to queue for it, as many as may fit.
  func readOn(_ link: Link) {
    guard let tunnel = link.tunnel else { return }
    link.backlog.call(tunnel.queuedBytes) { id in
      guard connections.contains(id) else { return }
      connections[id].flags.remove(.inLine)
      markReceivePending(id)
    }
  }

  /// Empty pools are tried again only after a buffer has come back, so that waiting costs nothing.
  /// Those listed in this tick found their pool empty in its `wait`, which is after the last try: a
  /// buffer that came back since then counts.
  private func retryStarved() {
    guard !(starvedConnections.isEmpty && starvedLinks.isEmpty && starvedReceivers.isEmpty) else {
      return
    }
    if reliefTimer == nil {
      reliefTimer = schedule(.relief, at: now + Limits.linkStuckAfter)
    }
    guard returnsSeen != store.returnCount else { return }
    returnsSeen = store.returnCount
    for id in starvedConnections where connections.contains(id) { markReceivePending(id) }
    starvedConnections.removeAll(keepingCapacity: true)
    for id in starvedLinks where links.contains(id) {
      if let tls = links[id].tls { armReceive(of: links[id], tls, id) }
    }
    starvedLinks.removeAll(keepingCapacity: true)
    for receiver in starvedReceivers { rearm(receiver) }
    starvedReceivers.removeAll(keepingCapacity: true)
  }

  private func rearm(_ receiver: OperationToken) {
    switch receiver.kind {
    case .targetDatagram: rearmSession(receiver.slot)
    case .packetReceive: armPackets(receiver.slot)
    default: if listeners.contains(receiver.slot) { armAccept(receiver.slot) }
    }
  }

  func connectionReceived(_ id: SlotID, _ completion: Completion) {
    guard connections.contains(id) else {
      if let slice = completion.slice { store.release(slice) }
      return
    }
    if !completion.more { connections[id].flags.remove(.receiving) }
    if let slice = completion.slice { queueForTunnel(slice, from: id, isLast: !completion.more) }
    guard !completion.more, !connections[id].flags.contains(.closing) else { return }
    switch completion.result {
    case 1...: markReceivePending(id)
    case 0: connectionFinished(id)
    case -ErrorNumber.noBuffers: starvedConnections.append(id)
    case -ErrorNumber.cancelled: break
    default: connectionFailed(id)
    }
  }

  /// Step 7: the relay. The slice itself is handed over, not its bytes.
  private func queueForTunnel(_ slice: Slice, from id: SlotID, isLast: Bool) {
    let connection = connections[id]
    guard connection.flags.isDisjoint(with: [.closing, .streamGone]),
      links.contains(connection.link), let tunnel = links[connection.link].tunnel
    else {
      store.release(slice)
      return
    }
    noteClass(of: id, slice, isCut: isLast)
    if connection.flags.contains(.held), tunnel.isRead(connection.stream) {
      connections[id].flags.remove(.held)
      ring.set(.receiveBufferReleased, on: connection.socket)
    }
    tunnel.send(slice, on: connection.stream)
    markDirty(connection.link)
  }

  /// Whoever fills whole buffers sends in bulk; whoever brings little time and again goes back to
  /// small ones. What was cut by its limit is not judged.
  private func noteClass(of id: SlotID, _ slice: Slice, isCut: Bool) {
    guard slice.buffer.pool == ShardPool.bulk else {
      guard Int(slice.count) == store[ShardPool.small].shape.bytes else { return }
      connections[id].flags.insert(.bulk)
      connections[id].littleReceives = 0
      return
    }
    guard Int(slice.count) <= Limits.littleReceiveBytes, !isCut else {
      connections[id].littleReceives = 0
      return
    }
    connections[id].littleReceives &+= 1
    if connections[id].littleReceives >= Limits.littleReceivesMax {
      connections[id].flags.remove(.bulk)
    }
  }

  /// The peer has ended its direction (EOF): the stream's direction ends behind its data.
  private func connectionFinished(_ id: SlotID) {
    let connection = connections[id]
    connections[id].flags.insert(.localFinished)
    if !connection.flags.contains(.streamGone), links.contains(connection.link),
      let tunnel = links[connection.link].tunnel
    {
      tunnel.finish(connection.stream)
      markDirty(connection.link)
    }
    finishConnectionIfDone(id)
  }

  // MARK: Copying aside

  /// Copies what arrived in this tick behind what waits already, so that the tunnel's receive
  /// buffer is free again. False when the budget is spent and the connection had to be reset.
  func stashArriving(_ id: SlotID) -> Bool {
    var arriving = connections[id].arriving
    connections[id].arriving = SliceQueue()
    let fits = stashCopy(of: &arriving, behind: &connections[id].outgoing)
    if !fits { stashExhausted(id) }
    return fits
  }

  /// Copies the queue's slices out of the tunnel's receive buffers. No send may be in flight.
  func stashOutgoing(_ id: SlotID) -> Bool {
    var borrowed = connections[id].outgoing
    connections[id].outgoing = SliceQueue()
    let fits = stashCopy(of: &borrowed, behind: &connections[id].outgoing)
    if !fits { stashExhausted(id) }
    return fits
  }

  /// Copies a queue's slices into stash buffers behind another queue. False when those do not
  /// suffice: the rest is dropped.
  func stashCopy(of source: inout SliceQueue, behind target: inout SliceQueue) -> Bool {
    while var slice = store.popFirst(from: &source) {
      while slice.count > 0 {
        guard let room = stashRoom(behind: target, wanted: Int(slice.count)) else {
          store.release(slice)
          store.removeAll(from: &source)
          return false
        }
        let part = slice.removePrefix(Int(room.count))
        store.mutableBytes(room).copyMemory(from: store.bytes(part))
        store.append(room, to: &target)
      }
      store.release(slice)
    }
    return true
  }

  /// Free bytes behind the last stashed slice, or a new buffer. Owned by the caller.
  private func stashRoom(behind queue: SliceQueue, wanted: Int) -> Slice? {
    if let last = store.last(of: queue), last.buffer.pool == ShardPool.stash {
      let end = Int(last.offset) + Int(last.count)
      if end < ShardPool.stashBufferBytes {
        store.retain(last)
        return Slice(
          buffer: last.buffer, offset: end, count: min(wanted, ShardPool.stashBufferBytes - end))
      }
    }
    guard let buffer = store[ShardPool.stash].take() else { return nil }
    return Slice(buffer: buffer, offset: 0, count: min(wanted, ShardPool.stashBufferBytes))
  }

  private func stashExhausted(_ id: SlotID) {
    counters.budgetResets += 1
    reportBudgetReset("reset a stream that it had no room for")
    connectionFailed(id)
  }

  // MARK: The end

  /// Ends the sending direction once everything is written, and the connection once both are over.
  func finishConnectionIfDone(_ id: SlotID) {
    let connection = connections[id]
    guard connection.flags.contains(.remoteFinished),
      connection.flags.isDisjoint(with: [.sending, .closing]),
      connection.flags.contains(.connected), connection.outgoing.isEmpty,
      connection.arriving.isEmpty
    else { return }
    if connection.flags.contains(.localFinished) {
      closeConnection(id, .graceful)
    } else if !connection.flags.contains(.shutdownDone) {
      connections[id].flags.insert(.shutdownDone)
      ring.shutdownSending(connection.socket)
    }
  }

  /// The socket failed, or was not wanted: the stream is reset and the peer too.
  func connectionFailed(_ id: SlotID) {
    let connection = connections[id]
    if !connection.flags.contains(.streamGone), links.contains(connection.link),
      let tunnel = links[connection.link].tunnel
    {
      connections[id].flags.insert(.streamGone)
      tunnel.reset(connection.stream)
      markDirty(connection.link)
    }
    closeConnection(id, .reset)
  }

  func closeConnection(_ id: SlotID, _ mode: CloseMode) {
    guard !connections[id].flags.contains(.closing) else { return }
    connections[id].flags.insert(.closing)
    stopConnecting(id)
    guard connections[id].socket != .none else { return connectionClosed(id) }
    ring.close(
      connections[id].socket, mode: mode, token: OperationToken(.connectionClose, id).token)
  }

  func connectionClosed(_ id: SlotID) {
    guard connections.contains(id) else { return }
    if watched != nil { watchClosed(id) }
    store.removeAll(from: &connections[id].outgoing)
    store.removeAll(from: &connections[id].arriving)
    connections.remove(id)
    counters.connectionsClosed += 1
  }
}
