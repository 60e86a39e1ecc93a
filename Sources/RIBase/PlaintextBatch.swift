// What a framed tunnel hands to its transport: frames as pieces of plaintext, large payloads by
// reference, everything small copied together.

/// Plaintext in order, as pieces that either borrow a pooled slice or lie in the batch's own
/// staging memory. Filled by the tunnel, sealed by the transport, then cleared. No allocation after
/// `init`. Not safe for use by two threads.
///
/// Ownership: `append(slice)` takes over the slice's reference, `clear` gives all of them back.
public final class PlaintextBatch {
  /// Payloads up to this are copied: cheaper than a piece of their own in the cipher.
  public static let copyBytesMax = 512

  struct Piece {
    var slice: Slice?
    var start: Int
    var count: Int
  }

  let store: BufferStore
  let staging: UnsafeMutableRawPointer
  let stagingCapacity: Int
  @exclusivity(unchecked) private var stagingCount = 0
  @exclusivity(unchecked) var pieces: [Piece] = []
  let piecesMax: Int
  public var byteCount: Int { bytesHeld }
  @exclusivity(unchecked) private var bytesHeld = 0
  public let capacity: Int

  /// A batch of at most `capacity` bytes.
  public init(store: BufferStore, capacity: Int) {
    self.store = store
    self.capacity = capacity
    stagingCapacity = capacity
    staging = .allocate(byteCount: capacity, alignment: 64)
    piecesMax = 2 * (capacity / Self.copyBytesMax) + 2
    pieces.reserveCapacity(piecesMax)
  }

  deinit { staging.deallocate() }

  public var isEmpty: Bool { byteCount == 0 }
  /// Bytes that still fit.
  public var roomBytes: Int { capacity - byteCount }
  public var pieceCount: Int { pieces.count }

  /// Copies bytes in. They must fit in `roomBytes`.
  public func append(copying bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress, bytes.count > 0 else { return }
    precondition(bytes.count <= roomBytes)
    // SAFETY: staging holds `capacity` bytes, and stagingCount <= byteCount <= capacity - count.
    (staging + stagingCount).copyMemory(from: source, byteCount: bytes.count)
    extendStaged(bytes.count)
  }

  /// Takes over a slice: borrows its bytes when large, copies and releases it when small.
  public func append(_ slice: Slice) {
    precondition(Int(slice.count) <= roomBytes)
    if Int(slice.count) <= Self.copyBytesMax {
      append(copying: store.bytes(slice))
      store.release(slice)
      return
    }
    pieces.append(Piece(slice: slice, start: 0, count: Int(slice.count)))
    bytesHeld += Int(slice.count)
  }

  /// The bytes of piece `i`, valid until `clear`.
  public func piece(_ i: Int) -> UnsafeRawBufferPointer {
    let piece = pieces[i]
    if let slice = piece.slice { return store.bytes(slice) }
    return UnsafeRawBufferPointer(start: staging + piece.start, count: piece.count)
  }

  /// Empties the batch and releases what it borrowed.
  public func clear() {
    for piece in pieces {
      if let slice = piece.slice { store.release(slice) }
    }
    pieces.removeAll(keepingCapacity: true)
    stagingCount = 0
    bytesHeld = 0
  }

  private func extendStaged(_ count: Int) {
    if let last = pieces.indices.last, pieces[last].slice == nil {
      pieces[last].count += count
    } else {
      pieces.append(Piece(slice: nil, start: stagingCount, count: count))
    }
    stagingCount += count
    bytesHeld += count
  }
}
