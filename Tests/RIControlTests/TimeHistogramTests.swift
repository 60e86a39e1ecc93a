// The buckets of spans of time, and what becomes of them as JSON.

import Foundation
import RIBase
import Testing

@testable import RIControl

struct TimeHistogramTests {
  @Test func boundsGrowByHalfAnOctave() {
    let bounds = (0..<12).map(TimeHistogram.boundMicroseconds)
    #expect(bounds == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64])
    #expect(TimeHistogram.boundMicroseconds(of: TimeHistogram.bucketCount - 1) == 1 << 26)
    #expect(TimeHistogram.bound(of: 11) == 0.000064)
  }

  @Test func aBoundBelongsToItsBucketAndWhatIsLongerToTheNext() {
    for bucket in 0..<TimeHistogram.bucketCount {
      let bound = TimeHistogram.boundMicroseconds(of: bucket) * 1_000
      #expect(TimeHistogram.bucket(of: bound) == bucket)
      #expect(TimeHistogram.bucket(of: bound + 1) == bucket + 1)
    }
    #expect(TimeHistogram.bucket(of: 0) == 0)
    #expect(TimeHistogram.bucket(of: UInt64(Int64.max)) == TimeHistogram.bucketCount)
  }

  @Test func whatIsRecordedIsCountedAndSummed() {
    var histogram = TimeHistogram()
    for span in [Interval.microseconds(5), .microseconds(6), .seconds(100), .seconds(-1)] {
      histogram.record(span)
    }
    #expect(histogram.count == 4 && histogram.nanoseconds == 100_000_011_000)
    #expect(histogram[4] == 2 && histogram[0] == 1 && histogram[TimeHistogram.bucketCount] == 1)
    var twice = histogram
    twice.add(histogram)
    #expect(twice.count == 8 && twice[4] == 4 && twice.seconds == 200.000022)
  }

  @Test func jsonKeepsItAndLeavesOutWhatIsEmpty() throws {
    var histogram = TimeHistogram()
    histogram.record(.microseconds(5))
    histogram.record(.seconds(100))
    let encoded = try JSONEncoder().encode(histogram)
    #expect(encoded.count < 60)
    let read = try JSONDecoder().decode(TimeHistogram.self, from: encoded)
    #expect(read == histogram && read.count == 2)
    // Buckets that this one does not have, and half a pair, are left out.
    let foreign = try JSONDecoder().decode(
      TimeHistogram.self, from: Data(#"{"ns":7,"buckets":[0,1,99,5,3]}"#.utf8))
    #expect(foreign.count == 1 && foreign.nanoseconds == 7)
  }

  @Test func causesAreCountedByName() throws {
    var counts = CauseCounts()
    for cause in LinkEndCause.allCases { counts.count(cause) }
    counts.count(.silent)
    #expect(counts.total == UInt64(LinkEndCause.allCases.count) + 1 && counts[.silent] == 2)
    let read = try JSONDecoder().decode(CauseCounts.self, from: JSONEncoder().encode(counts))
    #expect(read == counts)
    #expect(try JSONEncoder().encode(CauseCounts()).count == 2)
  }
}
