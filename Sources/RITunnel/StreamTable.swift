// Streams by their id on the wire: an open-addressing hash table with linear probing.

import RIBase

/// Finds a stream's slot by its id. Find, insert and remove take O(1) and allocate nothing, but for
/// the insert that doubles the table when it is three quarters full: at most
/// log2(`Limits.streamsPerTunnelMax`) times in a tunnel's life.
///
/// The peer chooses the ids, so the multiplier that spreads them is made of a seed.
package struct StreamTable {
  /// Id 0 names no stream: it marks a free entry.
  private struct Entry {
    var id: UInt32 = 0
    var slot = SlotID.none
  }

  private var entries: [Entry]
  private var mask: Int
  private var shift: UInt64
  private let multiplier: UInt64
  package private(set) var count = 0

  package init(seed: UInt64, capacity: Int = 16) {
    precondition(capacity > 0 && capacity & (capacity - 1) == 0)
    entries = Array(repeating: Entry(), count: capacity)
    mask = capacity - 1
    shift = UInt64(64 - capacity.trailingZeroBitCount)
    // Multiply-shift hashing wants any odd number; the golden ratio spreads consecutive ids evenly.
    multiplier = (0x9E37_79B9_7F4A_7C15 ^ (seed << 1)) | 1
  }

  package func find(_ id: UInt32) -> SlotID? {
    guard id != 0 else { return nil }
    var i = home(id)
    while entries[i].id != 0 {
      if entries[i].id == id { return entries[i].slot }
      i = (i + 1) & mask
    }
    return nil
  }

  /// `id` is not 0 and not in the table.
  package mutating func insert(_ id: UInt32, _ slot: SlotID) {
    precondition(id != 0)
    if 4 * (count + 1) > 3 * entries.count { grow() }
    place(Entry(id: id, slot: slot))
    count += 1
  }

  /// Removes the id if it is there, and moves up what had to step over it, so that no mark is left.
  package mutating func remove(_ id: UInt32) {
    guard id != 0 else { return }
    var hole = home(id)
    while entries[hole].id != id {
      guard entries[hole].id != 0 else { return }
      hole = (hole + 1) & mask
    }
    var i = (hole + 1) & mask
    while entries[i].id != 0 {
      // An entry may fill the hole unless its home lies behind the hole.
      if (i - home(entries[i].id)) & mask >= (i - hole) & mask {
        entries[hole] = entries[i]
        hole = i
      }
      i = (i + 1) & mask
    }
    entries[hole] = Entry()
    count -= 1
  }

  private func home(_ id: UInt32) -> Int {
    Int(truncatingIfNeeded: (UInt64(id) &* multiplier) >> shift)
  }

  private mutating func place(_ entry: Entry) {
    var i = home(entry.id)
    while entries[i].id != 0 {
      assert(entries[i].id != entry.id)
      i = (i + 1) & mask
    }
    entries[i] = entry
  }

  private mutating func grow() {
    let old = entries
    entries = Array(repeating: Entry(), count: 2 * old.count)
    mask = entries.count - 1
    shift -= 1
    for entry in old where entry.id != 0 { place(entry) }
  }
}
