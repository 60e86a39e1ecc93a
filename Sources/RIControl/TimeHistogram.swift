// How long things took: counts in fixed buckets, from a microsecond to a minute.

import RIBase

/// Spans of time, counted by size. Trivial and of one size: recording is two additions and no
/// allocation.
///
/// Two buckets an octave: their upper bounds, which belong to them, are 1, 2, 3, 4, 6, 8, 12, 16 …
/// microseconds, to 2^26 (67 s); one more takes what is longer. So a quantile read off them is at
/// most half too large.
public struct TimeHistogram: Sendable {
  /// Buckets with a bound; behind them is the one without.
  public static let bucketCount = 52

  private var counts = InlineArray<53, UInt64>(repeating: 0)
  public private(set) var count: UInt64 = 0
  /// The sum of all spans.
  public private(set) var nanoseconds: UInt64 = 0

  public init() {}

  /// Counts a span; a negative one as none.
  @inline(__always)
  public mutating func record(_ span: Interval) {
    let span = UInt64(max(0, span.nanoseconds))
    counts[Self.bucket(of: span)] &+= 1
    count &+= 1
    nanoseconds &+= span
  }

  /// The spans of bucket 0...`bucketCount`.
  public subscript(bucket: Int) -> UInt64 { counts[bucket] }

  public var seconds: Double { Double(nanoseconds) / 1e9 }

  /// The longest span of bucket 0..<`bucketCount`, in seconds.
  public static func bound(of bucket: Int) -> Double {
    Double(boundMicroseconds(of: bucket)) / 1e6
  }

  static func boundMicroseconds(of bucket: Int) -> UInt64 {
    guard bucket > 1 else { return UInt64(bucket + 1) }
    let octave = UInt64(1) << UInt64(bucket / 2)
    return octave + (octave >> 1) * UInt64(1 + bucket % 2)
  }

  /// The bucket whose bound is the first that is not below the span.
  static func bucket(of nanoseconds: UInt64) -> Int {
    guard nanoseconds > 1_000 else { return 0 }
    // Whole microseconds, rounded up, less one, so that a bound belongs to its bucket.
    let above = (nanoseconds - 1) / 1_000
    let octave = 63 - above.leadingZeroBitCount
    guard octave > 0 else { return 1 }
    return min(2 * octave + Int(above >> UInt64(octave - 1)) & 1, bucketCount)
  }

  /// Adds what another one has counted.
  public mutating func add(_ other: TimeHistogram) {
    for bucket in 0...Self.bucketCount { counts[bucket] &+= other.counts[bucket] }
    count &+= other.count
    nanoseconds &+= other.nanoseconds
  }
}

extension TimeHistogram: Equatable {
  public static func == (a: TimeHistogram, b: TimeHistogram) -> Bool {
    a.nanoseconds == b.nanoseconds
      && (0...bucketCount).allSatisfy { a.counts[$0] == b.counts[$0] }
  }
}

/// As `{"ns": sum, "buckets": [bucket, count, …]}`, the empty ones left out.
extension TimeHistogram: Codable {
  private enum CodingKeys: String, CodingKey {
    case nanoseconds = "ns"
    case buckets
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    nanoseconds = try container.decode(UInt64.self, forKey: .nanoseconds)
    let buckets = try container.decode([UInt64].self, forKey: .buckets)
    for i in stride(from: 0, to: buckets.count - 1, by: 2) where buckets[i] <= Self.bucketCount {
      counts[Int(buckets[i])] &+= buckets[i + 1]
      count &+= buckets[i + 1]
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(nanoseconds, forKey: .nanoseconds)
    let filled = (0...Self.bucketCount).filter { counts[$0] > 0 }
    try container.encode(filled.flatMap { [UInt64($0), counts[$0]] }, forKey: .buckets)
  }
}
