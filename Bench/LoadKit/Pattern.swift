// The bytes that every load sends: a fixed random-looking sequence with a period that no buffer,
// record or frame size divides, so lost, doubled or swapped bytes show at the next check.

import Glibc

/// The pattern and the vectors to send it from. One thread uses it.
public final class Pattern {
  /// A prime, so that no power of two is a multiple of it.
  public static let period = 65_537
  /// The longest run of bytes that `bytes(at:)` gives.
  public static let runBytesMax = period
  /// What one `send` offers the kernel.
  public static let sendBytes = 256 * 1024
  /// How much `matches` looks at, at each end of the bytes it is given.
  static let checkBytes = 64

  let base: UnsafeMutablePointer<UInt8>
  private let vectors: UnsafeMutablePointer<iovec>
  private let vectorCount = Pattern.sendBytes / Pattern.period + 2

  public init() {
    base = .allocate(capacity: 2 * Self.period)
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    for i in 0..<Self.period {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      let byte = UInt8(truncatingIfNeeded: state >> 24)
      base[i] = byte
      base[i + Self.period] = byte
    }
    vectors = .allocate(capacity: vectorCount)
    vectors.initialize(repeating: iovec(), count: vectorCount)
  }

  deinit {
    base.deallocate()
    vectors.deallocate()
  }

  /// At least `runBytesMax` bytes of the stream from `offset` on.
  public func bytes(at offset: UInt64) -> UnsafePointer<UInt8> {
    // SAFETY: two periods are mapped, the offset is reduced to the first.
    UnsafePointer(base + Int(offset % UInt64(Self.period)))
  }

  /// Sends up to `bytesMax` (at most `sendBytes`) of the stream from `offset` on; returns what
  /// `writev` returns. One period stays in the cache whatever is sent.
  public func send(
    on descriptor: Int32, from offset: UInt64, bytesMax: Int = sendBytes
  ) -> Int {
    let start = Int(offset % UInt64(Self.period))
    var left = min(bytesMax, Self.sendBytes)
    var used = 0
    while left > 0 {
      let skip = used == 0 ? start : 0
      let count = min(left, Self.period - skip)
      vectors[used] = iovec(iov_base: base + skip, iov_len: count)
      left -= count
      used += 1
    }
    return writev(descriptor, vectors, Int32(used))
  }

  /// Whether received bytes are the stream's at `offset`: looks at both ends of them, so a shift
  /// shows at once and a damaged middle only where it moved something.
  public func matches(_ received: UnsafeRawPointer, count: Int, at offset: UInt64) -> Bool {
    let head = min(count, Self.checkBytes)
    guard memcmp(received, bytes(at: offset), head) == 0 else { return false }
    let tail = count - head
    return memcmp(received + tail, bytes(at: offset + UInt64(tail)), head) == 0
  }

  /// Whether received bytes are the stream's at `offset`, every one of them.
  public func equals(_ received: UnsafeRawPointer, count: Int, at offset: UInt64) -> Bool {
    var checked = 0
    while checked < count {
      let part = min(count - checked, Self.runBytesMax)
      guard memcmp(received + checked, bytes(at: offset + UInt64(checked)), part) == 0 else {
        return false
      }
      checked += part
    }
    return true
  }
}
