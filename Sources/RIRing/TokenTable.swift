// Finds a pending operation by its token.

import RIBase

/// A hash table from tokens to numbers: open addressing, linear probing, and no tombstones. Memory
/// grows with the largest number of operations ever pending at once.
struct TokenTable: ~Copyable {
  private struct Entry {
    var token: UInt64
    var value: UInt64
  }

  /// The token of free places: the one reserved for rings.
  private static let free = UInt64.max
  private var entries: UnsafeMutablePointer<Entry>
  private var mask: Int
  private(set) var count = 0

  init() {
    mask = 255
    entries = Self.makeEntries(256)
  }

  deinit { entries.deallocate() }

  /// Adds a token that is not in the table.
  mutating func insert(_ token: Token, _ value: UInt64) {
    precondition(token.rawValue != Self.free, "the token is reserved")
    if count * 2 > mask { grow() }
    place(Entry(token: token.rawValue, value: value))
    count += 1
  }

  func find(_ token: Token) -> UInt64? {
    var i = home(token.rawValue)
    while entries[i].token != token.rawValue {
      if entries[i].token == Self.free { return nil }
      i = (i + 1) & mask
    }
    return entries[i].value
  }

  /// Removes a token if it is there, and moves up the entries behind it that belong before it.
  mutating func remove(_ token: Token) {
    var hole = home(token.rawValue)
    while entries[hole].token != token.rawValue {
      if entries[hole].token == Self.free { return }
      hole = (hole + 1) & mask
    }
    count -= 1
    var i = hole
    while true {
      i = (i + 1) & mask
      if entries[i].token == Self.free { break }
      // Distances from home: an entry may move to the hole unless its home lies behind the hole.
      if (i &- home(entries[i].token)) & mask >= (i &- hole) & mask {
        entries[hole] = entries[i]
        hole = i
      }
    }
    entries[hole].token = Self.free
  }

  private func home(_ token: UInt64) -> Int {
    // Fibonacci hashing: tokens differ in their low bits or in their high bits.
    Int(truncatingIfNeeded: (token &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
  }

  private func place(_ entry: Entry) {
    var i = home(entry.token)
    while entries[i].token != Self.free {
      precondition(entries[i].token != entry.token, "the token is in use")
      i = (i + 1) & mask
    }
    entries[i] = entry
  }

  private mutating func grow() {
    let old = entries
    let oldMask = mask
    mask = mask * 2 + 1
    entries = Self.makeEntries(mask + 1)
    for i in 0...oldMask where old[i].token != Self.free { place(old[i]) }
    old.deallocate()
  }

  private static func makeEntries(_ count: Int) -> UnsafeMutablePointer<Entry> {
    // SAFETY: all `mask + 1` entries are initialised here, and every index is masked.
    let entries = UnsafeMutablePointer<Entry>.allocate(capacity: count)
    entries.initialize(repeating: Entry(token: free, value: 0), count: count)
    return entries
  }
}
