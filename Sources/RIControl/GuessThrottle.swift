// Who guesses secrets is answered later and later (SPEC 2.1). A right secret is never held up, so
// nobody who shares an address with a guesser, or a proxy with the whole world, waits for it. And
// as that makes silence an answer too, each wrong guess keeps its place among the handshakes of its
// source until its answer was due: `Limits.handshakesPerSourceMax` of them in `guessDelayMax`.

import RIBase

/// Counts wrong secrets by source address (an IPv6 /64 counts as one). Memory is bounded.
public struct GuessThrottle: Sendable {
  private struct Record {
    var count: Int
    var last: Instant
  }

  private let sourcesMax: Int
  private var records: [IPAddress: Record] = [:]

  public init(sourcesMax: Int = Limits.guessingSourcesMax) { self.sourcesMax = sourcesMax }

  /// Sources that are remembered.
  var sourceCount: Int { records.count }

  /// A wrong secret or an unknown id came from `address`: how long the answer is to wait.
  ///
  /// The first `Limits.guessesFree` are answered at once, then the wait doubles from 1 s to
  /// `Limits.guessDelayMax`. One guess is forgotten each `Limits.guessForgottenAfter`.
  public mutating func refused(_ address: IPAddress, now: Instant) -> Interval {
    let source = address.source
    if records[source] == nil, records.count >= sourcesMax { makeRoom(now: now) }
    var record = records[source] ?? Record(count: 0, last: now)
    record.count = Self.remembered(record, now: now) + 1
    record.last = now
    records[source] = record
    let excess = record.count - Limits.guessesFree
    guard excess > 0 else { return .zero }
    return min(.seconds(1 << Int64(min(excess - 1, 10))), Limits.guessDelayMax)
  }

  private static func remembered(_ record: Record, now: Instant) -> Int {
    let forgotten = (now - record.last).nanoseconds / Limits.guessForgottenAfter.nanoseconds
    return max(0, min(record.count, Limits.guessesFree + 10) - Int(clamping: forgotten))
  }

  /// Forgets whose guesses are forgotten; should there be none, who was here longest ago.
  private mutating func makeRoom(now: Instant) {
    records = records.filter { Self.remembered($0.value, now: now) > 0 }
    guard records.count >= sourcesMax,
      let oldest = records.min(by: { $0.value.last < $1.value.last })
    else { return }
    records[oldest.key] = nil
  }
}
