// How large a window should be with the extension `autoWindow`: as large as the path needs.

import RIBase

/// Watches what a stream's reader consumes in a round trip.
///
/// A quarter of the window or more in one round trip: the window doubles. Less than a sixteenth, or
/// more than half of it still unread at the end of the trip: it halves, as it does at the end of a
/// pause. So a stream that is read as fast as it arrives has four to sixteen round trips' worth of
/// bytes, and one that is not read keeps the window it began with. (One trip would do were nothing
/// ever lost: what TCP sends again holds up all that is behind it for another trip or two, and the
/// credit for it comes that much later.)
///
/// The round trip is the path's, without our own queues: it must not grow with the window. It is
/// taken for at least `Limits.windowRoundTripMin`.
package struct WindowTuner {
  package private(set) var target: Int32
  /// The trip being watched.
  private var tripBytes: UInt32 = 0
  private var tripBegan: Instant

  package init(limits: WindowLimits, now: Instant) {
    target = Int32(limits.autoBytesMin)
    tripBegan = now
  }

  /// Counts bytes written to the local socket; `buffered` are still to be. `mayGrow` is asked
  /// before the window grows by so many bytes.
  package mutating func consumed(
    _ bytes: Int, buffered: Int, now: Instant, roundTrip: Interval, limits: WindowLimits,
    mayGrow: (Int) -> Bool
  ) {
    tripBytes = UInt32(clamping: Int(tripBytes) + bytes)
    let elapsed = now - tripBegan
    guard elapsed >= roundTrip else { return }
    let perTrip =
      Double(tripBytes) * Double(roundTrip.nanoseconds) / Double(elapsed.nanoseconds)
    let window = Double(target)
    if perTrip >= window / 4, buffered <= Int(target) / 2 {
      let larger = min(2 * Int(target), limits.autoBytesMax)
      if larger > Int(target), mayGrow(larger - Int(target)) { target = Int32(larger) }
    } else if perTrip < window / 16 || buffered > Int(target) / 2 {
      target = Int32(max(Int(target) / 2, limits.autoBytesMin))
    }
    tripBegan = now
    tripBytes = 0
  }
}
