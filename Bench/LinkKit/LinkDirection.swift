// One direction of a link as a pure state machine: packets' sizes and the time go in, departures
// come out.
//
//   packet ──▶ queue (drops its tail) ──▶ line (rate) ──▶ loss ──▶ delay, jitter ──▶ departure

/// Decides when a packet leaves the link, or that it does not.
///
/// Every packet draws once from the seed whatever becomes of it, so the fate of packet n depends on
/// the seed and on n, not on how full the queue was. O(1), no memory.
public struct LinkDirection: Sendable {
  public enum Verdict: Equatable, Sendable {
    /// Never before a packet that was admitted earlier.
    case departs(at: UInt64)
    /// Held back; never before an earlier one that was held back too.
    case departsLate(at: UInt64)
    case lost
    case queueFull
  }

  /// The jitter goes from one random value to the next in at least this time.
  private static let jitterPeriodMin: UInt64 = 10_000_000

  private let conditions: LinkConditions
  /// The queue's length as the time that the line needs for it.
  private let queueNanoseconds: UInt64
  private let lossBelow: UInt64
  private let reorderBelow: UInt64
  private let jitterPeriod: UInt64
  private let jitterSeed: UInt64
  private var random: SeededRandom
  /// When the line has sent all it was given, and the fraction of a nanosecond on top of it.
  private var busyUntil: UInt64 = 0
  private var busyRemainder: UInt64 = 0
  /// When the first packet came: jitter counts from there.
  private var origin: UInt64?

  /// `stream` tells the directions of a link apart; they share the conditions' seed. The conditions
  /// have passed their `check`.
  public init(_ conditions: LinkConditions, stream: UInt64) {
    self.conditions = conditions
    let rate = conditions.bitsPerSecond
    queueNanoseconds = rate == 0 ? 0 : UInt64(conditions.queueBytes) * 8_000_000_000 / rate
    lossBelow = UInt64(conditions.lossShare * 4_294_967_296)
    reorderBelow = UInt64(conditions.reorderShare * 4_294_967_296)
    // Twice the whole swing, so that a falling delay never lets a packet overtake.
    jitterPeriod = max(Self.jitterPeriodMin, 4 * conditions.jitterNanoseconds)
    jitterSeed = SeededRandom.value(2 * stream, ofSeed: conditions.seed)
    random = SeededRandom(SeededRandom.value(2 * stream + 1, ofSeed: conditions.seed))
  }

  /// What becomes of a packet of 1 to 65,535 bytes that comes at `now`, which never goes back.
  public mutating func admit(bytes: Int, now: UInt64) -> Verdict {
    let draw = random.next()
    guard let sent = send(bytes, now) else { return .queueFull }
    if draw >> 32 < lossBelow { return .lost }
    let delay = Int64(conditions.delayNanoseconds) + jitter(at: sent)
    let departure = sent + UInt64(delay)
    guard draw & 0xFFFF_FFFF < reorderBelow else { return .departs(at: departure) }
    return .departsLate(at: departure + conditions.reorderNanoseconds)
  }

  /// When the line has sent the packet's last bit; nil when the queue has no room for it.
  private mutating func send(_ bytes: Int, _ now: UInt64) -> UInt64? {
    guard conditions.bitsPerSecond > 0 else { return now }
    if busyUntil < now { (busyUntil, busyRemainder) = (now, 0) }
    let (time, remainder) = (UInt64(bytes) * 8_000_000_000 + busyRemainder)
      .quotientAndRemainder(dividingBy: conditions.bitsPerSecond)
    // An idle line takes any packet, however small the queue is.
    guard busyUntil == now || busyUntil + time - now <= queueNanoseconds else { return nil }
    (busyUntil, busyRemainder) = (busyUntil + time, remainder)
    return busyUntil
  }

  /// Straight lines between random values: it changes by at most half of the time that passes, so
  /// order is kept.
  private mutating func jitter(at time: UInt64) -> Int64 {
    guard conditions.jitterNanoseconds > 0 else { return 0 }
    let start = origin ?? time
    origin = start
    let (period, into) = (time - start).quotientAndRemainder(dividingBy: jitterPeriod)
    let (from, to) = (jitterValue(period), jitterValue(period + 1))
    return from + (to - from) * Int64(into) / Int64(jitterPeriod)
  }

  private func jitterValue(_ period: UInt64) -> Int64 {
    let draw = SeededRandom.value(period, ofSeed: jitterSeed)
    let swing = 2 * conditions.jitterNanoseconds + 1
    return Int64(draw.multipliedFullWidth(by: swing).high) - Int64(conditions.jitterNanoseconds)
  }
}
