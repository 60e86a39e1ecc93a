// Tunnels as connections: the handshake, the line exchange, liveness, and their end.

import RIBase
import RIControl
import RIQUIC
import RIRing
import RITLS
import RITunnel
import RIWire

extension Shard {
  func armReceive(of link: Link, _ tls: TLSTransport, _ id: SlotID) {
    // Who waits for being refused has nothing more to say.
    guard !tls.receiving, link.phase != .closing, link.heldRefusal == nil else { return }
    tls.receiving = true
    if link.isStranger {
      ring.receive(
        on: tls.socket, into: ShardPool.small, limitBytes: Limits.handshakeReceiveBytes,
        token: OperationToken(.handshakeReceive, id).token)
      return
    }
    let pool = ShardPool.tunnelReceive
    ring.receive(
      on: tls.socket, into: pool, limitBytes: store[pool].shape.bytes,
      token: OperationToken(.linkReceive, id).token)
  }

  /// A connected socket becomes a link in its TLS handshake. The whole exchange up to the answer
  /// line has `Limits.handshakeTimeout`.
  func beginHandshake(_ link: Link, _ tls: TLSTransport, _ id: SlotID) {
    link.phase = .handshaking
    link.beganAt = now
    ring.set(.noDelay(true), on: tls.socket)
    ring.set(.notSentLowWater(Limits.tunnelNotSentBytes), on: tls.socket)
    link.timer = schedule(.link, id, at: now + Limits.handshakeTimeout)
    armReceive(of: link, tls, id)
    if tls.session.hasControlOutput { markDirty(link, id) }
  }

  /// The handshake is done: the edge sends its line, the hub waits for it.
  func linkEstablished(_ link: Link, _ id: SlotID) {
    link.phase = .awaitingLine
    if case .edge(let edge) = role { hubTrusted(edge, link, id) }
  }

  /// Feeds the line exchange; returns how many bytes belonged to it.
  func handleLine(of link: Link, _ id: SlotID, _ bytes: UnsafeRawBufferPointer) -> Int {
    switch (link.handshake, role) {
    case (.hub(var exchange), .hub(let hub)):
      let (verdict, consumed) = exchange.receive(bytes, edges: hub.allowed)
      link.handshake = .hub(exchange)
      edgeLineReceived(verdict, hub, link, id)
      return consumed
    case (.edge(var exchange), .edge(let edge)):
      let (verdict, consumed) = exchange.receive(bytes)
      link.handshake = .edge(exchange)
      hubLineReceived(verdict, edge, link, id)
      return consumed
    default: preconditionFailure("a link has the side of its shard")
    }
  }

  /// The line exchange is done: frames flow from here on.
  func linkReady(_ link: Link, _ id: SlotID, side: TunnelRole) {
    link.phase = .ready
    link.readySince = now
    metrics.tunnelsOpened += 1
    metrics.handshake.record(now - link.beganAt)
    link.connectedAt = ring.wallClockSeconds
    switch link.transport {
    case .tls:
      link.tunnel = .framed(
        FramedTunnel(role: side, store: store, now: now, budget: budget, seed: ring.random()))
    case .quic(let quic): link.tunnel = .quic(quic.tunnel)
    }
    link.liveness = Liveness(
      role: side == .hub ? .hub : .edge,
      patience: side == .hub && link.tls == nil ? Limits.quicPatienceWithSilence : nil, now: now)
    refreshPath(of: link)
    rescheduleLinkTimer(link, id)
    markDirty(link, id)
  }

  private func rescheduleLinkTimer(_ link: Link, _ id: SlotID) {
    if let timer = link.timer { timers.cancel(timer) }
    link.timer = link.liveness.flatMap { schedule(.link, id, at: $0.nextDeadline) }
  }

  func linkTimerFired(_ id: SlotID) {
    guard links.contains(id) else { return }
    let link = links[id]
    link.timer = nil
    if answerGuess(link, id) { return }
    guard link.phase == .ready else { return endLink(id, link.refusal ?? .handshakeTimedOut) }
    if link.isLeaving, case .running = phase { return endLink(id, .drained) }
    guard sendPings(on: link) else { return endLink(id, .silent) }
    markDirty(link, id)
    rescheduleLinkTimer(link, id)
  }

  // MARK: The round trip

  /// Queues the PINGs that are due; false when the peer has been silent for too long.
  func sendPings(on link: Link) -> Bool {
    refreshPath(of: link)
    // Over QUIC a peer that has nothing to say sends packets of which nothing is told. The time has
    // to be theirs: ngtcp2 counts 45 s from the next packet that we send, and would say nothing to
    // the peer, who then counts 45 s of its own.
    if case .quic(let quic) = link.transport {
      link.liveness?.received(at: quic.tunnel.lastReceived)
    }
    while let action = link.liveness?.poll(now: now) {
      if case .look = action {
        listenForRefusals(of: link)
        continue
      }
      guard case .sendPing(let sequence) = action else { return false }
      let payload = PingPayload(
        sequence: sequence, baseRoundTrip: link.liveness?.baseRoundTrip)
      payload.withBytes(long: link.extensions.contains(.autoWindow)) {
        link.tunnel?.sendPing($0)
      }
      metrics.pings += 1
    }
    return true
  }

  func pingReceived(_ tunnel: Tunnel, _ link: Link) {
    if link.extensions.contains(.autoWindow), let ping = PingPayload(decoding: tunnel.payload) {
      link.liveness?.told(baseRoundTrip: ping.baseRoundTrip)
    }
    tunnel.sendPong(tunnel.payload)
    metrics.pings += 1
    refreshPath(of: link)
  }

  func pongReceived(_ payload: UnsafeRawBufferPointer, _ link: Link) {
    guard let ping = PingPayload(decoding: payload) else { return }
    metrics.pongs += 1
    if let measured = link.liveness?.pong(sequence: ping.sequence, now: now) {
      metrics.roundTrip.record(measured)
    }
    // The first one may ask for another. Dead it is not: it has just spoken.
    _ = sendPings(on: link)
  }

  /// Tells the tunnel how long its path is: the larger of two minima. That of the PINGs sees the
  /// whole way, also where a proxy in the middle ends our TCP connection; it holds for the tunnel's
  /// life, so it dates from before there was load. That of the kernel holds for some minutes and so
  /// follows a route that has become longer. Neither is inflated by queues of our own.
  private func refreshPath(of link: Link) {
    // A peer may send as many PINGs or PONGs as it likes, but not have us make as many calls.
    if link.kernelAskedAt.map({ now - $0 >= Limits.roundTripInterval }) ?? true {
      link.kernelAskedAt = now
      switch link.transport {
      case .tls(let tls): link.kernelRoundTrip = ring.minimumRoundTrip(of: tls.socket)
      case .quic: break
      }
    }
    let seen = [link.liveness?.baseRoundTrip, link.kernelRoundTrip]
    link.tunnel?.framed?.pathRoundTrip = seen.compactMap { $0 }.max()
  }

  // MARK: The end

  /// Ends a link at once with everything that hangs on it. Says so to the peer's TLS if it can.
  func endLink(_ id: SlotID, _ reason: LinkEndReason) {
    guard links.contains(id), links[id].phase != .closing else { return }
    let link = links[id]
    let wasReady = link.phase == .ready
    let reason = isOrderly(reason, link) ? .drained : reason
    let wasConnecting = link.phase == .connecting
    link.phase = .closing
    for timer in [link.timer, link.heldBackTimer].compactMap(\.self) { timers.cancel(timer) }
    link.timer = nil
    link.heldBackTimer = nil
    count(endOf: link, reason, wasReady: wasReady)
    if let tunnel = link.tunnel {
      keepTotals(of: tunnel)
      tunnel.framed?.end()
    }
    link.tunnel = nil
    for index in 0..<connections.slotsEverUsed {
      guard let connection = connections.id(at: index), connections[connection].link == id,
        !connections[connection].isOver
      else { continue }
      connections[connection].flags.insert(.streamGone)
      closeConnection(connection, .reset)
    }
    endSessions(tellsPeer: false) { $0.link == id }
    switch link.transport {
    case .tls(let tls):
      // Who is not heard may hear us still: a FIN would wait behind bytes that it cannot
      // acknowledge, a reset waits for nothing.
      let isSilent = if case .silent = reason { true } else { false }
      if !isSilent, !link.isLeaving, !wasConnecting, !tls.sending { sayGoodbye(tls, id) }
      ring.close(
        tls.socket, mode: isSilent ? .reset : .graceful,
        token: OperationToken(.linkClose, id).token)
    case .quic(let quic): close(quic, id, reason)
    }
    switch role {
    case .hub(let hub): hubLinkEnded(hub, link, reason, wasReady: wasReady)
    case .edge(let edge): edgeLinkEnded(edge, link, id, reason, wasReady: wasReady)
    }
  }

  /// Whether a tunnel ends because one side was about to stop, and has carried its last stream.
  private func isOrderly(_ reason: LinkEndReason, _ link: Link) -> Bool {
    guard case .peerClosed = reason, let tunnel = link.tunnel else { return false }
    return (link.isDraining || isDraining) && tunnel.streamsHeld == tunnel.sessionsHeld
  }

  /// Leaves a quiet link. On TLS that is a half-close, and it ends when its peer closes; over QUIC,
  /// and in its handshake, it ends at once.
  func leave(_ id: SlotID) {
    let link = links[id]
    guard link.phase == .ready else { return endLink(id, .stopping) }
    switch link.transport {
    case .tls(let tls):
      link.isLeaving = true
      tls.session.close()
      markDirty(link, id)
    // All that was sent has been acknowledged.
    case .quic: endLink(id, .drained)
    }
  }

  /// One attempt to send what TLS has to say (an alert or close_notify).
  private func sayGoodbye(_ tls: TLSTransport, _ id: SlotID) {
    tls.session.close()
    guard tls.session.hasControlOutput, let buffer = store[ShardPool.tunnelSend].take() else {
      return
    }
    var writer = BufferWriter(buffer, in: store)
    tls.session.writeControl(to: &writer)
    guard !writer.isEmpty else {
      store.release(buffer)
      return
    }
    store.append(writer.slice, to: &tls.outgoing)
    tls.sending = true
    ring.send(
      tls.outgoing, on: tls.socket, mode: .attempt, token: OperationToken(.linkSend, id).token)
  }

  func linkClosed(_ id: SlotID) {
    guard links.contains(id), let tls = links[id].tls else { return }
    let link = links[id]
    store.removeAll(from: &tls.outgoing)
    if let carry = tls.carry { store.release(carry) }
    tls.carry = nil
    metrics.bytesIn &+= link.bytesIn
    metrics.bytesOut &+= link.bytesOut
    links.remove(id)
  }
}
