// The inbound half of an endpoint: packets to links, new links, and answers to strangers.

import CNGTCP2
import RIBase
import RITunnel

extension QUICEndpoint {
  /// Takes what one receive brought: one packet, or several that the kernel joined, each
  /// `segmentBytes` long but the last. `ecn` is the two bits of the IP header (0 when not known).
  /// The bytes are not needed any more afterwards. Poll tunnels' events before the next call.
  public func receive(
    _ bytes: UnsafeRawBufferPointer, segmentBytes: Int, from remote: SocketAddress,
    to local: SocketAddress, ecn: UInt8, now: Instant, isHandedOver: Bool = false
  ) -> QUICReceipt {
    let path = QUICPath(local: local, remote: remote)
    var form = path.quic
    let segmentBytes = segmentBytes > 0 ? segmentBytes : bytes.count
    var offset = 0
    var last: QUICTunnel?
    defer { if let last { settle(last, now: now) } }
    while offset < bytes.count {
      let end = min(offset + segmentBytes, bytes.count)
      let packet = UnsafeRawBufferPointer(rebasing: bytes[offset..<end])
      // Nearly all packets are for the link that the one before was for.
      if let last, let lastRoute, lastRoute.slot == last.slot,
        lastRoute.id.isDestination(of: packet)
      {
        read(packet, &form, ecn, last, now)
        offset = end
        continue
      }
      switch route(packet, path, &form, ecn, now, isHandedOver: isHandedOver) {
      case .tunnel(let tunnel):
        if let former = last, former !== tunnel { settle(former, now: now) }
        last = tunnel
        read(packet, &form, ecn, tunnel, now)
      case .foreign(let shard):
        // Packets that the kernel joined are of one path, and so of one link.
        if offset == 0 {
          counters.handedOver &+= 1
          return .foreign(shard: shard)
        }
        counters.droppedUnknown &+= 1
      case .answered: break
      }
      offset = end
    }
    return .done
  }

  private enum Route {
    case tunnel(QUICTunnel)
    case foreign(UInt8)
    /// Dropped or answered, and counted.
    case answered
  }

  private func read(
    _ packet: UnsafeRawBufferPointer, _ form: inout quic_path, _ ecn: UInt8,
    _ tunnel: QUICTunnel, _ now: Instant
  ) {
    counters.packetsReceived &+= 1
    counters.bytesReceived &+= UInt64(packet.count)
    guard let link = tunnel.link else { return }
    guard tunnel.endReason == nil else {
      repeatClose(of: tunnel)
      return
    }
    // What a packet brings is copied in the middle of a callback, which cannot be refused.
    guard overflowingTunnels == 0, arena.prepare(packet.count) else {
      counters.droppedNoBuffer &+= 1
      if overflowingTunnels > 0 { wakeOverflowing() }
      return
    }
    tunnel.now = now
    tunnel.bytesReceived &+= UInt64(packet.count)
    tunnel.lastReceived = now
    let result = quic_link_read(
      link, &form, ecn, packet.bindMemory(to: UInt8.self).baseAddress, packet.count,
      now.nanoseconds)
    if result != 0 { readFailed(result, tunnel) }
    markDirty(tunnel)
  }

  /// What had no buffer may find one now: those tunnels are to be polled again.
  func wakeOverflowing() {
    for index in 0..<tunnels.slotsEverUsed {
      guard let slot = tunnels.id(at: index), !tunnels[slot].overflow.isEmpty else { continue }
      markReady(tunnels[slot])
    }
  }

  private func readFailed(_ result: Int32, _ tunnel: QUICTunnel) {
    // ngtcp2 passes over what is not authentic by itself; what it reports ends the link. A first
    // packet that is not authentic leaves nothing behind.
    tunnel.fail(result)
    if result == QUIC_DROP, !tunnel.isSurfaced {
      counters.droppedMalformed &+= 1
      leaveHandshakes(tunnel)
      tunnel.forgetAt = tunnel.now
      tunnel.end()
    }
  }

  /// Answers packets for a link that we have closed, ever more rarely (RFC 9000 section 10.2.1).
  private func repeatClose(of tunnel: QUICTunnel) {
    guard case .told(let packet, let seen) = tunnel.closing else { return }
    tunnel.closing = .told(packet: packet, packetsSeen: seen &+ 1)
    if seen & (seen &+ 1) == 0, answers.take(now: tunnel.now) {
      answers.append(tunnel.path, packet)
    }
  }

  // MARK: Routing

  private func route(
    _ packet: UnsafeRawBufferPointer, _ path: QUICPath, _ form: inout quic_path, _ ecn: UInt8,
    _ now: Instant, isHandedOver: Bool
  ) -> Route {
    var parsed = quic_packet()
    let start = packet.bindMemory(to: UInt8.self).baseAddress
    let kind = quic_packet_parse(start, packet.count, ConnectionID.ownBytes, &parsed)
    let destination = UnsafeRawBufferPointer(
      start: parsed.destination.start, count: parsed.destination.count)
    guard kind != QUIC_PACKET_MALFORMED, let id = ConnectionID(destination) else {
      counters.droppedMalformed &+= 1
      return .answered
    }
    if let tunnel = find(id) { return .tunnel(tunnel) }
    guard server != nil else { return routeAtEdge(path) }
    switch kind {
    case QUIC_PACKET_OTHER_VERSION:
      negotiateVersion(packet, &parsed, path, now)
      return .answered
    case QUIC_PACKET_LONG:
      var initial = quic_initial()
      if quic_initial_parse(start, packet.count, &initial) == 1 {
        return accept(&initial, path, &form, now)
      }
      if let shard = foreignShard(destination, isHandedOver) { return .foreign(shard) }
      counters.droppedUnknown &+= 1
      return .answered
    default:
      if let shard = foreignShard(destination, isHandedOver) { return .foreign(shard) }
      resetStatelessly(packet, id, path, now)
      return .answered
    }
  }

  private func find(_ id: ConnectionID) -> QUICTunnel? {
    if let lastRoute, lastRoute.id == id { return tunnels[lastRoute.slot] }
    guard let slot = routes[id], tunnels.contains(slot) else { return nil }
    lastRoute = (id, slot)
    return tunnels[slot]
  }

  /// A stateless reset has no id that we know; ngtcp2 finds out whether a packet is one.
  private func routeAtEdge(_ path: QUICPath) -> Route {
    for index in 0..<tunnels.slotsEverUsed {
      guard let slot = tunnels.id(at: index) else { continue }
      let tunnel = tunnels[slot]
      if tunnel.path.remote == path.remote, tunnel.endReason == nil { return .tunnel(tunnel) }
    }
    counters.droppedUnknown &+= 1
    return .answered
  }

  private func foreignShard(_ id: UnsafeRawBufferPointer, _ isHandedOver: Bool) -> UInt8? {
    guard !isHandedOver, let named = ConnectionID.shard(of: id), named != shard, named < shards
    else { return nil }
    return named
  }

  // MARK: New links

  private func accept(
    _ initial: inout quic_initial, _ path: QUICPath, _ form: inout quic_path, _ now: Instant
  ) -> Route {
    guard let server else { return .answered }
    let source = path.remote.ip.handshakeSource
    guard handshakeCount < settings.handshakesMax, tunnels.count < tunnels.capacity,
      handshakesBySource[source, default: 0] < settings.handshakesPerSourceMax
    else {
      counters.droppedBusy &+= 1
      return .answered
    }
    var original = quic_cid()
    let token = quic_token_check(
      &initial, server.tokenSecret, &form.remote, now.nanoseconds, &original)
    if token == 0, initial.token.count > 0 { counters.droppedBadToken &+= 1 }
    if token == 0, handshakeCount >= settings.retryThreshold {
      retry(&initial, path, &form, now)
      return .answered
    }
    // A token that is not ours counts as none; ngtcp2 must not see it.
    if token == 0 { initial.token = quic_bytes(start: nil, count: 0) }
    let tunnel = QUICTunnel(role: .hub, endpoint: self, settings: settings, path: path)
    guard let slot = tunnels.insert(tunnel) else { return .answered }
    tunnel.slot = slot
    tunnel.now = now
    let ownID = ConnectionID.make(shard: shard)
    var sourceForm = ownID.quic
    var options = makeOptions(now: now)
    let owner = Unmanaged.passUnretained(tunnel).toOpaque()
    let link = withUnsafeTemporaryAllocation(
      of: UInt8.self, capacity: QUIC_RESET_TOKEN
    ) { reset -> OpaquePointer? in
      guard let resetStart = reset.baseAddress else { return nil }
      writeResetToken(of: ownID, to: resetStart)
      // SAFETY: everything lent is read during the call; the tunnel outlives the link.
      return withUnsafePointer(to: original) { original in
        quic_accept(
          server.credentials, Self.handlers, owner, &options, &form, &initial,
          token == 1 ? original : nil, &sourceForm, resetStart)
      }
    }
    guard let link else {
      tunnels.remove(slot)
      counters.droppedBusy &+= 1
      return .answered
    }
    tunnel.link = link
    register(ownID, tunnel)
    // The client goes by its own choice until it has seen ours.
    register(ConnectionID(initial.destination), tunnel)
    handshakeCount += 1
    handshakesBySource[source, default: 0] += 1
    counters.handshakesStarted &+= 1
    return .tunnel(tunnel)
  }

  // MARK: Answers

  private func answer(
    _ path: QUICPath, bytesMax: Int, _ write: (UnsafeMutablePointer<UInt8>, Int) -> Int
  ) -> Bool {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: bytesMax) { buffer in
      guard let start = buffer.baseAddress else { return false }
      let count = write(start, bytesMax)
      guard count > 0 else { return false }
      answers.append(path, Array(UnsafeBufferPointer(start: start, count: count)))
      return true
    }
  }

  private func negotiateVersion(
    _ packet: UnsafeRawBufferPointer, _ parsed: inout quic_packet, _ path: QUICPath, _ now: Instant
  ) {
    // RFC 9000 section 6.1: smaller packets than a first one must be are not answered.
    guard packet.count >= 1_200, parsed.version != 0 else {
      counters.droppedMalformed &+= 1
      return
    }
    guard answers.take(now: now) else {
      counters.droppedRateLimited &+= 1
      return
    }
    if answer(path, bytesMax: 600, { quic_write_version_negotiation($0, $1, &parsed) }) {
      counters.versionNegotiationsSent &+= 1
    }
  }

  private func retry(
    _ initial: inout quic_initial, _ path: QUICPath, _ form: inout quic_path, _ now: Instant
  ) {
    guard let server, answers.take(now: now) else {
      counters.droppedRateLimited &+= 1
      return
    }
    var source = ConnectionID.make(shard: shard).quic
    let isWritten = answer(path, bytesMax: 600) {
      quic_write_retry(
        $0, $1, &initial, &source, server.tokenSecret, &form.remote, now.nanoseconds)
    }
    if isWritten { counters.retriesSent &+= 1 }
  }

  /// RFC 9000 section 10.3.
  private static let resetBytesMin = 21

  /// RFC 9000 section 10.3: shorter than what it answers, so that two ends never go on for ever.
  private func resetStatelessly(
    _ packet: UnsafeRawBufferPointer, _ id: ConnectionID, _ path: QUICPath, _ now: Instant
  ) {
    counters.droppedUnknown &+= 1
    guard packet.count > Self.resetBytesMin else { return }
    guard answers.take(now: now) else {
      counters.droppedRateLimited &+= 1
      return
    }
    withUnsafeTemporaryAllocation(
      of: UInt8.self, capacity: QUIC_RESET_TOKEN
    ) { token in
      guard let tokenStart = token.baseAddress else { return }
      writeResetToken(of: id, to: tokenStart)
      let isWritten = answer(path, bytesMax: min(packet.count - 1, 2 * Self.resetBytesMin)) {
        quic_write_stateless_reset($0, $1, tokenStart)
      }
      if isWritten { counters.statelessResetsSent &+= 1 }
    }
  }
}
