// UDP sessions at both ends: opened, ended, and their datagrams on their way into the tunnel.
//
//                              edge   hub
//   client ─▶ listener ─▶ session ─▶ ═ ─▶ session ─▶ outbox ─▶ target's socket
//   client ◀─ outbox ◀─── session ◀─ ═ ◀─ session ◀─────────── target's socket

import RIBase
import RIControl
import RIRing
import RITunnel
import RIWire

extension Shard {
  // MARK: Into the tunnel

  /// Queues a received datagram, or each of several that the kernel has joined. What has to wait
  /// for the link is copied if it is small: a large buffer is not to be pinned by a few bytes.
  func queue(_ datagram: Datagram, of id: SlotID) {
    let session = sessions[id]
    guard links.contains(session.link), let tunnel = links[session.link].tunnel else { return }
    let link = links[session.link]
    link.datagramAt = now
    let mustWait = link.isSending
    let bytesMax = datagramBytesMax(of: link, mustWait: mustWait)
    var rest = datagram.payload
    repeat {
      let piece = rest.removePrefix(min(max(datagram.segmentBytes, 1), Int(rest.count)))
      // IPv6 carries up to 65,527 bytes.
      guard Int(piece.count) <= Limits.udpPayloadBytesMax else {
        counters.drops.tooLong += 1
        continue
      }
      guard let owned = mustWait ? copied(piece) : retained(piece) else {
        counters.drops.noBuffer += 1
        continue
      }
      if !tunnel.sendDatagram(owned, on: session.stream, queueBytesMax: bytesMax) {
        counters.drops.queueFull += 1
      }
    } while rest.count > 0
    markDirty(link, session.link)
  }

  /// What a link may have queued of datagrams. Over QUIC the first of a burst keep it busy for
  /// those that follow, as a path at rest takes a few packets only until it is known to bear more;
  /// how fast it is shows when it has been busy for a while.
  private func datagramBytesMax(of link: Link, mustWait: Bool) -> Int {
    if case .quic(let quic) = link.transport {
      if !mustWait { quic.busySince = now }
      if now - quic.busySince < Limits.linkBacklogTime { return Limits.datagramBytesQueuedMax }
    }
    return mustWait ? link.backlog.limitBytes : Limits.datagramBytesQueuedMax
  }

  private func retained(_ slice: Slice) -> Slice {
    store.retain(slice)
    return slice
  }

  /// A small datagram in a small buffer; a larger one as it is; nil without a buffer.
  private func copied(_ slice: Slice) -> Slice? {
    guard Int(slice.count) <= Limits.smallDatagramBytes else { return retained(slice) }
    return smallCopy(of: store.bytes(slice))
  }

  /// A copy of at most `Limits.smallDatagramBytes`, or nil when all buffers for it are taken and no
  /// stuck link had any to give up.
  func smallCopy(of bytes: UnsafeRawBufferPointer) -> Slice? {
    let pool = store[ShardPool.datagramQueue]
    guard let buffer = pool.take() ?? (dropStuckDatagrams() ? pool.take() : nil) else { return nil }
    let copy = Slice(buffer: buffer, offset: 0, count: bytes.count)
    store.mutableBytes(copy).copyMemory(from: bytes)
    return copy
  }

  /// Drops what links whose peer takes nothing have queued, so that others get buffers. True when
  /// there was any. Looks once a tick at most.
  func dropStuckDatagrams() -> Bool {
    guard stuckDroppedAt != now else { return false }
    stuckDroppedAt = now
    var dropped = 0
    for index in 0..<links.slotsEverUsed {
      guard let id = links.id(at: index), links[id].isSending, links[id].backlog.isStuck(now: now)
      else { continue }
      dropped += links[id].tunnel?.dropDatagrams() ?? 0
    }
    counters.drops.stuck += UInt64(dropped)
    return dropped > 0
  }

  // MARK: Out of the tunnel

  /// A datagram of the peer.
  func datagramArrived(_ stream: StreamRef, of tunnel: Tunnel, _ link: Link) {
    let id = tunnel.owner(of: stream)
    guard sessions.contains(id) else { return }
    link.datagramAt = now
    switch role {
    case .edge:
      sessions.answer(id, now: now)
      sendToClient(tunnel.payload, of: id)
    case .hub(let hub):
      sessions.touch(id, now: now)
      let session = sessions[id]
      if session.socket < 0 {
        hold(tunnel.payload, for: id, hub)
      } else {
        sendToTarget(tunnel.payload, of: session, id)
      }
    }
  }

  func sessionClosed(_ stream: StreamRef, of tunnel: Tunnel) {
    let id = tunnel.owner(of: stream)
    if sessions.contains(id) { endSession(id, tellsPeer: false) }
  }

  // MARK: The end

  /// Ends a session. The peer is told unless it was the one to end it.
  func endSession(_ id: SlotID, tellsPeer: Bool) {
    let session = sessions[id]
    if tellsPeer, links.contains(session.link), let tunnel = links[session.link].tunnel {
      tunnel.reset(session.stream)
      markDirty(session.link)
    }
    if case .hub(let hub) = role { releaseHeld(of: id, hub) }
    if session.socket >= 0 {
      // What was collected for its socket leaves first: the descriptor may be another's soon.
      flushDatagrams()
      discard(Socket(descriptor: session.socket), .graceful)
    }
    sessions.close(id)
    counters.sessionsClosed += 1
    if sessions.count == 0, let timer = sessionTimer {
      timers.cancel(timer)
      sessionTimer = nil
    }
  }

  /// Ends all sessions that something is over for.
  func endSessions(tellsPeer: Bool, where isOver: (UDPSession) -> Bool) {
    guard sessions.count > 0 else { return }
    for index in 0..<sessions.slotsEverUsed {
      if let id = sessions.id(at: index), isOver(sessions[id]) {
        endSession(id, tellsPeer: tellsPeer)
      }
    }
  }

  /// Enters a session into the table, if need be in place of another; nil when there is no room.
  func admit(_ session: UDPSession) -> SlotID? {
    if let victim = sessions.victim(for: session.client, now: now) {
      counters.sessionsEvicted += 1
      endSession(victim, tellsPeer: true)
    }
    guard let id = sessions.open(session) else { return nil }
    counters.sessionsOpened += 1
    scheduleSessions()
    return id
  }

  /// There is one timer for all sessions: for the one that will be idle first.
  private func scheduleSessions() {
    guard sessionTimer == nil, let deadline = sessions.nextDeadline else { return }
    sessionTimer = schedule(.sessions, at: max(deadline, now + Limits.sessionSweepInterval))
  }

  /// Ends idle sessions, a bounded number at a time.
  func sessionTimerFired() {
    sessionTimer = nil
    for _ in 0..<Limits.sessionsPerSweep {
      guard let id = sessions.pollIdle(now: now) else { break }
      endSession(id, tellsPeer: true)
    }
    scheduleSessions()
  }
}
