// What a timer of a shard is for, packed into its payload.

import RIBase

/// Layout: kind (8 bits) | slot index (24) | slot generation (32), like an operation's token.
struct ShardTimer {
  enum Kind: UInt8 {
    /// A link's handshake deadline, its next PING, or the end of its silence.
    case link
    /// A target that does not answer.
    case targetConnect
    /// The edge dials its hub again, or tries the next of its addresses.
    case dial
    /// An accept that ran out of descriptors is armed again.
    case accept
    case housekeeping
    /// Memory that nobody uses any more goes back to the system, step by step.
    case trim
    /// A link holds sustained data back.
    case heldBack
    /// The first UDP session may have been idle for long enough.
    case sessions
    /// The UDP sessions of a tunnel that is to be left may be at rest.
    case rest
    /// Receives have found no buffer for a while.
    case relief
    /// A request to the STUN server is due.
    case stun
    /// A socket of packets that has failed is tried again.
    case packets
    /// The hub has not been reached over QUIC for so long that TLS is tried.
    case fallback
    /// A tunnel is on TLS: QUIC is tried again.
    case quicRetry
    /// An address of this machine has changed.
    case addresses
    /// A guesser has hung up, and its answer would have been due.
    case keptPlace
    case drain
  }

  let kind: Kind
  let slot: SlotID

  init(_ kind: Kind, _ slot: SlotID = .none) {
    self.kind = kind
    self.slot = slot
  }

  init?(_ payload: UInt64) {
    guard let kind = Kind(rawValue: UInt8(truncatingIfNeeded: payload >> 56)) else { return nil }
    self.kind = kind
    slot = SlotID(
      index: UInt32(truncatingIfNeeded: payload >> 32) & 0xFF_FFFF,
      generation: UInt32(truncatingIfNeeded: payload))
  }

  var payload: UInt64 {
    UInt64(kind.rawValue) << 56 | UInt64(slot.index & 0xFF_FFFF) << 32 | UInt64(slot.generation)
  }
}

extension Shard {
  @discardableResult
  func schedule(_ kind: ShardTimer.Kind, _ slot: SlotID = .none, at deadline: Instant) -> TimerID? {
    timers.schedule(ShardTimer(kind, slot).payload, at: deadline)
  }

  func handle(timer: ShardTimer?) {
    guard let timer else { return }
    switch timer.kind {
    case .link: linkTimerFired(timer.slot)
    case .targetConnect: targetConnectTimedOut(timer.slot)
    case .dial: dialTimerFired()
    case .accept: armAccept(timer.slot)
    case .housekeeping: keepHouse()
    case .trim: trimPools()
    case .relief: relieveStarvation()
    case .stun: stunTimerFired()
    case .packets: armPackets(timer.slot)
    case .fallback: fallbackTimerFired()
    case .quicRetry: quicRetryTimerFired()
    case .addresses: addressTimerFired()
    case .keptPlace: keptPlaceTimerFired(timer.slot)
    case .heldBack:
      if links.contains(timer.slot) {
        links[timer.slot].heldBackTimer = nil
        markDirty(timer.slot)
      }
    case .sessions: sessionTimerFired()
    // The end of the tick looks.
    case .rest: restTimer = nil
    case .drain: phase = .stopped
    }
  }

  /// Gives memory back that nobody uses any more, tries failed listeners again, and tells of
  /// messages that were left out.
  private func keepHouse() {
    schedule(.housekeeping, at: now + Limits.housekeepingInterval)
    if !isTrimming { trimPools() }
    // A path that was too narrow for long runs of datagrams may be another now.
    if segmentBytesMax > 0 { segmentBytesMax = Limits.udpPayloadBytesMax }
    if case .edge(let edge) = role, case .running = phase {
      retryListeners(edge)
      edge.desk.firewall?.check()
    }
    while let (kind, count) = throttles.pollLeftOut(now: now) {
      report(.messagesLeftOut(kind, count: count))
    }
  }
}
