// The histogram against sorted values.

import Testing

@testable import LoadKit

@Suite("Histogram")
struct HistogramTests {
  @Test("every bucket holds the value it stands for, and buckets follow each other without gaps")
  func bucketsTile() {
    for bucket in 0..<Histogram.bucketCount {
      #expect(Histogram.bucket(of: Histogram.middle(of: bucket)) == bucket)
    }
    var last = 0
    for value in UInt64(0)..<200_000 {
      let bucket = Histogram.bucket(of: value)
      #expect(bucket == last || bucket == last + 1)
      last = bucket
    }
    #expect(Histogram.bucket(of: 1 << 37 - 1) == Histogram.bucketCount - 1)
  }

  @Test("percentiles are within 1.6 % of the exact ones", arguments: [1, 7, 99] as [UInt64])
  func percentiles(seed: UInt64) {
    var state = seed
    var histogram = Histogram()
    var values: [UInt64] = []
    for _ in 0..<20_000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let value = (state >> 33) >> (state >> 20 & 15)
      values.append(value)
      histogram.record(value)
    }
    values.sort()
    for fraction in [0.01, 0.5, 0.9, 0.99, 0.999, 1] {
      let exact = Double(values[Int((Double(values.count) * fraction).rounded(.up)) - 1])
      let found = Double(histogram.value(at: fraction))
      #expect(abs(found - exact) <= exact * 0.016 + 1, "fraction \(fraction), seed \(seed)")
    }
    #expect(histogram.maximum == values.last)
    #expect(histogram.total == 20_000)
  }

  @Test("a percentile is the value that this share does not exceed")
  func ranks() {
    var histogram = Histogram()
    for value in [40, 10, 30, 20] as [UInt64] { histogram.record(value) }
    #expect([0.25, 0.5, 0.51, 0.75, 1].map(histogram.value) == [10, 20, 30, 30, 40])
  }

  @Test("nothing recorded reads as zero, too long a value as the longest")
  func limits() {
    var histogram = Histogram()
    #expect(histogram.value(at: 0.5) == 0)
    histogram.record(.max)
    #expect(histogram.maximum == 1 << 37 - 1)
    #expect(histogram.value(at: 0.5) > 136_000_000_000)
  }
}
