// Timeouts in the order of their deadlines.

import RIBase

/// A binary heap of timeouts; equal deadlines keep the order of insertion. Insert, cancel and pop
/// are O(log n); memory grows with the largest number ever pending at once.
struct TimerHeap: ~Copyable {
  private struct Timer {
    var deadline: Instant
    var order: UInt64
    var token: Token
    /// Place in the heap, or the next free slot.
    var place: UInt32
  }

  /// Slot numbers as a heap; slots stay where they are, so that they can be named.
  private var heap: UnsafeMutablePointer<UInt32>
  private var slots: UnsafeMutablePointer<Timer>
  private var capacity = 256
  private var slotsUsed = 0
  private var freeSlot = UInt32.max
  private var order: UInt64 = 0
  private(set) var count = 0

  init() {
    heap = .allocate(capacity: capacity)
    slots = .allocate(capacity: capacity)
  }

  deinit {
    heap.deallocate()
    slots.deallocate()
  }

  /// The earliest deadline.
  var first: Instant? { count == 0 ? nil : slots[Int(heap[0])].deadline }

  /// Adds a timeout and names its slot, which stays its own until popped or removed.
  mutating func insert(_ deadline: Instant, _ token: Token) -> UInt32 {
    if freeSlot == .max, slotsUsed == capacity { grow() }
    let slot: UInt32
    if freeSlot == .max {
      slot = UInt32(slotsUsed)
      slotsUsed += 1
    } else {
      slot = freeSlot
      freeSlot = slots[Int(slot)].place
    }
    order += 1
    slots[Int(slot)] = Timer(deadline: deadline, order: order, token: token, place: 0)
    count += 1
    settle(slot, at: count - 1)
    return slot
  }

  /// Removes the earliest timeout if it is due.
  mutating func pop(at now: Instant) -> Token? {
    guard count > 0, slots[Int(heap[0])].deadline <= now else { return nil }
    let slot = heap[0]
    remove(slot)
    return slots[Int(slot)].token
  }

  mutating func remove(_ slot: UInt32) {
    let place = Int(slots[Int(slot)].place)
    count -= 1
    if place < count { settle(heap[count], at: place) }
    slots[Int(slot)].place = freeSlot
    freeSlot = slot
  }

  /// Puts a slot at `place` or where it belongs above or below it.
  private func settle(_ slot: UInt32, at place: Int) {
    var i = place
    while i > 0, isBefore(slot, heap[(i - 1) / 2]) {
      put(heap[(i - 1) / 2], at: i)
      i = (i - 1) / 2
    }
    while true {
      var child = 2 * i + 1
      guard child < count else { break }
      if child + 1 < count, isBefore(heap[child + 1], heap[child]) { child += 1 }
      guard isBefore(heap[child], slot) else { break }
      put(heap[child], at: i)
      i = child
    }
    put(slot, at: i)
  }

  private func put(_ slot: UInt32, at place: Int) {
    heap[place] = slot
    slots[Int(slot)].place = UInt32(place)
  }

  private func isBefore(_ a: UInt32, _ b: UInt32) -> Bool {
    let a = slots[Int(a)]
    let b = slots[Int(b)]
    return a.deadline != b.deadline ? a.deadline < b.deadline : a.order < b.order
  }

  private mutating func grow() {
    let heap = UnsafeMutablePointer<UInt32>.allocate(capacity: capacity * 2)
    let slots = UnsafeMutablePointer<Timer>.allocate(capacity: capacity * 2)
    // SAFETY: both hold trivial values; the first `count` and `slotsUsed` of them are initialised.
    heap.update(from: self.heap, count: count)
    slots.update(from: self.slots, count: slotsUsed)
    self.heap.deallocate()
    self.slots.deallocate()
    self.heap = heap
    self.slots = slots
    capacity *= 2
  }
}
