// How long an edge waits before it dials its hub again (SPEC 2.3).

import RIBase

/// Why an edge has no tunnel any more, or got none.
public enum EndReason: Equatable, Sendable {
  /// The hub refused the edge's id or secret.
  case unauthorized
  /// The tunnel ended, or the attempt failed (`livedFor` zero).
  case lost(livedFor: Interval)
}

/// Exponential back-off with jitter: attempt n waits between half and all of min(30, 2^n) seconds.
///
/// A tunnel that lived for 60 s starts the count anew. A refusal waits 15 to 30 s, and so does
/// whatever fails after it.
public struct ReconnectPolicy: Sendable {
  static let exponentMax = 5
  static let longestBackOff = Interval.seconds(30)
  static let steadyAfter = Interval.seconds(60)

  private var attempt = 0
  /// Whether the last tunnel was left because its hub drained, and another dialled at once.
  private var hasMadeWay = false

  public init() {}

  /// The time to wait before the next attempt; `random` is any 64 random bits.
  public mutating func delay(after reason: EndReason, random: UInt64) -> Interval {
    switch reason {
    case .unauthorized: attempt = Self.exponentMax
    case .lost(let livedFor): noteLife(livedFor)
    }
    let longest = min(Self.longestBackOff, .seconds(1 << Int64(attempt)))
    attempt = min(attempt + 1, Self.exponentMax)
    let half = UInt64(longest.nanoseconds / 2)
    let jitter = random.multipliedFullWidth(by: half + 1).high
    return Interval(nanoseconds: Int64(half + jitter))
  }

  /// The time to wait before another hub is dialled for one that drains: none, and the count starts
  /// anew. But a hub that drains tunnel after tunnel, none of which lives for 60 s, is dialled as
  /// one that loses them.
  public mutating func delay(afterDrainingFor livedFor: Interval, random: UInt64) -> Interval {
    noteLife(livedFor)
    guard !hasMadeWay else { return delay(after: .lost(livedFor: livedFor), random: random) }
    hasMadeWay = true
    attempt = 0
    return .zero
  }

  private mutating func noteLife(_ livedFor: Interval) {
    guard livedFor >= Self.steadyAfter else { return }
    attempt = 0
    hasMadeWay = false
  }
}
