// The outbound half: packets. Control first, then datagrams and data by turns, sustained streams
// last. ngtcp2 puts what it has itself in front: acknowledgements, what was lost, credit.

import CNGTCP2
import RIBase
import RITunnel
import RIWire

/// A packet being written, and what it was written for.
struct PacketTarget {
  let start: UnsafeMutablePointer<UInt8>
  let room: Int
  var path = quic_path()
  var ecn: UInt8 = 0
}

extension QUICTunnel {
  /// Whether the endpoint's `pollPackets` may have something of this tunnel.
  public var hasOutput: Bool { isDirty }

  /// Sustained data waits for others to have had their way. Never: it waits for packets to go.
  public var isHeldBack: Bool { false }

  private enum Step {
    /// The packet has room for more.
    case more
    /// The packet is finished, or nothing can be sent now (0).
    case done(Int)
    case failed(Int32)
  }

  /// Writes one packet and returns its length, or 0 when nothing may or needs to be sent now. The
  /// link may have failed then.
  func writePacket(_ target: inout PacketTarget, now: Instant) -> Int {
    guard let link, endReason == nil else { return 0 }
    self.now = now
    isConnectionBlocked = quic_link_connection_room(link) == 0
    while true {
      switch step(link, &target) {
      case .more: continue
      case .done(let count): return count
      case .failed(let error):
        fail(error)
        return 0
      }
    }
  }

  private func step(_ link: OpaquePointer, _ target: inout PacketTarget) -> Step {
    if control.id >= 0, control.isWaiting, !control.isBlocked { return writeControl(link, &target) }
    if isEstablished, let slot = nextTurn() {
      return switch streams[slot].kind {
      case .session: writeDatagram(link, slot, &target)
      default: writeStream(link, slot, &target)
      }
    }
    var accepted = 0
    return judge(
      quic_link_write(
        link, &target.path, &target.ecn, target.start, target.room, &accepted, false, false, -1,
        nil, 0, now.nanoseconds))
  }

  private func judge(_ result: Int) -> Step {
    if result >= 0 { return .done(result) }
    return result == Int(QUIC_WRITE_MORE) ? .more : .failed(Int32(truncatingIfNeeded: result))
  }

  // MARK: Control

  private func writeControl(_ link: OpaquePointer, _ target: inout PacketTarget) -> Step {
    if control.output.unsentBytes == 0, let config = control.config {
      control.config = nil
      config.withUnsafeBytes { control.output.append($0) }
      counters.controlFramesSent &+= 1
      counters.controlBytesSent &+= UInt64(config.count)
    }
    return withUnsafeTemporaryAllocation(
      of: quic_bytes.self, capacity: Limits.quicVectorsMax
    ) { vectors in
      let (count, _) = control.output.fill(vectors, bytesMax: target.room)
      var accepted = 0
      let result = quic_link_write(
        link, &target.path, &target.ecn, target.start, target.room, &accepted, isEstablished,
        false, control.id, vectors.baseAddress, count, now.nanoseconds)
      if accepted > 0 { control.output.sent(accepted) }
      switch Int32(truncatingIfNeeded: result) {
      case QUIC_BLOCKED_STREAM:
        control.isBlocked = true
        return .more
      case QUIC_SHUT, QUIC_GONE:
        control.isBlocked = true
        control.isFinished = true
        return .more
      default: return judge(result)
      }
    }
  }

  // MARK: Streams

  private func writeStream(
    _ link: OpaquePointer, _ slot: SlotID, _ target: inout PacketTarget
  ) -> Step {
    withUnsafeTemporaryAllocation(
      of: quic_bytes.self, capacity: Limits.quicVectorsMax
    ) { vectors in
      let bytesMax = min(target.room, Int(streams[slot].deficitBytes))
      let (count, bytes, isAll) = fill(vectors, from: slot, bytesMax: bytesMax)
      let isLast = isAll && streams[slot].sending == .finishing
      var accepted = 0
      let result = quic_link_write(
        link, &target.path, &target.ecn, target.start, target.room, &accepted, true, isLast,
        streams[slot].id, vectors.baseAddress, count, now.nanoseconds)
      if accepted >= 0 { sent(accepted, of: slot, isAll: isLast && accepted == bytes) }
      switch Int32(truncatingIfNeeded: result) {
      case QUIC_BLOCKED_STREAM:
        if quic_link_connection_room(link) == 0 {
          isConnectionBlocked = true
        } else {
          streams[slot].isBlocked = true
          leaveLine(slot)
        }
        return .more
      case QUIC_SHUT, QUIC_GONE:
        // The peer reads it no more. ngtcp2 does not always say so otherwise.
        guard streams[slot].kind == .stream else {
          streams[slot].sending = .finished
          leaveLine(slot)
          return .more
        }
        streamReset(slot)
        return .more
      default: return judge(result)
      }
    }
  }

  /// The first bytes of a stream's queue as vectors; whether they are all of it.
  ///
  /// SAFETY: vectors point into buffers that the queue holds, and after being sent `unacked`, until
  /// ngtcp2 has acknowledged the bytes or closed the stream; pooled buffers do not move.
  private func fill(
    _ vectors: UnsafeMutableBufferPointer<quic_bytes>, from slot: SlotID, bytesMax: Int
  ) -> (count: Int, bytes: Int, isAll: Bool) {
    if streams[slot].kind == .largeOut {
      let held = streams[slot].bytes.bytes
      let offset = Int(streams[slot].largeSentBytes)
      let length = min(held.count - offset, bytesMax)
      let rest = UnsafeRawBufferPointer(rebasing: held[offset..<offset + length])
      vectors[0] = quic_bytes(
        start: rest.bindMemory(to: UInt8.self).baseAddress, count: length)
      return (length > 0 ? 1 : 0, length, offset + length == held.count)
    }
    // The first slice is enough for a packet, mostly.
    if let first = store.first(of: streams[slot].queue), Int(first.count) >= bytesMax {
      vectors[0] = quic_bytes(
        start: store.bytes(first).bindMemory(to: UInt8.self).baseAddress, count: bytesMax)
      return (1, bytesMax, bytesMax == Int(streams[slot].queue.byteCount))
    }
    var count = 0
    var bytes = 0
    store.forEach(in: streams[slot].queue) { slice in
      let piece = store.bytes(slice)
      let length = min(piece.count, bytesMax - bytes)
      vectors[count] = quic_bytes(
        start: piece.bindMemory(to: UInt8.self).baseAddress, count: length)
      count += 1
      bytes += length
      return bytes < bytesMax && count < vectors.count
    }
    return (count, bytes, bytes == Int(streams[slot].queue.byteCount))
  }

  /// Counts bytes that ngtcp2 has taken: they stay until they are acknowledged.
  private func sent(_ bytes: Int, of slot: SlotID, isAll: Bool) {
    if isAll { streams[slot].sending = .finished }
    if streams[slot].kind == .largeOut {
      streams[slot].largeSentBytes += Int32(truncatingIfNeeded: bytes)
    } else {
      var left = bytes
      while left > 0, let piece = store.popFirst(left, from: &streams[slot].queue) {
        left -= Int(piece.count)
        store.append(piece, to: &streams[slot].unacked)
      }
      unackedBytes += bytes
      queued[streams[slot].tier] -= bytes
      counters.dataBytesSent &+= UInt64(bytes)
      counters.dataFramesSent &+= 1
      if streams[slot].tier == .sustained {
        counters.sustainedBytesSent &+= UInt64(bytes)
        counters.sustainedFramesSent &+= 1
      }
      if !sustainedTurns.isEmpty, !dataTurns.isEmpty {
        allowance.sent(bytes, in: streams[slot].tier)
      }
      moved(bytes, of: slot)
      if isAll { leaveActiveIfEnded(slot) }
      noteRoom(slot)
    }
    streams[slot].deficitBytes -= Int32(truncatingIfNeeded: bytes)
    guard streams[slot].deficitBytes <= 0 || !streams[slot].hasDataToSend else { return }
    leaveLine(slot)
    enqueue(slot)
  }

  // MARK: Datagrams

  private func writeDatagram(
    _ link: OpaquePointer, _ slot: SlotID, _ target: inout PacketTarget
  ) -> Step {
    if isOpenDue(slot) { return writeOpen(link, slot, &target) }
    streams[slot].isOpenWanted = false
    guard let first = store.first(of: streams[slot].queue) else {
      leaveLine(slot)
      return .more
    }
    // The path may carry less than when it was queued.
    guard Int(first.count) <= datagramBytesMax else {
      datagramsTooLarge &+= 1
      counters.datagramsDropped &+= 1
      dropFirstDatagram(of: slot)
      return .more
    }
    let id = UInt32(truncatingIfNeeded: streams[slot].id)
    let (result, isAccepted) = write(
      link, SessionDatagram.prefix(session: id, isOpen: false), store.bytes(first), &target)
    if isAccepted {
      counters.datagramsSent &+= 1
      counters.datagramBytesSent &+= UInt64(first.count)
      dropFirstDatagram(of: slot)
    }
    return judge(result)
  }

  private func writeOpen(
    _ link: OpaquePointer, _ slot: SlotID, _ target: inout PacketTarget
  ) -> Step {
    let id = UInt32(truncatingIfNeeded: streams[slot].id)
    let (result, isAccepted) = write(
      link, SessionDatagram.prefix(session: id, isOpen: true), streams[slot].bytes.bytes, &target)
    if isAccepted { streams[slot].openSentAt = now }
    return judge(result)
  }

  private func write(
    _ link: OpaquePointer, _ prefix: (bytes: UInt64, count: Int), _ rest: UnsafeRawBufferPointer,
    _ target: inout PacketTarget
  ) -> (result: Int, isAccepted: Bool) {
    withUnsafeBytes(of: prefix.bytes) { head in
      withUnsafeTemporaryAllocation(of: quic_bytes.self, capacity: 2) { vectors in
        vectors[0] = quic_bytes(
          start: head.bindMemory(to: UInt8.self).baseAddress, count: prefix.count)
        vectors[1] = quic_bytes(
          start: rest.bindMemory(to: UInt8.self).baseAddress, count: rest.count)
        var isAccepted = false
        let result = quic_link_write_datagram(
          link, &target.path, &target.ecn, target.start, target.room, &isAccepted, true,
          vectors.baseAddress, rest.count > 0 ? 2 : 1, now.nanoseconds)
        return (result, isAccepted)
      }
    }
  }

  private func dropFirstDatagram(of slot: SlotID) {
    guard let datagram = store.popFirst(from: &streams[slot].queue) else { return }
    datagramsQueued.remove(datagram)
    let bytes = Int(datagram.count) + SessionDatagram.headerBytes
    store.release(datagram)
    datagramCredit -= bytes
    leaveLine(slot)
    enqueue(slot)
  }

  // MARK: Turns

  /// Whose turn it is: datagrams and data take turns by bytes; sustained streams get what is left,
  /// and their guaranteed rate.
  private func nextTurn() -> SlotID? {
    let data = isConnectionBlocked ? .none : nextStream()
    let datagram = datagramTurns.first
    if datagram == .none { return data == .none ? nil : data }
    if data == .none || datagramCredit > 0 { return datagram }
    datagramCredit = Limits.quicQuantumBytes
    return data
  }

  /// A batch begins: how long turns are in it.
  func beginBatch() {
    let sixteenth = congestionWindowBytes / 16
    turnBytes = Int32(
      min(max(sixteenth, Limits.quicQuantumBytes), Limits.quicQuantumBytesMax))
  }

  private func nextStream() -> SlotID {
    var slot = dataTurns.first
    if sustainedTurns.first != .none {
      if slot == .none {
        allowance.dataIsIdle()
        slot = sustainedTurns.first
      } else if allowance.bytes(now: now) >= Limits.dataFrameBytesMin {
        slot = sustainedTurns.first
      }
    }
    if slot != .none, streams[slot].deficitBytes <= 0 {
      streams[slot].deficitBytes = turnBytes
    }
    return slot
  }

  // MARK: After ngtcp2

  /// What could not be done in the middle of a callback.
  func settle() {
    guard let link, endReason == nil else { return }
    openControl()
    while let id = shutdowns.popLast() {
      if quic_link_shutdown_stream(link, id, streamResetError) != 0 { break }
      endpoint.markDirty(self)
    }
    // In large steps: each is a frame that the peer has to acknowledge.
    let step =
      role == .hub && !isAdmitted
      ? Limits.quicStrangerWindowBytes / 2 : Limits.quicConnectionWindowBytes / 8
    if uncreditedBytes >= step {
      quic_link_extend_connection(link, uncreditedBytes)
      uncreditedBytes = 0
      endpoint.markDirty(self)
    }
    if notices.remove(.validated) != nil {
      var now = quic_path()
      quic_link_get_path(link, &now)
      let current = QUICPath(now)
      if current != path {
        path = current
        notices.insert(.moved)
        endpoint.counters.migrations &+= 1
        endpoint.markReady(self)
      }
    }
  }

  // MARK: Closing

  /// Writes CONNECTION_CLOSE if it is due and returns its length.
  func writeClose(_ target: inout PacketTarget, now: Instant) -> Int {
    guard let link, case .wanted(let cause) = closing else { return 0 }
    let count =
      switch cause {
      case .application(let error, let reason):
        quic_link_write_close(
          link, &target.path, target.start, target.room, error, String(reason.prefix(200)),
          now.nanoseconds)
      case .library(let error):
        quic_link_write_failure(
          link, &target.path, target.start, target.room, error, now.nanoseconds)
      }
    target.ecn = 0
    guard count > 0 else {
      closing = .silent
      return 0
    }
    closing = .told(
      packet: Array(UnsafeBufferPointer(start: target.start, count: count)), packetsSeen: 0)
    return count
  }

  /// The control channel's last bytes, in front of CONNECTION_CLOSE.
  func writeLastWords(_ target: inout PacketTarget, now: Instant) -> Int {
    guard let link, case .wanted(.application) = closing, control.id >= 0, control.isWaiting,
      !control.isBlocked
    else { return 0 }
    self.now = now
    var step = writeControl(link, &target)
    if case .more = step {
      var accepted = 0
      step = judge(
        quic_link_write(
          link, &target.path, &target.ecn, target.start, target.room, &accepted, false, false, -1,
          nil, 0, now.nanoseconds))
    }
    guard case .done(let count) = step else { return 0 }
    return count
  }
}
