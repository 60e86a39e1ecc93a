// How much of each tier is under way, so that sustained flows make room for what is short.
//
// A line of data that is empty for the moment does not mean that nobody needs the path: a short
// transfer spends most of its time waiting for its window. Were sustained flows to fill each such
// gap with all that their windows allow, it would wait behind that instead.

import RIBase

/// What sustained streams have under way, and what data has sent lately. Estimates by the sender.
struct TierFlight {
  /// Of all sustained streams: what they sent and got no credit for, and their windows.
  private(set) var sustainedBytes = 0
  private(set) var sustainedWindowBytes = 0

  private var spanBegan = Instant(nanoseconds: 0)
  private var dataBytes = 0
  private var dataBytesBefore = 0

  /// Counts a window among the sustained ones.
  mutating func add(_ window: SendWindow) {
    sustainedBytes += window.inFlight
    sustainedWindowBytes += Int(window.size)
  }

  mutating func remove(_ window: SendWindow) {
    sustainedBytes -= window.inFlight
    sustainedWindowBytes -= Int(window.size)
  }

  /// Counts bytes of the data tier. `roundTrip` is the path's.
  mutating func dataSent(_ bytes: Int, now: Instant, roundTrip: Interval) {
    advance(now, roundTrip)
    dataBytes += bytes
  }

  /// What sustained streams may add to what is under way: their windows, less what data sends
  /// in a round trip; but a part of their windows always, whose credit then says when there is more
  /// room.
  mutating func sustainedRoom(now: Instant, roundTrip: Interval) -> Int {
    advance(now, roundTrip)
    let least = Limits.sustainedFlightBytesMin
    let share = sustainedWindowBytes - max(dataBytes, dataBytesBefore)
    return max(least, share) - sustainedBytes
  }

  /// Data is counted by spans of a round trip, or some batches at least.
  private mutating func advance(_ now: Instant, _ roundTrip: Interval) {
    let span = max(roundTrip, Limits.dataFlightSpanMin)
    let elapsed = now - spanBegan
    guard elapsed >= span else { return }
    dataBytesBefore = elapsed >= Interval(nanoseconds: 2 * span.nanoseconds) ? 0 : dataBytes
    dataBytes = 0
    spanBegan = now
  }
}
