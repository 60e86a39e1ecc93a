// UDP sessions: DATAGRAM frames, opens that are repeated, and streams for what is too large.

import CNGTCP2
import RIBase
import RITunnel
import RIWire

extension QUICTunnel {
  // MARK: Verbs

  /// Edge: opens a session with its PROXY v2 header, at most 52 bytes. Returns nil when the tunnel
  /// has no place for one more. The header travels in front of the session's first datagrams.
  public func openSession(
    header: UnsafeRawBufferPointer, owner: SlotID, now: Instant
  ) -> StreamRef? {
    precondition(role == .edge && header.count <= ProxyHeader.v2BytesMax)
    guard endReason == nil, isEstablished, hasRoomForSession else { return nil }
    while nextSessionID == 0 || sessionTable.find(nextSessionID) != nil { nextSessionID &+= 1 }
    let id = nextSessionID
    guard let slot = insertSession(id, owner: owner, now: now) else { return nil }
    nextSessionID &+= 1
    streams[slot].bytes.append(header, limit: ProxyHeader.v2BytesMax)
    return StreamRef(slot: slot)
  }

  private var hasRoomForSession: Bool {
    sessionsHeld < max(1, settings.streamsMax / Limits.sessionsPerTunnelDivisor)
  }

  private func insertSession(_ id: UInt32, owner: SlotID, now: Instant) -> SlotID? {
    var new = QUICStream(
      id: Int64(id), kind: .session, owner: owner, windows: settings.windows, now: now)
    new.isClosedBelow = true
    guard let slot = insert(new) else { return nil }
    sessionTable.insert(id, slot)
    activate(slot)
    return slot
  }

  /// Queues one datagram and takes over its reference. False when it was dropped: the session is
  /// dead, its queue is full, or the datagram is too large for the path and for `udpStream`.
  @discardableResult
  public func sendDatagram(
    _ slice: Slice, on session: StreamRef, queueBytesMax: Int = Limits.datagramBytesQueuedMax
  ) -> Bool {
    let slot = session.slot
    guard isLive(slot), streams[slot].kind == .session, endReason == nil else {
      store.release(slice)
      return false
    }
    precondition(slice.count <= Limits.udpPayloadBytesMax)
    guard Int(slice.count) <= datagramBytesMax else {
      let isSent = sendLarge(store.bytes(slice), of: slot)
      store.release(slice)
      return isSent
    }
    guard datagramsQueued.take(slice, behind: streams[slot].queue, bytesMax: queueBytesMax) else {
      counters.datagramsDropped &+= 1
      store.release(slice)
      return false
    }
    // Copied into the packet when its turn comes, so it pins its buffer no longer than that.
    store.append(slice, to: &streams[slot].queue, joins: false)
    datagramsQueued.add(slice)
    enqueue(slot)
    return true
  }

  /// Sends a datagram on a stream of its own. Copied, as it needs its session's id in front and
  /// stays until it is acknowledged; such datagrams are few.
  private func sendLarge(_ payload: UnsafeRawBufferPointer, of session: SlotID) -> Bool {
    var id: Int64 = -1
    guard let link, usesUDPStreams, isEstablished, largeOutCount < Limits.quicLargeDatagramsMax,
      quic_link_uni_streams_left(link) > 0, quic_link_open_uni(link, &id, 0) == 0
    else {
      datagramsTooLarge &+= 1
      counters.datagramsDropped &+= 1
      return false
    }
    var new = QUICStream(
      id: id, kind: .largeOut, owner: .none, windows: settings.windows, now: now)
    new.sending = .finishing
    new.isReceiveFinished = true
    guard let slot = insert(new) else {
      shutDown(id)
      counters.datagramsDropped &+= 1
      return false
    }
    quic_link_tag_stream(link, id, slot.tag)
    let number = UInt32(truncatingIfNeeded: streams[session].id)
    let prefix = SessionDatagram.prefix(session: number, isOpen: false)
    let limit = prefix.count + payload.count
    withUnsafeBytes(of: prefix.bytes) {
      streams[slot].bytes.append(
        UnsafeRawBufferPointer(rebasing: $0[..<prefix.count]), limit: limit)
    }
    streams[slot].bytes.append(payload, limit: limit)
    enqueue(slot)
    if isOpenDue(session) {
      streams[session].isOpenWanted = true
      enqueue(session)
    }
    counters.datagramsSent &+= 1
    counters.datagramBytesSent &+= UInt64(payload.count)
    return true
  }

  /// Drops all datagrams that wait, and returns their number. O(all streams).
  public func dropDatagrams() -> Int {
    guard datagramsQueued.count > 0 else { return 0 }
    let count = datagramsQueued.count
    for index in 0..<streams.slotsEverUsed {
      guard let slot = streams.id(at: index), streams[slot].kind == .session else { continue }
      dropDatagrams(of: slot)
      leaveLine(slot)
    }
    counters.datagramsDropped &+= UInt64(count)
    return count
  }

  func dropDatagrams(of slot: SlotID) {
    while let datagram = store.popFirst(from: &streams[slot].queue) {
      datagramsQueued.remove(datagram)
      store.release(datagram)
    }
  }

  /// Payload bytes of datagrams that wait for their turn.
  public var datagramBytesQueued: Int { datagramsQueued.bytes }

  /// The largest payload that a DATAGRAM takes on this path now; 0 when the peer takes none.
  public var datagramBytesMax: Int {
    guard let link, isEstablished else { return 0 }
    // Short header with the longest id and packet number, tag, frame type and length.
    let overhead = 1 + 20 + 4 + 16 + 1 + 2
    let frameMax = Int(clamping: quic_link_datagram_max(link)) - 3
    let packetMax = quic_link_payload_max(link) - overhead
    return max(0, min(frameMax, packetMax) - SessionDatagram.headerBytes)
  }

  /// Edge: whether a session's open is to go in front of its next datagram. What came back says
  /// that the open has arrived; but as there is no word for a session's end, the hub may have
  /// forgotten one from which nothing has come for a while.
  func isOpenDue(_ slot: SlotID) -> Bool {
    guard role == .edge else { return false }
    if let answeredAt = streams[slot].answeredAt, now - answeredAt < Limits.quicAnswerBelieved {
      return false
    }
    guard let sentAt = streams[slot].openSentAt else { return true }
    return now - sentAt >= Limits.quicOpenRepeatInterval
  }

  // MARK: Receiving

  func datagramReceived(_ bytes: UnsafeRawBufferPointer) {
    switch SessionDatagram.parse(bytes) {
    case nil: counters.framesDropped &+= 1
    case .open(let id)? where role == .hub:
      sessionOpen(id, UnsafeRawBufferPointer(rebasing: bytes[SessionDatagram.openBytes...]))
    case .open(let id)?, .data(let id)?:
      guard let slot = sessionTable.find(id), isLive(slot) else {
        counters.framesDropped &+= 1
        return
      }
      counters.datagramsReceived &+= 1
      counters.datagramBytesReceived &+= UInt64(bytes.count - SessionDatagram.headerBytes)
      streams[slot].answeredAt = now
      let payload = UnsafeRawBufferPointer(rebasing: bytes[SessionDatagram.headerBytes...])
      guard overflow.isEmpty else {
        counters.datagramsDropped &+= 1
        return
      }
      queue(.datagram, slot, payload)
    }
  }

  private func sessionOpen(_ id: UInt32, _ header: UnsafeRawBufferPointer) {
    // A repeated open is none (SPEC 3).
    guard id != 0, isAdmitted, sessionTable.find(id) == nil else { return }
    guard header.count <= Limits.udpOpenPayloadBytesMax, hasRoomForSession,
      let slot = insertSession(id, owner: .none, now: now)
    else {
      counters.streamsRefused &+= 1
      return
    }
    queue(.sessionOpened, slot, header)
  }
}
