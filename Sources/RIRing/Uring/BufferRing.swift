// Buffers lent to the kernel: a provided-buffer ring (io_uring_register_buf_ring(3)), and which
// pooled buffer lies in which of its slots.

import CLinuxIO
import Glibc
import RIBase

/// The memory that a provided-buffer ring shares with the kernel. Trivial; unmapped by its owner.
///
/// A buffer's id is its slot, so the buffers of a bundle, which follow each other in the ring, have
/// following ids whatever order they came back in.
struct BufferRing {
  let group: UInt16
  /// A power of two.
  let entries: Int
  private let base: UnsafeMutableRawPointer

  /// Maps and registers a ring, or nil when the kernel refuses.
  init?(_ queue: borrowing UringQueue, group: UInt16, entries: Int) {
    self.group = group
    self.entries = entries
    let mapping = mmap(
      nil, entries * MemoryLayout<io_uring_buf>.stride, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let mapping, mapping != MAP_FAILED else { return nil }
    base = mapping
    var registration = io_uring_buf_reg()
    registration.ring_addr = UInt64(UInt(bitPattern: base))
    registration.ring_entries = UInt32(entries)
    registration.bgid = group
    guard queue.register(&registration) == 0 else {
      unmap()
      return nil
    }
  }

  /// The kernel must not use the ring any more.
  func unmap() {
    munmap(base, entries * MemoryLayout<io_uring_buf>.stride)
  }

  /// Fills a slot in; `publish` then hands it over. Leaves `resv` alone: slot 0's is the tail.
  func put(_ bytes: UnsafeMutableRawPointer, _ count: Int, at slot: Int) {
    // SAFETY: slot < entries, so the pointer is inside the mapping.
    let entry = base.assumingMemoryBound(to: io_uring_buf.self) + slot
    entry.pointee.addr = UInt64(UInt(bitPattern: bytes))
    entry.pointee.len = UInt32(truncatingIfNeeded: count)
    entry.pointee.bid = UInt16(truncatingIfNeeded: slot)
  }

  /// The bytes that a slot's buffer takes. The kernel shortens a buffer to end a bundle at a limit.
  func capacity(of slot: Int) -> Int {
    Int((base.assumingMemoryBound(to: io_uring_buf.self) + slot).pointee.len)
  }

  func publish(tail: UInt16) {
    ri_buffer_ring_publish(base.assumingMemoryBound(to: io_uring_buf_ring.self), tail)
  }
}

/// The buffers of one pool that the kernel holds. Made when the pool is first received into.
struct LentBuffers {
  /// Bytes lent for one pool at a time. The kernel goes through all of them in turn, so they must
  /// be few enough to stay in the second-level cache (512 KiB to 2 MiB a core); the pool itself
  /// hands out what came back last.
  static let bytesMax = 512 << 10
  static let entriesMin = 2
  static let entriesMax = 4096

  let ring: BufferRing
  let bufferBytes: Int
  private let pool: BufferPool
  private let handles: UnsafeMutablePointer<BufferHandle?>
  private var tail: UInt16 = 0
  private(set) var count = 0

  init?(_ queue: borrowing UringQueue, _ pool: BufferPool) {
    let fitting = pool.shape.lentMax ?? Self.bytesMax / pool.shape.bytes
    let wanted = min(pool.shape.count, max(Self.entriesMin, min(Self.entriesMax, fitting)))
    var entries = 1
    while entries < wanted { entries *= 2 }
    guard let ring = BufferRing(queue, group: UInt16(pool.id.rawValue), entries: entries) else {
      return nil
    }
    self.ring = ring
    self.pool = pool
    bufferBytes = pool.shape.bytes
    handles = .allocate(capacity: entries)
    handles.initialize(repeating: nil, count: entries)
  }

  /// Lends free buffers until the ring is full or the pool is empty.
  mutating func refill() {
    let before = tail
    let mask = ring.entries - 1
    while count < ring.entries, handles[Int(tail) & mask] == nil, let handle = pool.take() {
      let slot = Int(tail) & mask
      handles[slot] = handle
      ring.put(pool.pointer(handle), bufferBytes, at: slot)
      tail &+= 1
      count += 1
    }
    if tail != before { ring.publish(tail: tail) }
  }

  /// Takes a buffer back that the kernel has used, with the bytes it could take; nil for a slot
  /// that is not lent.
  mutating func take(_ slot: Int) -> (handle: BufferHandle, capacity: Int)? {
    let slot = slot & (ring.entries - 1)
    guard let handle = handles[slot] else { return nil }
    handles[slot] = nil
    count -= 1
    return (handle, ring.capacity(of: slot))
  }

  /// Gives all buffers back to the pool. The kernel must not use the ring any more.
  func giveBack() {
    for slot in 0..<ring.entries {
      if let handle = handles[slot] { pool.release(handle) }
    }
    handles.deallocate()
  }
}
