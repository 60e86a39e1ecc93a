// Which streams are sustained flows (SPEC 2.5): bulk that can wait for what is short.

import RIBase

/// Counts a stream's bytes, both ways, since it was opened.
///
/// Sustained is a stream that is more than 10 s old and has moved more than 20 Mbit/s on average
/// over its life. The verdict is for good, which is for the caller to remember.
package struct FlowClassifier {
  package let openedAt: Instant
  package private(set) var bytes: UInt64 = 0

  package init(now: Instant) { openedAt = now }

  /// Counts bytes and says whether the stream is sustained at `now`.
  @inline(__always)
  package mutating func moved(_ count: Int, now: Instant) -> Bool {
    bytes &+= UInt64(count)
    let age = now - openedAt
    guard age > Limits.sustainedAge else { return false }
    // Bytes a microsecond are MB a second: 2.5 of them are 20 Mbit/s.
    let microseconds = UInt64(age.nanoseconds) / 1_000
    return bytes > microseconds / 1_000 * Limits.sustainedBytesPerMillisecond
  }
}
