// Messages that peers can cause at will, kept from filling the log.

import RIBase

/// Lets through a burst of messages of one kind, then one a second that says how many were left
/// out. A pause lets the burst grow again, by one a second.
public struct MessageThrottle: Sendable {
  private let burst: Int
  /// Messages that may go now, 0...burst.
  private var allowance: Int
  /// Up to when the allowance has grown.
  private var grownAt: Instant
  /// Messages left out since the last that went.
  public private(set) var leftOut = 0

  public init(burst: Int = Limits.messagesBurst, now: Instant) {
    precondition(burst > 0)
    self.burst = burst
    allowance = burst
    grownAt = now
  }

  /// Whether a message may go now: nil when it is to be left out, else how many were before it.
  public mutating func admit(now: Instant) -> Int? {
    grow(now: now)
    guard allowance > 0 else {
      leftOut += 1
      return nil
    }
    allowance -= 1
    defer { leftOut = 0 }
    return leftOut
  }

  /// How many were left out, for a message that says no more than that; nil when there are none, or
  /// it is not time yet. For when no other message comes that would say it.
  public mutating func pollLeftOut(now: Instant) -> Int? {
    grow(now: now)
    guard leftOut > 0, allowance > 0 else { return nil }
    allowance -= 1
    defer { leftOut = 0 }
    return leftOut
  }

  private mutating func grow(now: Instant) {
    let seconds = (now - grownAt).nanoseconds / Limits.messageInterval.nanoseconds
    guard seconds > 0 else { return }
    grownAt =
      grownAt + Interval(nanoseconds: seconds * Limits.messageInterval.nanoseconds)
    allowance = min(burst, allowance + Int(seconds))
  }
}

/// The kinds of messages that are throttled, each by itself.
public enum ThrottledMessage: Int, CaseIterable, Sendable {
  /// A connection that did not become a tunnel.
  case refusal
  /// A stream reset because the memory budget is spent.
  case memoryBudget

  /// How many go before there is one a second.
  var burst: Int {
    switch self {
    case .refusal: Limits.messagesBurst
    case .memoryBudget: 1
    }
  }
}

/// A throttle for each kind of message.
public struct MessageThrottles: Sendable {
  private var throttles: [MessageThrottle]

  public init(now: Instant) {
    throttles = ThrottledMessage.allCases.map { MessageThrottle(burst: $0.burst, now: now) }
  }

  /// As `MessageThrottle.admit`.
  public mutating func admit(_ kind: ThrottledMessage, now: Instant) -> Int? {
    throttles[kind.rawValue].admit(now: now)
  }

  /// The next kind whose left-out messages are to be told by themselves, and their number.
  public mutating func pollLeftOut(now: Instant) -> (kind: ThrottledMessage, count: Int)? {
    for kind in ThrottledMessage.allCases {
      if let count = throttles[kind.rawValue].pollLeftOut(now: now) { return (kind, count) }
    }
    return nil
  }
}
