// Timers of a shard: a hierarchical wheel (Varghese and Lauck 1987) of ticks of about a
// millisecond.
//
// Level 0 has a slot for each of 64 ticks, level 1 one for each of 64 * 64, and so on. A timer lies
// on the level of the highest six bits in which its tick differs from the current one, so all
// timers of a level are due before those of the level above. When time reaches a slot above level
// 0, its timers move down.

/// Names one timer from its scheduling until it expires or is cancelled.
public struct TimerID: Hashable, Sendable {
  let slot: SlotID

  /// Names no timer.
  public static let none = TimerID(slot: .none)
}

/// A set of timers, each with 64 bits of its owner's that are handed back when it expires.
///
/// A timer expires less than a tick (`tickNanoseconds`) late and never early. Scheduling, changing
/// and cancelling cost O(1) and allocate only while the number of timers grows past its peak. Not
/// safe for use by two threads.
public final class TimerWheel {
  public static let tickNanoseconds: UInt64 = 1 << tickBits

  private static let tickBits: UInt64 = 20
  private static let levelBits = 6
  private static let slotsPerLevel = 1 << levelBits
  /// Enough for every tick of a 64-bit clock: 44 bits.
  private static let levelCount = 8
  /// The list of timers that are due, behind those of the slots.
  private static let dueList = levelCount * slotsPerLevel

  private struct Timer {
    let payload: UInt64
    var tick: UInt64
    var list = 0
    var previous = SlotID.none
    var next = SlotID.none
  }

  private struct List {
    var first = SlotID.none
    var last = SlotID.none
  }

  private let timers: Slab<Timer>
  private let lists: UnsafeMutableBufferPointer<List>
  /// For each level the slots that hold timers, slot 0 in the lowest bit.
  private let occupied: UnsafeMutableBufferPointer<UInt64>
  /// Timers of this tick and before are due or expired.
  @exclusivity(unchecked) private var elapsedTick: UInt64

  /// An empty wheel for at most `capacity` timers.
  public init(capacity: Int, now: Instant) {
    timers = Slab(capacity: capacity)
    // SAFETY: both arrays are the wheel's own, trivial, initialised here and freed in deinit. A
    // list is dueList or level * 64 + slot; two 44-bit ticks differ below bit 48, so level < 8.
    lists = .allocate(capacity: Self.dueList + 1)
    lists.initialize(repeating: List())
    occupied = .allocate(capacity: Self.levelCount)
    occupied.initialize(repeating: 0)
    elapsedTick = now.nanoseconds >> Self.tickBits
  }

  deinit {
    lists.deallocate()
    occupied.deallocate()
  }

  /// Timers scheduled and not yet handed out.
  public var count: Int { timers.count }

  // MARK: Verbs

  /// Schedules a timer; nil when there are `capacity` already. One in the past expires with the
  /// next tick.
  public func schedule(_ payload: UInt64, at deadline: Instant) -> TimerID? {
    guard let slot = timers.insert(Timer(payload: payload, tick: tick(of: deadline))) else {
      return nil
    }
    place(slot)
    return TimerID(slot: slot)
  }

  /// Moves a timer to another time. False when it has expired or was cancelled.
  @discardableResult
  public func reschedule(_ id: TimerID, at deadline: Instant) -> Bool {
    guard timers.contains(id.slot) else { return false }
    unlink(id.slot)
    timers[id.slot].tick = tick(of: deadline)
    place(id.slot)
    return true
  }

  /// Drops a timer. False when it has expired or was cancelled.
  @discardableResult
  public func cancel(_ id: TimerID) -> Bool {
    guard timers.contains(id.slot) else { return false }
    unlink(id.slot)
    timers.remove(id.slot)
    return true
  }

  // MARK: Time

  /// When `expire` should be called next: never later than the tick of the earliest timer, but
  /// perhaps earlier when that is more than 64 ticks away. Nil without timers.
  public var nextDeadline: Instant? {
    if lists[Self.dueList].first != .none {
      return Instant(nanoseconds: elapsedTick << Self.tickBits)
    }
    guard let slot = earliestSlot() else { return nil }
    // The last tick of the clock has no nanosecond behind it.
    return Instant(nanoseconds: slot.tick < 1 << 44 ? slot.tick << Self.tickBits : .max)
  }

  /// Hands out the payloads of all timers that are due, the earliest tick first. `body` may
  /// schedule, move and cancel timers; what it schedules is not due before the next tick.
  public func expire(now: Instant, _ body: (UInt64) -> Void) {
    while let payload = pollExpired(now: now) { body(payload) }
  }

  /// The payload of the next timer that is due, or nil. The timer is gone then.
  public func pollExpired(now: Instant) -> UInt64? {
    if lists[Self.dueList].first == .none { advance(to: now.nanoseconds >> Self.tickBits) }
    let slot = lists[Self.dueList].first
    guard slot != .none else { return nil }
    unlink(slot)
    return timers.remove(slot)?.payload
  }

  /// Makes due what lies up to `tick`. Time that goes backwards is time that stands still.
  private func advance(to tick: UInt64) {
    while let slot = earliestSlot(), slot.tick <= tick {
      elapsedTick = slot.tick
      while true {
        let timer = lists[slot.list].first
        guard timer != .none else { break }
        unlink(timer)
        if timers[timer].tick <= elapsedTick {
          link(timer, into: Self.dueList)
        } else {
          place(timer)
        }
      }
    }
    elapsedTick = max(elapsedTick, tick)
  }

  /// The first tick of the earliest slot that holds timers.
  private func earliestSlot() -> (list: Int, tick: UInt64)? {
    for level in 0..<Self.levelCount where occupied[level] != 0 {
      let slot = occupied[level].trailingZeroBitCount
      let shift = UInt64(level * Self.levelBits)
      let above = (elapsedTick >> shift) >> UInt64(Self.levelBits)
      let tick = (above << UInt64(Self.levelBits) | UInt64(slot)) << shift
      return (level * Self.slotsPerLevel + slot, tick)
    }
    return nil
  }

  /// The tick at which a deadline has passed, rounded up and at least the next one.
  private func tick(of deadline: Instant) -> UInt64 {
    let whole = deadline.nanoseconds >> Self.tickBits
    let isWhole = deadline.nanoseconds & (Self.tickNanoseconds - 1) == 0
    return max(isWhole ? whole : whole + 1, elapsedTick + 1)
  }

  // MARK: Lists

  /// Links a timer into the slot of its tick, which lies behind the current one.
  private func place(_ id: SlotID) {
    let tick = timers[id].tick
    let level = (63 - (tick ^ elapsedTick).leadingZeroBitCount) / Self.levelBits
    let slot = Int(tick >> UInt64(level * Self.levelBits)) & (Self.slotsPerLevel - 1)
    link(id, into: level * Self.slotsPerLevel + slot)
    occupied[level] |= 1 << UInt64(slot)
  }

  private func link(_ id: SlotID, into list: Int) {
    let last = lists[list].last
    timers[id].list = list
    timers[id].previous = last
    timers[id].next = .none
    if last == .none { lists[list].first = id } else { timers[last].next = id }
    lists[list].last = id
  }

  private func unlink(_ id: SlotID) {
    let timer = timers[id]
    if timer.previous == .none {
      lists[timer.list].first = timer.next
    } else {
      timers[timer.previous].next = timer.next
    }
    if timer.next == .none {
      lists[timer.list].last = timer.previous
    } else {
      timers[timer.next].previous = timer.previous
    }
    if lists[timer.list].first == .none, timer.list != Self.dueList {
      occupied[timer.list / Self.slotsPerLevel] &=
        ~(1 << UInt64(timer.list % Self.slotsPerLevel))
    }
  }
}
