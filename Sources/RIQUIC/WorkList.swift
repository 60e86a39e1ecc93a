// Which tunnels are to be looked at.

import RIBase

/// Slots of tunnels to look at, first in first out. Allocates only to grow.
struct WorkList {
  private var slots: [SlotID] = []
  private var head = 0

  var isEmpty: Bool { head == slots.count }
  var first: SlotID? { isEmpty ? nil : slots[head] }

  mutating func append(_ slot: SlotID) {
    if head < slots.count, slots[slots.count - 1] == slot { return }
    slots.append(slot)
  }

  mutating func popFirst() -> SlotID? {
    guard !isEmpty else { return nil }
    let slot = slots[head]
    head += 1
    if head == slots.count {
      slots.removeAll(keepingCapacity: true)
      head = 0
    }
    return slot
  }
}
