// A log-linear histogram of durations: 64 buckets for each power of two, so a value is known to
// 1.6 %, in 16 KiB whatever is recorded.

/// Counts durations in nanoseconds, 0 to 2^37 - 1 (137 s; longer ones count as that).
public struct Histogram: Sendable {
  static let subBucketBits = 6
  static let valueBits = 37
  static let bucketCount = (valueBits - subBucketBits) << subBucketBits + 1 << subBucketBits

  private var counts = [UInt64](repeating: 0, count: bucketCount)
  public private(set) var total: UInt64 = 0
  public private(set) var maximum: UInt64 = 0

  public init() {}

  public mutating func record(_ nanoseconds: UInt64) {
    let value = min(nanoseconds, 1 << Self.valueBits - 1)
    counts[Self.bucket(of: value)] += 1
    total += 1
    if value > maximum { maximum = value }
  }

  /// The value below or at which `fraction` (0 to 1) of the recorded ones lie, as the middle of its
  /// bucket; 0 when nothing was recorded.
  public func value(at fraction: Double) -> UInt64 {
    let rank = UInt64((Double(total) * fraction).rounded(.up))
    var seen: UInt64 = 0
    for (bucket, count) in counts.enumerated() where count > 0 {
      seen += count
      if seen >= rank { return min(Self.middle(of: bucket), maximum) }
    }
    return maximum
  }

  /// Values below 128 have a bucket each; above, the leading 7 bits choose it.
  static func bucket(of value: UInt64) -> Int {
    let shift = max(0, 63 - value.leadingZeroBitCount - subBucketBits)
    return shift << subBucketBits + Int(value >> UInt64(shift))
  }

  static func middle(of bucket: Int) -> UInt64 {
    let shift = max(0, bucket >> subBucketBits - 1)
    let low = UInt64(bucket - shift << subBucketBits) << UInt64(shift)
    return low + (1 << UInt64(shift)) / 2
  }
}
