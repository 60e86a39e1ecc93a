// An edge between its two transports (SPEC 3): QUIC, TLS when QUIC brings no tunnel, and back.
//
//   QUIC ── no tunnel in 5 s, or none to be had ─▶ TLS ── up ─▶ every 5 minutes QUIC beside it
//     ▲                                                             │ up: new streams go there
//     └─────────────────────────────────────────────────────────────┘ TLS ends with its last
//
// RIControl's `TransportPolicy` says what is tried when; here are the timers and the tunnels.

import RIBase
import RIControl

extension Shard {
  /// Goes on with the attempt over another transport.
  func fallBack(to transport: TunnelTransport, _ edge: EdgeState, _ reason: LinkEndReason) {
    let former = edge.dialTransport.label
    report(.note("no tunnel over \(former): \(reason); trying \(transport.label)"))
    giveUpDialling(edge)
    edge.dialTransport = transport
    beginConnecting(edge)
  }

  /// QUIC has had its time.
  func fallbackTimerFired() {
    guard case .edge(let edge) = role else { return }
    edge.fallbackTimer = nil
    guard case .running = phase else { return }
    if edge.tunnel == nil, let next = edge.transports.fallback(from: edge.dialTransport) {
      let seconds = edge.transports.timers.quicPatience.seconds
      fallBack(to: next, edge, .handshakeFailed("nothing within \(seconds) s"))
    } else {
      giveUpDialling(edge)
      attemptFailed(edge, .handshakeTimedOut)
    }
  }

  func cancelFallback(_ edge: EdgeState) {
    if let timer = edge.fallbackTimer { timers.cancel(timer) }
    edge.fallbackTimer = nil
  }

  // MARK: Back to QUIC

  /// Has QUIC tried again while a tunnel is on TLS. It takes a hub that lets the old tunnel come to
  /// its end beside the new.
  func scheduleQUICRetry(_ edge: EdgeState, _ link: Link) {
    cancelQUICRetry(edge)
    guard let interval = edge.transports.retryInterval(on: link.transport.name),
      link.extensions.contains(.drain)
    else { return }
    edge.quicRetryTimer = schedule(.quicRetry, at: now + interval)
  }

  func cancelQUICRetry(_ edge: EdgeState) {
    if let timer = edge.quicRetryTimer { timers.cancel(timer) }
    edge.quicRetryTimer = nil
  }

  func quicRetryTimerFired() {
    guard case .edge(let edge) = role else { return }
    edge.quicRetryTimer = nil
    guard case .running = phase, edge.tunnel != nil, edge.dialing == .idle, edge.attempts.isEmpty
    else { return }
    dial(edge, after: .zero)
  }

  /// Another tunnel is up beside the one there was: new streams go by it, the others stay where
  /// they are until their end.
  func moveOn(from former: SlotID, to link: Link, _ edge: EdgeState) {
    let old = links[former]
    old.isDraining = true
    edge.outgoingTunnels.append(former)
    if old.extensions.contains(.drain) {
      old.tunnel?.sendHello(hello(of: old, draining: true))
      markDirty(old, former)
    }
    report(.tunnelMoved(hub: link.peer, to: link.transport.name))
  }
}

extension LinkEndReason {
  /// Whether the hub has spoken: no other transport would hear another answer.
  var isRefusal: Bool {
    switch self {
    case .unauthorized, .refusedByHub: true
    default: false
    }
  }
}
