// A pooled buffer being filled from the front.

/// A write cursor over one pooled buffer. Trivial; its owner holds the buffer's one reference.
public struct BufferWriter: Sendable {
  public let buffer: BufferHandle
  public private(set) var count = 0
  public let capacity: Int
  // SAFETY: points at the buffer's first usable byte; valid while the owner holds the buffer.
  nonisolated(unsafe) let base: UnsafeMutableRawPointer

  public init(_ buffer: BufferHandle, in store: BufferStore) {
    self.buffer = buffer
    let pool = store[buffer.pool]
    base = pool.pointer(buffer)
    capacity = pool.shape.bytes
  }

  public var roomBytes: Int { capacity - count }
  public var isEmpty: Bool { count == 0 }

  /// The free part, to be written from its start and then counted by `advance`.
  public var room: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: base + count, count: capacity - count)
  }

  /// Counts bytes that were written into `room`.
  public mutating func advance(_ n: Int) {
    precondition(n >= 0 && n <= roomBytes)
    count += n
  }

  /// Copies bytes in; they must fit.
  public mutating func append(_ bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count <= roomBytes)
    room.copyMemory(from: bytes)
    count += bytes.count
  }

  /// What was written, as a slice of the buffer (no reference of its own).
  public var slice: Slice { Slice(buffer: buffer, offset: 0, count: count) }
}
