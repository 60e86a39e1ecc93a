// One tunnel's connection between an edge and the hub, from the first handshake to the last byte.

import RIBase
import RIControl
import RIRing
import RITunnel
import RIWire

/// A tunnel's connection and all that hangs on it, whatever carries it: what is TLS's alone is in
/// `transport`. One object a tunnel, owned by its shard.
///
/// ```
///  edge: connecting ─▶ handshaking ─▶ awaitingLine ─▶ ready ─▶ closing
///  hub:                handshaking ─▶ awaitingLine ─▶ ready ─▶ closing
/// ```
final class Link {
  enum Phase {
    case connecting, handshaking, awaitingLine, ready, closing
  }

  /// Where the other end is; over QUIC it may move.
  @exclusivity(unchecked) var peer: SocketAddress
  let transport: LinkTransport
  @exclusivity(unchecked) var phase: Phase
  @exclusivity(unchecked) var handshake: LineExchange
  /// Present from `ready` on.
  @exclusivity(unchecked) var tunnel: Tunnel?
  @exclusivity(unchecked) var liveness: Liveness?
  /// What the kernel said of the round trip, and when it was asked.
  @exclusivity(unchecked) var kernelRoundTrip: Interval?
  @exclusivity(unchecked) var kernelAskedAt: Instant?
  /// The edge this link authenticated as (at the hub).
  @exclusivity(unchecked) var edge: AllowedEdge?
  /// The order of its authentication among all of this process (at the hub).
  @exclusivity(unchecked) var order: UInt64 = 0
  /// What we offer (at the hub).
  let offer: Extensions
  /// What both ends have agreed on.
  @exclusivity(unchecked) var extensions: Extensions = []
  /// The edge has said what it knows (at the hub).
  @exclusivity(unchecked) var hasSaidHello = false
  /// The other end has said that it is about to stop.
  @exclusivity(unchecked) var isDraining = false
  /// When its handshake began.
  @exclusivity(unchecked) var beganAt = Instant(nanoseconds: 0)
  /// When the tunnel came up; `connectedAt` in seconds since 1970.
  @exclusivity(unchecked) var readySince = Instant(nanoseconds: 0)
  @exclusivity(unchecked) var connectedAt = 0.0

  /// How much its streams may queue.
  @exclusivity(unchecked) var backlog: LinkBacklog
  /// A line of the handshake that waits to be sent.
  @exclusivity(unchecked) var line: [UInt8] = []
  /// Why the hub refused the edge; the link ends once the refusal line is sent.
  @exclusivity(unchecked) var refusal: LinkEndReason?
  /// The same with its line, while the answer waits because the address guesses secrets.
  @exclusivity(unchecked) var heldRefusal: (reason: LinkEndReason, answer: [UInt8], due: Instant)?
  /// We have ended our direction: nothing more is sent.
  @exclusivity(unchecked) var isLeaving = false
  /// Since when a tunnel of the same edge over another transport takes new streams (at the hub).
  @exclusivity(unchecked) var supersededAt: Instant?
  /// Listed in the shard's `linedLinks`.
  @exclusivity(unchecked) var isLined = false
  /// Listed in the shard's `dirtyLinks`.
  @exclusivity(unchecked) var isDirty = false
  /// The last datagram of any of its UDP sessions.
  @exclusivity(unchecked) var datagramAt = Instant(nanoseconds: 0)
  @exclusivity(unchecked) var timer: TimerID?
  /// When sustained data that was held back is tried again.
  @exclusivity(unchecked) var heldBackTimer: TimerID?
  @exclusivity(unchecked) var bytesIn: UInt64 = 0
  @exclusivity(unchecked) var bytesOut: UInt64 = 0

  init(
    _ transport: LinkTransport, peer: SocketAddress, phase: Phase, handshake: LineExchange,
    offer: Extensions = []
  ) {
    self.transport = transport
    self.offer = offer
    self.peer = peer
    self.phase = phase
    self.handshake = handshake
    backlog = LinkBacklog()
  }
}

extension Link {
  /// Whether what it was given to send has not all left yet.
  var isSending: Bool {
    switch transport {
    case .tls(let tls): tls.sending
    case .quic(let quic):
      quic.tunnel.queuedBytes.total > 0 || quic.tunnel.datagramBytesQueued > 0
    }
  }

  /// What only a link on TLS has.
  var tls: TLSTransport? {
    switch transport {
    case .tls(let tls): tls
    case .quic: nil
    }
  }

  /// Whether it is an edge's that has not said who it is (at the hub).
  var isStranger: Bool {
    if case .hub = handshake { phase != .ready } else { false }
  }

  /// Whether nothing of a stream is left here, neither itself nor a frame on its way. UDP sessions
  /// do not count.
  var isQuiet: Bool {
    guard let tunnel else { return true }
    return tunnel.streamsHeld == tunnel.sessionsHeld && !tunnel.hasOutput && !isSending
  }

  /// When none of its UDP sessions will count as live any more, if none has traffic until then; nil
  /// when none is. Who is about to leave waits for live ones only: a client that has its answer may
  /// say nothing more.
  func sessionsRestAt(now: Instant) -> Instant? {
    guard let tunnel, tunnel.activeSessions > 0 else { return nil }
    let rest = datagramAt + Limits.udpSessionLiveFor
    return rest > now ? rest : nil
  }
}

/// The line exchange of SPEC 2.1, by side.
enum LineExchange {
  case hub(HubHandshake)
  case edge(EdgeHandshake)
}
