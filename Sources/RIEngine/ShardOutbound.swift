// Steps 7 to 11 of a byte on its way out: to local sockets straight from the tunnel's receive
// buffer; to a tunnel by way of its scheduler, sealed from where it was received into one buffer.

import RIBase
import RIRing
import RITLS
import RITunnel

extension Shard {
  func markDirty(_ link: Link, _ id: SlotID) {
    guard !link.isDirty else { return }
    link.isDirty = true
    dirtyLinks.append(id)
  }

  func markDirty(_ id: SlotID) {
    if links.contains(id) { markDirty(links[id], id) }
  }

  // MARK: To local sockets

  func markSendPending(_ id: SlotID) {
    guard !connections[id].flags.contains(.sendPending) else { return }
    connections[id].flags.insert(.sendPending)
    pendingSends.append(id)
  }

  /// Sends what arrived in this tick, one gathered attempt a socket. An attempt completes within
  /// the next submit, so the tunnel's receive buffer is free again right after it, however slow a
  /// client is; what a socket refuses is copied aside.
  func flushConnections() {
    guard !pendingSends.isEmpty else { return }
    swap(&scratch, &pendingSends)
    for id in scratch where connections.contains(id) {
      connections[id].flags.remove(.sendPending)
      flushConnection(id)
    }
    scratch.removeAll(keepingCapacity: true)
  }

  private func flushConnection(_ id: SlotID) {
    let flags = connections[id].flags
    guard !flags.contains(.closing) else { return }
    if !connections[id].arriving.isEmpty {
      // Only an idle, empty socket takes bytes straight from the tunnel's buffer.
      if connections[id].outgoing.isEmpty, flags.contains(.connected),
        flags.isDisjoint(with: [.blocked, .sending])
      {
        connections[id].outgoing = connections[id].arriving
        connections[id].arriving = SliceQueue()
      } else {
        guard stashArriving(id) else { return }
      }
    }
    sendOutgoing(id)
    finishConnectionIfDone(id)
  }

  private func sendOutgoing(_ id: SlotID) {
    let flags = connections[id].flags
    guard flags.contains(.connected), !flags.contains(.sending),
      !connections[id].outgoing.isEmpty
    else { return }
    connections[id].flags.insert(.sending)
    connections[id].sendingBytes = store.byteCount(
      of: connections[id].outgoing, slicesMax: Limits.sendSlicesMax)
    let isPatient = mayBePatient(connections[id])
    if isPatient { hasPatientSends = true }
    ring.send(
      connections[id].outgoing, on: connections[id].socket,
      mode: flags.contains(.blocked) ? .some : .attempt, isPatient: isPatient,
      token: OperationToken(.connectionSend, id).token)
  }

  /// Whether nothing has to follow once the connection's bytes are sent: neither its end, nor
  /// credit that its stream may be waiting for.
  private func mayBePatient(_ connection: Connection) -> Bool {
    connection.flags.isDisjoint(with: [.blocked, .remoteFinished, .streamGone])
      && links.contains(connection.link)
      && links[connection.link].tunnel?.framed?.isPeerAtEase(connection.stream) == true
  }

  func connectionSent(_ id: SlotID, _ completion: Completion) {
    guard connections.contains(id) else { return }
    connections[id].flags.remove(.sending)
    guard !connections[id].flags.contains(.closing) else { return }
    let sent = completion.result
    if sent < 0, sent != -ErrorNumber.wouldBlock, sent != -ErrorNumber.interrupted {
      connectionFailed(id)
      return
    }
    if sent > 0 {
      connections[id].progressAt = now
      store.dropFirst(Int(sent), from: &connections[id].outgoing)
      consumed(Int(sent), by: id)
    }
    if connections[id].outgoing.isEmpty {
      connections[id].flags.remove(.blocked)
    } else if sent < connections[id].sendingBytes, !connections[id].flags.contains(.blocked) {
      connections[id].flags.insert(.blocked)
      connections[id].progressAt = now
      guard stashOutgoing(id) else { return }
    }
    flushConnection(id)
  }

  /// The peer may send as much again.
  private func consumed(_ written: Int, by id: SlotID) {
    let connection = connections[id]
    let header = min(Int(connection.headerBytes), written)
    connections[id].headerBytes -= Int32(header)
    let bytes = written - header
    guard bytes > 0, !connection.flags.contains(.streamGone), links.contains(connection.link),
      let tunnel = links[connection.link].tunnel
    else { return }
    tunnel.consumed(bytes, on: connection.stream, now: now)
    if tunnel.hasOutput { markDirty(connection.link) }
  }

  // MARK: To tunnels

  func flushLinks() {
    guard !dirtyLinks.isEmpty else { return }
    swap(&scratch, &dirtyLinks)
    for id in scratch where links.contains(id) {
      links[id].isDirty = false
      switch links[id].transport {
      case .tls(let tls): flushLink(links[id], tls, id)
      case .quic: sentLinks.append(id)
      }
    }
    scratch.removeAll(keepingCapacity: true)
  }

  /// Steps 8 to 11: control output of TLS, then frames by priority, sealed into one buffer; one
  /// send in flight. What does not fit waits, so that what is urgent then goes first.
  private func flushLink(_ link: Link, _ tls: TLSTransport, _ id: SlotID) {
    guard !tls.sending, link.phase != .connecting, link.phase != .closing else { return }
    guard let buffer = store[ShardPool.tunnelSend].take() else {
      markDirty(link, id)
      return
    }
    var writer = BufferWriter(buffer, in: store)
    if tls.session.hasControlOutput { tls.session.writeControl(to: &writer) }
    if tls.session.isEstablished, !link.isLeaving { sealFrames(of: link, tls, id, into: &writer) }
    if link.tunnel?.framed?.isHeldBack == true, link.heldBackTimer == nil {
      link.heldBackTimer = schedule(.heldBack, id, at: now + Limits.heldBackInterval)
    }
    guard link.phase != .closing, !writer.isEmpty else {
      store.release(buffer)
      if let refusal = link.refusal { endLink(id, refusal) }
      return
    }
    link.bytesOut += UInt64(writer.count)
    store.append(writer.slice, to: &tls.outgoing)
    tls.sending = true
    link.backlog.sendBegan(now: now)
    let isPatient = mayBePatient(link, tls)
    if isPatient { hasPatientSends = true }
    ring.send(
      tls.outgoing, on: tls.socket, mode: .all, isPatient: isPatient,
      token: OperationToken(.linkSend, id).token)
  }

  /// Whether nothing has to follow once what a link sends now is sent.
  private func mayBePatient(_ link: Link, _ tls: TLSTransport) -> Bool {
    guard case .running = phase, link.phase == .ready else { return false }
    return !link.isLeaving && !link.isDraining && link.supersededAt == nil && link.refusal == nil
      && link.line.isEmpty && link.backlog.waitingCount == 0
      && !tls.session.hasControlOutput && link.tunnel?.hasOutput == false
  }

  private func sealFrames(
    of link: Link, _ tls: TLSTransport, _ id: SlotID, into writer: inout BufferWriter
  ) {
    if !link.line.isEmpty { takeLine(of: link) }
    if link.line.isEmpty { link.tunnel?.framed?.pollFrames(into: batch, now: now) }
    guard !batch.isEmpty else { return }
    let sealed = tls.session.seal(batch, from: 0, into: &writer)
    precondition(sealed == batch.byteCount, "a batch fits its buffer")
    batch.clear()
    // What was sent made room for more, or was the last of a stream.
    if let tunnel = link.tunnel?.framed { handleEvents(of: tunnel, link, id) }
  }

  /// A hub's line can be longer than a batch: then it goes in parts, before any frame.
  private func takeLine(of link: Link) {
    let count = min(link.line.count, batch.roomBytes)
    link.line.withUnsafeBytes {
      batch.append(copying: UnsafeRawBufferPointer(rebasing: $0[..<count]))
    }
    link.line.removeFirst(count)
  }

  func linkSent(_ id: SlotID, _ completion: Completion) {
    guard links.contains(id), let tls = links[id].tls else { return }
    let link = links[id]
    tls.sending = false
    if link.phase == .closing { return }
    guard completion.result > 0 else {
      endLink(id, .socket(code: -completion.result))
      return
    }
    store.dropFirst(Int(completion.result), from: &tls.outgoing)
    link.backlog.sent(Int(completion.result), now: now)
    readOn(link)
    guard tls.outgoing.isEmpty else {
      tls.sending = true
      ring.send(
        tls.outgoing, on: tls.socket, mode: .all, token: OperationToken(.linkSend, id).token)
      return
    }
    if link.isLeaving, !tls.session.hasControlOutput {
      return ring.shutdownSending(tls.socket)
    }
    if link.refusal != nil || !link.line.isEmpty || tls.session.hasControlOutput
      || link.tunnel?.hasOutput == true
    {
      markDirty(link, id)
    }
  }
}
