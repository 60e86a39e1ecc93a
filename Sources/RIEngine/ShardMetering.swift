// What a shard counts for its operator, where a line at the place of the event would not do.

import RIBase
import RIControl
import RIQUIC
import RITunnel

extension LinkEndReason {
  /// What it is counted as.
  var cause: LinkEndCause {
    switch self {
    case .peerClosed: .peerClosed
    case .silent: .silent
    case .handshakeTimedOut: .timedOut
    case .handshakeFailed: .malformed
    case .tooManyHandshakes: .tooMany
    case .unauthorized, .refused: .unauthorized
    case .refusedByHub: .refused
    case .noAddress: .noAddress
    case .replaced: .replaced
    case .revoked: .revoked
    case .outOfBuffers: .outOfBuffers
    case .stopping: .stopping
    case .drained: .drained
    case .socket: .network
    case .tls: .tls
    case .protocolViolation: .protocolViolation
    case .quic(let reason): reason.cause
    }
  }
}

extension QUICEndReason {
  fileprivate var cause: LinkEndCause {
    switch self {
    case .closed(0): .peerClosed
    case .closed: .refused
    case .idle: .silent
    case .handshakeTimeout: .timedOut
    case .statelessReset: .forgotten
    case .handshake, .alert: .tls
    case .malformed, .streamMisuse, .failedAtPeer, .version, .library: .protocolViolation
    case .ended: .stopping
    }
  }
}

extension Shard {
  /// Counts the end of a link. Attempts that were given up, as another was first or the shard
  /// stops, have not failed.
  func count(endOf link: Link, _ reason: LinkEndReason, wasReady: Bool) {
    let cause = (link.refusal ?? reason).cause
    if wasReady {
      metrics.tunnelEnds.count(cause)
    } else if cause != .replaced, cause != .stopping {
      metrics.handshakeFailures.count(cause)
    }
  }

  /// Keeps what a tunnel has counted, before it goes.
  func keepTotals(of tunnel: Tunnel) { metrics.traffic.add(tunnel.totals) }

  /// A tick has done its work, and the next wait begins.
  func noteLoop() { metrics.loop.record(ring.updateNow() - now) }

  /// What was counted in all, the tunnels that are up included.
  var metricsNow: ShardMetrics {
    var all = metrics
    for index in 0..<links.slotsEverUsed {
      guard let id = links.id(at: index) else { continue }
      all.bytesIn &+= links[id].wireBytes.received
      all.bytesOut &+= links[id].wireBytes.sent
      if let tunnel = links[id].tunnel { all.traffic.add(tunnel.totals) }
    }
    for id in packetPorts.ids { all.packets.add(packetPorts[id].endpoint.counters.packets) }
    return all
  }

  var poolUses: [PoolUse] {
    ShardPool.names.enumerated().map { index, name in
      let pool = store[PoolID(UInt8(index))]
      return PoolUse(
        name: name, used: pool.usedCount, total: pool.shape.count, bufferBytes: pool.shape.bytes)
    }
  }

  var windowUse: WindowUse {
    var use = WindowUse()
    for id in links.ids {
      if let tunnel = links[id].tunnel { use.add(tunnel.windowUse) }
    }
    return use
  }

  var queueDepths: QueueDepths {
    var depths = QueueDepths()
    for id in links.ids {
      guard let tunnel = links[id].tunnel else { continue }
      depths.controlBytes += tunnel.controlBytesQueued
      depths.dataBytes += tunnel.queuedBytes.data
      depths.sustainedBytes += tunnel.queuedBytes.sustained
      depths.datagramBytes += tunnel.datagramBytesQueued
    }
    depths.handshakes = handshakeQueue.count
    depths.datagramsSending = pendingDatagrams.count
    depths.receivesStarved =
      starvedConnections.count + starvedLinks.count + starvedReceivers.count
    return depths
  }
}

extension QUICEndpointCounters {
  /// In the words of status and metrics.
  var packets: PacketCounters {
    var all = PacketCounters()
    all.received = packetsReceived
    all.sent = packetsSent
    all.handshakesStarted = handshakesStarted
    all.handshakesFailed = handshakesFailed
    all.earlyDataAccepted = earlyDataAccepted
    all.retries = retriesSent
    all.versionNegotiations = versionNegotiationsSent
    all.statelessResets = statelessResetsSent
    all.migrations = migrations
    all.handedOver = handedOver
    all.drops.malformed = droppedMalformed
    all.drops.unknown = droppedUnknown
    all.drops.busy = droppedBusy
    all.drops.rateLimited = droppedRateLimited
    all.drops.noBuffer = droppedNoBuffer
    all.drops.badToken = droppedBadToken
    return all
  }
}
