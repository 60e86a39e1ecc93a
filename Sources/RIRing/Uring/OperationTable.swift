// The operations under way: slots that completions name, and the way from a token to its slot.

import RIBase

/// One operation under way. Trivial.
struct Operation {
  enum Kind: UInt8 {
    /// The kernel picks buffers.
    case receive
    /// We wait for data, then receive it by a call into a buffer of our own.
    case polledReceive
    case datagrams
    case polledDatagrams
    case send
    case accept
    /// Done with its first completion.
    case single
    case timeout
  }

  var token: Token
  var kind: Kind
  var mode = SendMode.some
  var pool = PoolID(0)
  /// The caller wants it to end: it is not continued.
  var isCancelled = false
  /// -1: no socket.
  var descriptor: Int32
  /// The neighbours in the list of the socket's operations; `next` also links free slots.
  var next = OperationTable.none
  var previous = OperationTable.none
  /// Bytes that it may still receive or has still to send.
  var remaining = 0
  /// Bytes sent.
  var done = 0
  var queue = SliceQueue()
}

/// Slots that never move, so that their number can be the kernel's user data. Insert, find and
/// remove are O(1); memory grows in chunks to the largest number of operations ever under way.
struct OperationTable: ~Copyable {
  static let none = UInt32.max
  /// Two operations for each of a shard's sockets, its timers and closes among them.
  static let capacity = 2 * Limits.connectionsMax
  private static let chunkSlots = 1024

  private let chunks: UnsafeMutablePointer<UnsafeMutablePointer<Operation>>
  private var slotCount: UInt32 = 0
  private var firstFree = none
  private(set) var count = 0

  /// Open addressing by token, linear probing; at most half full. Holds slots or `none`.
  private var index: UnsafeMutablePointer<UInt32>
  private var indexBits: UInt64

  init() {
    chunks = .allocate(capacity: Self.capacity / Self.chunkSlots)
    indexBits = 11
    index = .allocate(capacity: 1 << indexBits)
    index.initialize(repeating: Self.none, count: 1 << indexBits)
  }

  deinit {
    for i in 0..<Int(slotCount) / Self.chunkSlots { chunks[i].deallocate() }
    chunks.deallocate()
    index.deallocate()
  }

  /// The operation in a slot that `insert` gave out.
  subscript(slot: UInt32) -> UnsafeMutablePointer<Operation> {
    // SAFETY: below slotCount, so the chunk exists; chunks are never moved or freed before deinit.
    precondition(slot < slotCount)
    return chunks[Int(slot) / Self.chunkSlots] + Int(slot) % Self.chunkSlots
  }

  /// Takes a slot, or returns nil when all are taken.
  mutating func insert(_ operation: Operation) -> UInt32? {
    if firstFree == Self.none, !grow() { return nil }
    let slot = firstFree
    firstFree = self[slot].pointee.next
    self[slot].initialize(to: operation)
    count += 1
    var place = home(operation.token)
    while index[place] != Self.none { place = (place + 1) & mask }
    index[place] = slot
    return slot
  }

  /// The slot of the operation that a token names.
  func find(_ token: Token) -> UInt32? {
    var place = home(token)
    while index[place] != Self.none {
      if self[index[place]].pointee.token == token { return index[place] }
      place = (place + 1) & mask
    }
    return nil
  }

  mutating func remove(_ slot: UInt32) {
    unindex(slot)
    self[slot].pointee.next = firstFree
    firstFree = slot
    count -= 1
  }

  // MARK: Index

  private var mask: Int { 1 << indexBits - 1 }

  private func home(_ token: Token) -> Int {
    // Fibonacci hashing: tokens are counters and packed fields, alike in most of their bits.
    Int((token.rawValue &* 0x9E37_79B9_7F4A_7C15) >> (64 - indexBits))
  }

  /// Closes the gap by moving back what was pushed past it.
  private func unindex(_ slot: UInt32) {
    var gap = home(self[slot].pointee.token)
    while index[gap] != slot { gap = (gap + 1) & mask }
    var place = (gap + 1) & mask
    while index[place] != Self.none {
      let pushed = (place - home(self[index[place]].pointee.token)) & mask
      if pushed >= (place - gap) & mask {
        index[gap] = index[place]
        gap = place
      }
      place = (place + 1) & mask
    }
    index[gap] = Self.none
  }

  private mutating func grow() -> Bool {
    guard Int(slotCount) + Self.chunkSlots <= Self.capacity else { return false }
    let chunk = UnsafeMutablePointer<Operation>.allocate(capacity: Self.chunkSlots)
    chunks[Int(slotCount) / Self.chunkSlots] = chunk
    for i in 0..<Self.chunkSlots {
      var free = Operation(token: Token(0), kind: .single, descriptor: -1)
      free.next = i + 1 < Self.chunkSlots ? slotCount + UInt32(i) + 1 : Self.none
      (chunk + i).initialize(to: free)
    }
    firstFree = slotCount
    slotCount += UInt32(Self.chunkSlots)
    if Int(slotCount) * 2 > 1 << indexBits { growIndex() }
    return true
  }

  private mutating func growIndex() {
    let old = index
    let oldCount = 1 << indexBits
    indexBits += 1
    index = .allocate(capacity: 1 << indexBits)
    index.initialize(repeating: Self.none, count: 1 << indexBits)
    for i in 0..<oldCount where old[i] != Self.none {
      var place = home(self[old[i]].pointee.token)
      while index[place] != Self.none { place = (place + 1) & mask }
      index[place] = old[i]
    }
    old.deallocate()
  }
}
