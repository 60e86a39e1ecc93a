// UDP sessions at both ends: opened, ended, and their datagrams on their way.
//
//   client ─▶ listener ─▶ session ─▶ tunnel ═▶ session ─▶ outbox ─▶ target's socket      (edge | hub)
//   client ◀─ outbox ◀─── session ◀─ tunnel ◀═ session ◀─ target's socket

import RIBase
import RIControl
import RIRing
import RITunnel
import RIWire

extension Shard {
  // MARK: Into the tunnel

  /// Queues a received datagram, or each of several that the kernel has joined. What has to wait for
  /// the link is copied if it is small: a large buffer is not to be pinned by a few bytes.
  func queue(_ datagram: Datagram, of id: SlotID) {
    let session = sessions[id]
    guard links.contains(session.link), let tunnel = links[session.link].tunnel else { return }
    let mustWait = links[session.link].sending
    var rest = datagram.payload
    repeat {
      let piece = rest.removePrefix(min(max(datagram.segmentBytes, 1), Int(rest.count)))
      guard let owned = mustWait ? copied(piece) : retained(piece) else {
        counters.drops.noBuffer += 1
        continue
      }
      if !tunnel.sendDatagram(owned, on: session.stream) { counters.drops.queueFull += 1 }
    } while rest.count > 0
    markDirty(session.link)
  }

  private func retained(_ slice: Slice) -> Slice {
    store.retain(slice)
    return slice
  }

  /// A small datagram in a small buffer; a larger one as it is; nil without a buffer.
  private func copied(_ slice: Slice) -> Slice? {
    let pool = store[ShardPool.datagramQueue]
    guard Int(slice.count) <= pool.shape.bytes else { return retained(slice) }
    guard let buffer = pool.take() else { return nil }
    let copy = Slice(buffer: buffer, offset: 0, count: Int(slice.count))
    store.mutableBytes(copy).copyMemory(from: store.bytes(slice))
    return copy
  }

  // MARK: Out of the tunnel

  /// A datagram of the peer.
  func datagramArrived(_ stream: StreamRef, of tunnel: FramedTunnel) {
    let id = tunnel.owner(of: stream)
    guard sessions.contains(id) else { return }
    switch role {
    case .edge:
      sessions.answer(id, now: now)
      let session = sessions[id]
      guard listeners.contains(session.listener), !listeners[session.listener].isClosing else {
        return
      }
      post(
        UnsafeRawBufferPointer(start: nil, count: 0), tunnel.payload, of: id,
        on: listeners[session.listener].socket, to: session.client, from: session.destination.ip)
    case .hub(let hub):
      sessions.touch(id, now: now)
      if sessions[id].socket < 0 {
        hold(tunnel.payload, for: id, hub)
      } else {
        sendToTarget(tunnel.payload, of: id)
      }
    }
  }

  func sessionClosed(_ stream: StreamRef, of tunnel: FramedTunnel) {
    let id = tunnel.owner(of: stream)
    if sessions.contains(id) { endSession(id, tellsPeer: false) }
  }

  /// Puts a datagram into the outbox.
  func post(
    _ header: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer, of id: SlotID,
    on socket: Socket, to destination: SocketAddress?, from source: IPAddress?
  ) {
    guard header.count + payload.count <= Limits.udpPayloadBytesMax else {
      counters.drops.tooLong += 1
      return
    }
    let isTaken = outbox.append(
      header, payload, of: id, on: socket, to: destination, from: source,
      joins: sendsSegments, store: store)
    if !isTaken { counters.drops.noBuffer += 1 }
  }

  /// Sends what the tick has collected.
  func flushDatagrams() {
    outbox.takeAll(store) { run in
      guard let slot = pendingDatagrams.insert(run) else {
        counters.drops.queueFull += UInt64(run.count)
        store.release(run.bytes)
        return
      }
      ring.sendDatagram(
        run.bytes, segmentBytes: run.count > 1 ? run.segmentBytes : 0, on: run.socket,
        to: run.destination, from: run.source,
        token: OperationToken(.datagramSend, slot).token)
    }
  }

  func datagramSent(_ slot: SlotID, _ completion: Completion) {
    guard let run = pendingDatagrams.remove(slot) else { return }
    store.release(run.bytes)
    switch completion.result {
    case 0...: counters.datagramsDelivered += UInt64(run.count)
    case -ErrorNumber.connectionRefused:
      counters.drops.refused += UInt64(run.count)
      if sessions.contains(run.session) { endSession(run.session, tellsPeer: true) }
    case -ErrorNumber.wouldBlock, -ErrorNumber.noBuffers:
      counters.drops.socketFull += UInt64(run.count)
    default:
      counters.drops.failed += UInt64(run.count)
      // A device that cannot cut segments says EIO, a path too narrow for one EINVAL (udp(7)).
      if run.count > 1 { sendsSegments = false }
    }
  }

  // MARK: The end

  /// Ends a session. The peer is told unless it was the one to end it.
  func endSession(_ id: SlotID, tellsPeer: Bool) {
    let session = sessions[id]
    if tellsPeer, links.contains(session.link), let tunnel = links[session.link].tunnel {
      tunnel.reset(session.stream)
      markDirty(session.link)
    }
    if case .hub(let hub) = role, var held = hub.heldDatagrams.removeValue(forKey: id) {
      store.removeAll(from: &held)
    }
    if session.socket >= 0 { discard(Socket(descriptor: session.socket), .graceful) }
    sessions.close(id)
    counters.sessionsClosed += 1
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

  /// Makes room for a session of this client.
  func evictSession(for client: SocketAddress) {
    guard let victim = sessions.victim(for: client) else { return }
    counters.sessionsEvicted += 1
    endSession(victim, tellsPeer: true)
  }

  func sessionOpened(_ id: SlotID) {
    counters.sessionsOpened += 1
    scheduleSessions()
  }

  /// There is one timer for all sessions: the one that will be idle first.
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
