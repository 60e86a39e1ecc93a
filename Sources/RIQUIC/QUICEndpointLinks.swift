// How links of an endpoint live on: their deadlines, their ends, the ids that lead to them.

import CNGTCP2
import RIBase
import RITunnel

extension QUICEndpoint {
  // MARK: Deadlines

  /// When `handleDeadline` is to be called next.
  public var nextDeadline: Instant? {
    updateDeadlines()
    return deadlines.first?.deadline
  }

  public func handleDeadline(now: Instant) {
    if overflowingTunnels > 0 { wakeOverflowing() }
    updateDeadlines()
    while let (slot, deadline) = deadlines.first, deadline <= now {
      deadlines.set(slot, nil)
      guard tunnels.contains(slot) else { continue }
      expire(tunnels[slot], now: now)
    }
  }

  private func expire(_ tunnel: QUICTunnel, now: Instant) {
    if tunnel.endReason != nil {
      forgetIfDone(tunnel, now: now)
      return
    }
    guard let link = tunnel.link else { return }
    tunnel.now = now
    tunnel.expiredAt = now
    let result = quic_link_expire(link, now.nanoseconds)
    if result != 0 { tunnel.fail(result) }
    settle(tunnel, now: now)
    markDirty(tunnel)
  }

  /// After ngtcp2 was called for a tunnel.
  func settle(_ tunnel: QUICTunnel, now: Instant) {
    tunnel.settle()
    if tunnel.endReason != nil { ended(tunnel, now: now) }
    touched.append(tunnel.slot)
  }

  private func updateDeadlines() {
    while let slot = touched.popFirst() {
      guard tunnels.contains(slot) else { continue }
      let tunnel = tunnels[slot]
      if tunnel.endReason != nil {
        deadlines.set(slot, tunnel.forgetAt)
      } else if let link = tunnel.link {
        deadlines.set(slot, deadline(of: tunnel, quic_link_expiry(link)))
      }
    }
  }

  /// ngtcp2 leaves timers in the past that it has handled and that nothing has come of (those of
  /// retired ids): to be looked at a little later, not at once for ever.
  private func deadline(of tunnel: QUICTunnel, _ expiry: UInt64) -> Instant? {
    if expiry == .max { return nil }
    let expiry = Instant(nanoseconds: expiry)
    guard let expiredAt = tunnel.expiredAt, expiry <= expiredAt else { return expiry }
    return expiredAt + Limits.quicTimerIntervalMin
  }

  // MARK: Endings

  /// A link has ended for whatever reason. Its ids lead here for three more probe time-outs, so
  /// that what is under way meets no stateless reset (RFC 9000 section 10.2).
  private func ended(_ tunnel: QUICTunnel, now: Instant) {
    guard tunnel.forgetAt == nil else { return }
    if tunnel.countsAsHandshake {
      leaveHandshakes(tunnel)
      counters.handshakesFailed &+= 1
    }
    let timeout = tunnel.link.map { quic_link_pto($0) } ?? 0
    tunnel.forgetAt = now + Interval(nanoseconds: 3 * Int64(clamping: min(timeout, 1 << 32)))
    // The hub's engine has never heard of a link whose handshake failed.
    if !tunnel.isSurfaced { tunnel.end() }
  }

  /// The engine has ended the tunnel.
  func released(_ tunnel: QUICTunnel) {
    guard tunnels.contains(tunnel.slot) else { return }
    ended(tunnel, now: tunnel.now)
    touched.append(tunnel.slot)
  }

  func forgetIfDone(_ tunnel: QUICTunnel, now: Instant) {
    var isSilent = true
    if case .wanted = tunnel.closing { isSilent = false }
    guard tunnel.isReleased, isSilent else {
      // The engine has yet to end it, or the peer to be told; look again later.
      tunnel.forgetAt = now + .seconds(1)
      touched.append(tunnel.slot)
      return
    }
    for id in tunnel.connectionIDs where routes[id] == tunnel.slot { routes[id] = nil }
    if lastRoute?.slot == tunnel.slot { lastRoute = nil }
    deadlines.set(tunnel.slot, nil)
    tunnels.remove(tunnel.slot)
    tunnel.free()
  }

  /// Ends all links without a word and frees everything. Tunnels of it take no more verbs.
  public func end() {
    for slot in tunnels.ids {
      let tunnel = tunnels[slot]
      tunnel.end()
      deadlines.set(slot, nil)
      tunnels.remove(slot)
      tunnel.free()
    }
    routes = [:]
    lastRoute = nil
    arena.rest()
  }

  // MARK: Routes

  func register(_ id: ConnectionID, _ tunnel: QUICTunnel) {
    routes[id] = tunnel.slot
    tunnel.connectionIDs.append(id)
  }

  /// A new connection id of a link, and its stateless reset token.
  func makeConnectionID(
    for tunnel: QUICTunnel, token: UnsafeMutablePointer<UInt8>
  ) -> ConnectionID {
    let id = ConnectionID.make(shard: shard)
    register(id, tunnel)
    writeResetToken(of: id, to: token)
    return id
  }

  func writeResetToken(of id: ConnectionID, to token: UnsafeMutablePointer<UInt8>) {
    guard let server else {
      // An edge never resets: nobody needs to believe it.
      quic_random(token, QUIC_RESET_TOKEN)
      return
    }
    var form = id.quic
    quic_reset_token(token, server.resetSecret, &form)
  }

  func retire(_ id: ConnectionID, of tunnel: QUICTunnel) {
    routes[id] = nil
    if lastRoute?.id == id { lastRoute = nil }
    tunnel.connectionIDs.removeAll { $0 == id }
  }
}
