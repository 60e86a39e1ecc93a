// The way from a client's address to its UDP session.

import RIBase

/// Sessions by client and listener: an open-addressing hash table with linear probing, like
/// `StreamTable`. Clients choose their addresses, so the hash is made of a seed.
struct SessionIndex {
  private struct Entry {
    var hash: UInt32 = 0
    var id = SlotID.none
  }

  private var entries = Array(repeating: Entry(), count: 16)
  private var count = 0
  private let seed: UInt64

  init(seed: UInt64) { self.seed = seed }

  private var mask: Int { entries.count - 1 }

  /// Two rounds of multiply and fold (as in wyhash) over address, port and listener. Nobody outside
  /// knows either factor.
  func hash(_ client: SocketAddress, _ listener: SlotID) -> UInt32 {
    let second = seed &* 0x9E37_79B9_7F4A_7C15 ^ (seed >> 32)
    let rest = UInt64(client.port) << 48 | UInt64(listener.index & 0xFFFF) << 32
    var h = fold(client.ip.high ^ seed, client.ip.low ^ second)
    h = fold(h ^ rest ^ UInt64(client.scope), second ^ 0xD6E8_FEB8_6659_FD93)
    return UInt32(truncatingIfNeeded: h ^ (h >> 32))
  }

  private func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return product.high ^ product.low
  }

  func find(hash: UInt32, _ isWanted: (SlotID) -> Bool) -> SlotID? {
    var i = Int(hash) & mask
    while entries[i].id != .none {
      if entries[i].hash == hash, isWanted(entries[i].id) { return entries[i].id }
      i = (i + 1) & mask
    }
    return nil
  }

  mutating func insert(_ id: SlotID, hash: UInt32) {
    if 4 * (count + 1) > 3 * entries.count { grow() }
    place(Entry(hash: hash, id: id))
    count += 1
  }

  /// The session is in the table. What had to step over it moves up, so that no mark is left.
  mutating func remove(_ id: SlotID, hash: UInt32) {
    var hole = Int(hash) & mask
    while entries[hole].id != id {
      precondition(entries[hole].id != .none, "a session that is not in the table")
      hole = (hole + 1) & mask
    }
    var i = (hole + 1) & mask
    while entries[i].id != .none {
      if (i - Int(entries[i].hash)) & mask >= (i - hole) & mask {
        entries[hole] = entries[i]
        hole = i
      }
      i = (i + 1) & mask
    }
    entries[hole] = Entry()
    count -= 1
  }

  private mutating func place(_ entry: Entry) {
    var i = Int(entry.hash) & mask
    while entries[i].id != .none { i = (i + 1) & mask }
    entries[i] = entry
  }

  private mutating func grow() {
    let old = entries
    entries = Array(repeating: Entry(), count: 2 * old.count)
    for entry in old where entry.id != .none { place(entry) }
  }
}
