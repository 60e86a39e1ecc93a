// The outbound half of an endpoint: packets of links into batches that one system call sends.

import CNGTCP2
import RIBase

extension QUICEndpoint {
  /// Whether `pollPackets` may have something.
  public var hasOutput: Bool { !dirty.isEmpty || !answers.isEmpty || leftover != nil }

  /// Writes the next batch into `buffer`, which has room for one packet at least (best 64 KiB: the
  /// kernel takes 64 segments and 65,507 bytes at once), or returns nil when nothing may be sent
  /// now. A batch is within the link's send quantum: ngtcp2 paces.
  public func pollPackets(
    into buffer: UnsafeMutableRawBufferPointer, now: Instant
  ) -> QUICPacketBatch? {
    precondition(buffer.count >= settings.udpPayloadBytesMax, "room for one packet")
    if let leftover {
      self.leftover = nil
      buffer.copyBytes(from: leftover.bytes)
      return counted(leftover.batch, packets: 1)
    }
    if let answer = answers.popFirst() {
      buffer.copyBytes(from: answer.bytes)
      return counted(
        QUICPacketBatch(
          remote: answer.path.remote, local: answer.path.local, byteCount: answer.bytes.count,
          segmentBytes: answer.bytes.count, ecn: 0), packets: 1)
    }
    while let slot = dirty.popFirst() {
      guard tunnels.contains(slot) else { continue }
      let tunnel = tunnels[slot]
      tunnel.isDirty = false
      let batch = writeBatch(of: tunnel, into: buffer, now: now)
      settle(tunnel, now: now)
      if let batch {
        // There may be more; others go first.
        markDirty(tunnel)
        return batch
      }
    }
    return nil
  }

  private func counted(_ batch: QUICPacketBatch, packets: Int) -> QUICPacketBatch {
    counters.batchesSent &+= 1
    counters.packetsSent &+= UInt64(packets)
    counters.bytesSent &+= UInt64(batch.byteCount)
    return batch
  }

  private func writeBatch(
    of tunnel: QUICTunnel, into buffer: UnsafeMutableRawBufferPointer, now: Instant
  ) -> QUICPacketBatch? {
    // SAFETY: packets are written at `start + used`, with the room that is left behind it; the
    // caller lends the buffer for the call.
    guard let link = tunnel.link,
      let start = buffer.bindMemory(to: UInt8.self).baseAddress
    else { return nil }
    tunnel.settle()
    tunnel.beginBatch()
    let limit = min(
      buffer.count, Limits.quicBatchBytesMax,
      max(quic_link_send_quantum(link), settings.udpPayloadBytesMax))
    var batch: QUICPacketBatch?
    var packets = 0
    var used = 0
    while packets < Limits.quicBatchPacketsMax {
      // Every packet but the last is as long as the first: a next one must have room for that.
      guard batch.map({ limit - used >= $0.segmentBytes }) ?? true else { break }
      var target = PacketTarget(start: start + used, room: buffer.count - used)
      let count = writePacket(of: tunnel, &target, now: now)
      guard count > 0 else { break }
      tunnel.sentBytes &+= UInt64(count)
      let written = QUICPacketBatch(
        remote: SocketAddress(target.path.remote), local: SocketAddress(target.path.local),
        byteCount: count, segmentBytes: count, ecn: target.ecn)
      if let first = batch {
        guard written.remote == first.remote, written.local == first.local,
          written.ecn == first.ecn, count <= first.segmentBytes
        else {
          // A probe of the path's MTU, or of another path: a batch of its own.
          leftover = (
            written, Array(UnsafeBufferPointer(start: start + used, count: count))
          )
          break
        }
      } else {
        batch = written
      }
      packets += 1
      used += count
      batch?.byteCount = used
      if let segment = batch?.segmentBytes, count < segment { break }
    }
    guard let batch else { return nil }
    quic_link_batch_written(link, now.nanoseconds)
    return counted(batch, packets: packets)
  }

  private func writePacket(
    of tunnel: QUICTunnel, _ target: inout PacketTarget, now: Instant
  ) -> Int {
    if tunnel.endReason == nil {
      let count = tunnel.writePacket(&target, now: now)
      if count > 0 || tunnel.endReason == nil { return count }
    }
    let lastWords = tunnel.writeLastWords(&target, now: now)
    return lastWords > 0 ? lastWords : tunnel.writeClose(&target, now: now)
  }
}
