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

  public init() {}

  /// The time to wait before the next attempt; `random` is any 64 random bits.
  public mutating func delay(after reason: EndReason, random: UInt64) -> Interval {
    switch reason {
    case .unauthorized: attempt = Self.exponentMax
    case .lost(let livedFor) where livedFor >= Self.steadyAfter: attempt = 0
    case .lost: break
    }
    let longest = min(Self.longestBackOff, .seconds(1 << Int64(attempt)))
    attempt = min(attempt + 1, Self.exponentMax)
    let half = UInt64(longest.nanoseconds / 2)
    let jitter = random.multipliedFullWidth(by: half + 1).high
    return Interval(nanoseconds: Int64(half + jitter))
  }
}
