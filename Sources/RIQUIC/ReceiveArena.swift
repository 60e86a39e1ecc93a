// Where received bytes go. ngtcp2 decrypts into a buffer of its own, which it uses again for the
// next packet, and lends the bytes for the length of a callback: so they are copied once, here,
// into a pooled buffer that the engine can send from or keep. Packets of one stream that follow
// each other lie together there, so that the engine sees one large slice.

import RIBase

/// One pooled buffer being filled, shared by all links of an endpoint.
struct ReceiveArena {
  private let store: BufferStore
  private let pool: PoolID
  private let capacity: Int
  private var buffer: BufferHandle?
  private var used = 0

  init(store: BufferStore, pool: PoolID) {
    self.store = store
    self.pool = pool
    capacity = store[pool].shape.bytes
    precondition(capacity >= 4_096, "received packets need more room")
  }

  /// Makes sure that `bytes` can be copied; false when the pool is empty.
  mutating func prepare(_ bytes: Int) -> Bool {
    if let buffer {
      // Nobody else refers to it: all of it is free again, and warm in the cache.
      if used > 0, store[pool].isUnique(buffer) { used = 0 }
      if capacity - used >= bytes { return true }
      store.release(buffer)
      self.buffer = nil
    }
    guard bytes <= capacity, let fresh = store[pool].take() else { return false }
    buffer = fresh
    used = 0
    return true
  }

  /// Copies bytes and returns where they are, with no reference of its own; nil when there is no
  /// buffer.
  mutating func copy(_ bytes: UnsafeRawBufferPointer) -> Slice? {
    if buffer == nil || capacity - used < bytes.count {
      guard prepare(bytes.count) else { return nil }
    }
    guard let buffer else { return nil }
    let slice = Slice(buffer: buffer, offset: used, count: bytes.count)
    store.mutableBytes(slice).copyMemory(from: bytes)
    used += bytes.count
    return slice
  }

  /// Gives the buffer back when it rests.
  mutating func rest() {
    if let buffer { store.release(buffer) }
    buffer = nil
    used = 0
  }
}
