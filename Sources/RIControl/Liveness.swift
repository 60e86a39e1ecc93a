// Whether the peer of a tunnel still lives, and how far away it is (SPEC 2.3).

import RIBase

/// The side of a tunnel whose liveness is watched; only the hub asks.
public enum LivenessRole: Sendable { case edge, hub }

/// What `Liveness` wants done.
public enum LivenessAction: Equatable, Sendable {
  /// Send a PING with these 8 bytes (hub only).
  case sendPing(payload: UInt64)
  /// Nothing came for 45 s: close the tunnel.
  case dead
}

/// Sends PING every 15 s (hub), measures the round trip, and finds a peer that has gone silent.
public struct Liveness: Sendable {
  public let role: LivenessRole
  /// The last measured time between a PING and its PONG.
  public private(set) var roundTrip: Interval?

  @usableFromInline
  var lastReceived: Instant
  private var nextPing: Instant
  private var sentPayload: UInt64 = 0
  private var sentAt: Instant?

  public init(role: LivenessRole, now: Instant) {
    self.role = role
    lastReceived = now
    nextPing = now + Limits.pingInterval
  }

  /// Takes note that bytes came from the peer.
  @inlinable
  public mutating func received(now: Instant) { lastReceived = now }

  /// What is due at `now`; ask again until nil.
  public mutating func poll(now: Instant) -> LivenessAction? {
    if now - lastReceived >= Limits.silenceTimeout { return .dead }
    guard role == .hub, now >= nextPing else { return nil }
    nextPing = now + Limits.pingInterval
    sentPayload &+= 1
    sentAt = now
    return .sendPing(payload: sentPayload)
  }

  /// Takes a PONG; one that does not answer the last PING is ignored.
  public mutating func pong(payload: UInt64, now: Instant) {
    guard let sentAt, payload == sentPayload else { return }
    roundTrip = now - sentAt
    self.sentAt = nil
  }

  /// When `poll` will next have something to say, if nothing arrives until then.
  public var nextDeadline: Instant {
    let silence = lastReceived + Limits.silenceTimeout
    return role == .hub ? min(nextPing, silence) : silence
  }
}
