// Points in time and spans between them, in nanoseconds. Nothing here reads a clock: time is
// handed in as `now:` (the ring owns the clock).

/// A point on the monotonic clock, in nanoseconds since an arbitrary start.
public struct Instant: Comparable, Hashable, Sendable {
  public var nanoseconds: UInt64

  @inlinable
  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  @inlinable
  public static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }

  /// Saturates at both ends of the clock.
  @inlinable
  public static func + (instant: Instant, interval: Interval) -> Instant {
    if interval.nanoseconds >= 0 {
      let (sum, overflow) = instant.nanoseconds
        .addingReportingOverflow(UInt64(interval.nanoseconds))
      return Instant(nanoseconds: overflow ? .max : sum)
    }
    let magnitude = interval.nanoseconds.magnitude
    return Instant(
      nanoseconds: instant.nanoseconds > magnitude ? instant.nanoseconds - magnitude : 0)
  }

  /// The time from `b` to `a`; negative when `a` is earlier.
  @inlinable
  public static func - (a: Instant, b: Instant) -> Interval {
    if a.nanoseconds >= b.nanoseconds {
      return Interval(nanoseconds: Int64(clamping: a.nanoseconds - b.nanoseconds))
    }
    return Interval(nanoseconds: -Int64(clamping: b.nanoseconds - a.nanoseconds))
  }
}

/// A span of time in nanoseconds; may be negative.
public struct Interval: Comparable, Hashable, Sendable {
  public var nanoseconds: Int64

  @inlinable
  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  @inlinable
  public static func microseconds(_ n: Int64) -> Interval { Interval(nanoseconds: n * 1_000) }
  @inlinable
  public static func milliseconds(_ n: Int64) -> Interval { Interval(nanoseconds: n * 1_000_000) }
  @inlinable
  public static func seconds(_ n: Int64) -> Interval { Interval(nanoseconds: n * 1_000_000_000) }
  public static let zero = Interval(nanoseconds: 0)

  @inlinable
  public var seconds: Double { Double(nanoseconds) / 1e9 }

  @inlinable
  public static func < (a: Interval, b: Interval) -> Bool { a.nanoseconds < b.nanoseconds }
}
