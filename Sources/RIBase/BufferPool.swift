// A pool of buffers of one size in one mapping, lent by handle and counted by reference.

import Glibc

/// Which pool of a `BufferStore` a buffer belongs to.
public struct PoolID: Hashable, Sendable {
  public let rawValue: UInt8
  @inlinable
  public init(_ rawValue: UInt8) { self.rawValue = rawValue }
}

/// Names one loan of one buffer. Trivial: copying it does not count as a reference.
///
/// Layout: index (24 bits) | pool (8 bits) | generation (32 bits). A buffer's generation grows with
/// each return, so a handle that outlived its loan is recognised.
public struct BufferHandle: Hashable, Sendable {
  public let rawValue: UInt64

  @inlinable
  init(pool: PoolID, index: Int, generation: UInt32) {
    rawValue = UInt64(generation) << 32 | UInt64(pool.rawValue) << 24 | UInt64(index)
  }

  /// Names no buffer: no loan has the generation and the index of this one.
  @inlinable
  public static var nothing: BufferHandle {
    BufferHandle(pool: PoolID(.max), index: 0xFF_FFFF, generation: .max)
  }

  @inlinable
  public var pool: PoolID { PoolID(UInt8(truncatingIfNeeded: rawValue >> 24)) }
  @inlinable
  public var index: Int { Int(rawValue & 0xFF_FFFF) }
  @inlinable
  public var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }
}

/// What a pool looks like.
public struct BufferPoolShape: Sendable {
  /// Number of buffers, 1 to 2^24 - 1.
  public var count: Int
  /// Usable bytes of each buffer.
  public var bytes: Int
  /// Bytes in front of each buffer where a reader may put what it carries over from the one before,
  /// so that both lie together.
  public var headroomBytes: Int
  /// Buffers that a ring lends the kernel at a time; nil: by their bytes.
  public var lentMax: Int?

  public init(count: Int, bytes: Int, headroomBytes: Int = 0, lentMax: Int? = nil) {
    self.count = count
    self.bytes = bytes
    self.headroomBytes = headroomBytes
    self.lentMax = lentMax
  }
}

/// Buffers of one size. Memory is mapped whole at start and touched on first use only.
///
/// Ownership: `take` lends a buffer with one reference; whoever holds the last reference gives it
/// back by `release`. Not safe for use by two threads: one shard owns it.
public final class BufferPool {
  public let id: PoolID
  public let shape: BufferPoolShape
  let strideBytes: Int
  let base: UnsafeMutableRawPointer
  let references: UnsafeMutablePointer<UInt32>
  let generations: UnsafeMutablePointer<UInt32>
  /// Free buffers, last returned on top: it is the warmest in the cache.
  let free: UnsafeMutablePointer<UInt32>
  public var freeCount: Int { freeBuffers }
  @exclusivity(unchecked) private var freeBuffers: Int
  /// Buffers that have come back since the start. Whoever waits for one need not look before this
  /// has changed.
  public var returnCount: UInt64 { returns }
  @exclusivity(unchecked) private var returns: UInt64 = 0

  /// So many buffers at the bottom of `free` have no memory behind them: never used, or trimmed.
  @exclusivity(unchecked) private var emptyCount: Int

  /// Maps the memory. Traps when the kernel refuses it: an engine without buffers cannot start.
  init(id: PoolID, shape: BufferPoolShape) {
    precondition(shape.count > 0 && shape.count < 1 << 24 && shape.bytes > 0)
    self.id = id
    self.shape = shape
    strideBytes = (shape.headroomBytes + shape.bytes + 63) & ~63
    // SAFETY: an anonymous private mapping of count * stride bytes, owned by the pool and unmapped
    // in deinit; every pointer handed out stays inside [index * stride, (index + 1) * stride).
    let mapping = mmap(
      nil, strideBytes * shape.count, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let mapping, mapping != MAP_FAILED else {
      preconditionFailure("no memory for \(shape.count) buffers of \(shape.bytes) bytes")
    }
    base = mapping
    references = .allocate(capacity: shape.count)
    references.initialize(repeating: 0, count: shape.count)
    generations = .allocate(capacity: shape.count)
    generations.initialize(repeating: 0, count: shape.count)
    free = .allocate(capacity: shape.count)
    for i in 0..<shape.count { free[i] = UInt32(shape.count - 1 - i) }
    freeBuffers = shape.count
    emptyCount = shape.count
  }

  deinit {
    munmap(base, strideBytes * shape.count)
    references.deallocate()
    generations.deallocate()
    free.deallocate()
  }

  /// Buffers that someone holds (the kernel included, once it has been lent some).
  public var usedCount: Int { shape.count - freeCount }

  /// Lends a buffer with one reference, or nil when all are out.
  @inlinable
  public func take() -> BufferHandle? {
    guard freeCount > 0 else { return nil }
    return takeUnchecked()
  }

  @usableFromInline
  func takeUnchecked() -> BufferHandle {
    freeBuffers -= 1
    if freeCount < emptyCount { emptyCount = freeCount }
    let index = Int(free[freeCount])
    references[index] = 1
    return BufferHandle(pool: id, index: index, generation: generations[index])
  }

  /// Adds a reference.
  public func retain(_ handle: BufferHandle) {
    check(handle)
    references[handle.index] += 1
  }

  /// Whether the caller's reference is the only one.
  public func isUnique(_ handle: BufferHandle) -> Bool {
    check(handle)
    return references[handle.index] == 1
  }

  /// Drops a reference; with the last one the buffer is free again.
  public func release(_ handle: BufferHandle) {
    check(handle)
    let index = handle.index
    references[index] -= 1
    guard references[index] == 0 else { return }
    generations[index] &+= 1
    free[freeCount] = UInt32(index)
    freeBuffers += 1
    returns &+= 1
  }

  /// The first usable byte; `headroomBytes` in front of it and `bytes` from it on are the holder's.
  public func pointer(_ handle: BufferHandle) -> UnsafeMutableRawPointer {
    check(handle)
    return base + handle.index * strideBytes + shape.headroomBytes
  }

  /// Gives the memory behind free buffers back to the system, those first that were not used for
  /// longest: all but `keeping`, `atMost` so many now. True when more are left to give back.
  public func trim(keeping: Int, atMost: Int) -> Bool {
    let end = max(emptyCount, freeCount - keeping)
    let stop = min(end, emptyCount + atMost)
    for i in emptyCount..<stop { giveBack(Int(free[i])) }
    emptyCount = stop
    return stop < end
  }

  /// Gives back the pages that a free buffer lies in. The system takes them whole: one that is in
  /// part a neighbour's goes if that is free as well, else with the last of those that share it.
  private func giveBack(_ index: Int) {
    let page = Self.pageBytes
    var start = index * strideBytes & ~(page - 1)
    var end = (index * strideBytes + strideBytes + page - 1) & ~(page - 1)
    if isUsed(from: start, to: index * strideBytes) { start += page }
    if isUsed(from: (index + 1) * strideBytes, to: end) { end -= page }
    // SAFETY: whole pages of the mapping, in which every buffer is free.
    if start < end { madvise(base + start, end - start, MADV_DONTNEED) }
  }

  /// Whether any buffer that begins or ends between these offsets is lent.
  private func isUsed(from start: Int, to end: Int) -> Bool {
    guard start < end else { return false }
    let last = min((end - 1) / strideBytes, shape.count - 1)
    for index in stride(from: start / strideBytes, through: last, by: 1)
    where references[index] > 0 { return true }
    return false
  }

  private static let pageBytes = sysconf(Int32(_SC_PAGESIZE))

  @inline(__always)
  private func check(_ handle: BufferHandle) {
    precondition(
      handle.index < shape.count && references[handle.index] > 0
        && generations[handle.index] == handle.generation, "stale buffer handle")
  }
}
