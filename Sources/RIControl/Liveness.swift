// Whether the peer of a tunnel still lives, and how far away it is (SPEC 2.3).

import RIBase

/// The side of a tunnel whose liveness is watched; only the hub asks.
public enum LivenessRole: Sendable { case edge, hub }

/// What `Liveness` wants done.
public enum LivenessAction: Equatable, Sendable {
  /// Send a PING with this number (hub only).
  case sendPing(sequence: UInt64)
  /// The peer has been silent for longer than it usually is: look whether it is still there. A PING
  /// is due as well.
  case look
  /// Nothing came for 45 s: close the tunnel.
  case dead
}

/// Sends PING every 15 s (hub), measures the round trip, and finds a peer that has gone silent.
public struct Liveness: Sendable {
  public let role: LivenessRole
  /// The last measured time between a PING and its PONG (hub).
  public private(set) var roundTrip: Interval?
  /// The shortest of them in this tunnel's life: the path without queues, as some PING came before
  /// there was load. An edge is told it in PINGs.
  public private(set) var baseRoundTrip: Interval?

  @usableFromInline
  var lastReceived: Instant
  private var nextPing: Instant
  private var sentSequence: UInt64 = 0
  private var sentAt: Instant?
  /// The next PONG is followed by one more PING, which tells the edge what was measured.
  private var tellsNext = false
  private let patience: Interval?
  private var lookedAt: Instant?

  /// With `patience` a hub looks after a peer that has been silent for so long, each time anew.
  public init(role: LivenessRole, patience: Interval? = nil, now: Instant) {
    self.role = role
    self.patience = patience
    lastReceived = now
    nextPing = now + Limits.pingInterval
  }

  /// Takes note that bytes came from the peer.
  @inlinable
  public mutating func received(at time: Instant) { lastReceived = time }

  /// Hub: has the round trip measured at once, and told to the edge as soon as it is known.
  public mutating func measureNow(now: Instant) {
    nextPing = now
    tellsNext = true
  }

  /// What is due at `now`; ask again until nil.
  public mutating func poll(now: Instant) -> LivenessAction? {
    if now - lastReceived >= Limits.silenceTimeout { return .dead }
    if let nextLook, now >= nextLook {
      lookedAt = now
      nextPing = now
      return .look
    }
    guard role == .hub, now >= nextPing else { return nil }
    nextPing = now + Limits.pingInterval
    sentSequence &+= 1
    sentAt = now
    return .sendPing(sequence: sentSequence)
  }

  /// Takes a PONG, and returns the round trip; one that does not answer the last PING is ignored.
  @discardableResult
  public mutating func pong(sequence: UInt64, now: Instant) -> Interval? {
    guard let sentAt, sequence == sentSequence else { return nil }
    let measured = now - sentAt
    roundTrip = measured
    baseRoundTrip = min(baseRoundTrip ?? measured, measured)
    self.sentAt = nil
    if tellsNext { nextPing = now }
    tellsNext = false
    return measured
  }

  /// Edge: takes what a PING says of the round trip.
  public mutating func told(baseRoundTrip: Interval?) {
    if let baseRoundTrip { self.baseRoundTrip = baseRoundTrip }
  }

  /// When `poll` will next have something to say, if nothing arrives until then.
  public var nextDeadline: Instant {
    let silence = lastReceived + Limits.silenceTimeout
    guard role == .hub else { return silence }
    let next = min(nextPing, silence)
    return nextLook.map { min($0, next) } ?? next
  }

  private var nextLook: Instant? {
    guard let patience else { return nil }
    return max(lastReceived, lookedAt ?? lastReceived) + patience
  }
}
