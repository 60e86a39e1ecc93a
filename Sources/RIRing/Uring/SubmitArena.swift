// Memory for what submissions point to: the kernel has copied it once they are submitted
// (IORING_FEAT_SUBMIT_STABLE), so it is used again from the start with each submit.

/// A bump allocator. Everything it gave out is free after `reset`.
struct SubmitArena: ~Copyable {
  /// 64 gathered sends of 64 slices each; a fuller one costs an extra submit.
  static let capacity = 128 * 1024

  // SAFETY: the arena's own, freed in deinit. Pieces lie one after the other within `capacity`
  // (checked by `take`) and are valid until `reset`: the ring calls it once the kernel has taken,
  // and so copied, all entries.
  private let base = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
  private var used = 0

  init() {}

  deinit { base.deallocate() }

  func hasRoom(_ byteCount: Int) -> Bool { byteCount <= Self.capacity - used }

  /// Uninitialised memory, aligned to 16 bytes. There must be room for `byteCount` plus 15 bytes.
  mutating func take(_ byteCount: Int) -> UnsafeMutableRawPointer {
    let size = (byteCount + 15) & ~15
    precondition(size <= Self.capacity - used)
    defer { used += size }
    return base + used
  }

  mutating func reset() { used = 0 }
}
