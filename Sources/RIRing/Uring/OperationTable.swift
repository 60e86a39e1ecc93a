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
  /// A send that the kernel takes whole at once, without a completion, or answers with one.
  var isSilent = false
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

  private var slots = TokenTable()

  init() {
    chunks = .allocate(capacity: Self.capacity / Self.chunkSlots)
  }

  deinit {
    for i in 0..<Int(slotCount) / Self.chunkSlots { chunks[i].deallocate() }
    chunks.deallocate()
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
    slots.insert(operation.token, UInt64(slot))
    return slot
  }

  /// The slot of the operation that a token names.
  func find(_ token: Token) -> UInt32? {
    slots.find(token).map { UInt32(truncatingIfNeeded: $0) }
  }

  mutating func remove(_ slot: UInt32) {
    slots.remove(self[slot].pointee.token)
    self[slot].pointee.next = firstFree
    firstFree = slot
    count -= 1
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
    return true
  }
}
