// Small frames that wait to be sent ahead of all data, in order.

import RIBase
import RIWire

/// Encoded frames in a byte queue that is bounded and, once grown, allocates no more.
struct ControlQueue {
  private var bytes: [UInt8] = []
  private var head = 0
  private(set) var pongCount = 0

  /// Bytes waiting.
  var byteCount: Int { bytes.count - head }
  var isEmpty: Bool { head == bytes.count }

  /// Queues a frame, or returns false when that would make more than `limit` bytes wait.
  mutating func append(
    _ type: FrameType, stream: UInt32, payload: UnsafeRawBufferPointer,
    limit: Int = Limits.controlQueueBytes
  ) -> Bool {
    guard byteCount + FrameHeader.byteCount + payload.count <= limit else { return false }
    compact()
    let header = FrameHeader(stream: stream, type: type, length: payload.count)
    withEncoded(header) { bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: payload)
    if type == .pong { pongCount += 1 }
    return true
  }

  /// Moves whole frames into the batch and returns how many. The queue is empty afterwards, or the
  /// batch has no room for the next frame.
  mutating func drain(into batch: PlaintextBatch) -> Int {
    var frames = 0
    var pongs = 0
    head = bytes.withUnsafeBytes { [start = head] all in
      var at = start
      while at < all.count {
        let rest = UnsafeRawBufferPointer(rebasing: all[at...])
        let header = FrameHeader(decoding: rest)
        let count = FrameHeader.byteCount + Int(header.length)
        guard count <= batch.roomBytes else { break }
        batch.append(copying: UnsafeRawBufferPointer(rebasing: rest[..<count]))
        if header.type == FrameType.pong.rawValue { pongs += 1 }
        at += count
        frames += 1
      }
      return at
    }
    pongCount -= pongs
    if isEmpty { removeAll() }
    return frames
  }

  mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    head = 0
    pongCount = 0
  }

  /// Moves what waits to the front when as much in front of it is used up: each byte moves at most
  /// once, and the array never needs more than twice the limit.
  private mutating func compact() {
    guard head > byteCount else { return }
    bytes.removeSubrange(..<head)
    head = 0
  }
}

/// A CONFIG on its way out. It may be larger than any batch, so it alone goes in parts; a newer one
/// replaces one that has not begun.
struct ConfigOutput {
  /// Header and payload.
  private var frame: [UInt8] = []
  private var sentBytes = 0
  private var next: [UInt8] = []

  var isEmpty: Bool { frame.isEmpty }
  /// Whether the rest of it must come before any other frame.
  var isBegun: Bool { sentBytes > 0 }

  /// Called a few times in a tunnel's life, so it allocates.
  mutating func replace(with payload: [UInt8]) {
    var encoded: [UInt8] = []
    encoded.reserveCapacity(FrameHeader.byteCount + payload.count)
    let header = FrameHeader(stream: 0, type: .config, length: payload.count)
    withEncoded(header) { encoded.append(contentsOf: $0) }
    encoded.append(contentsOf: payload)
    if isBegun { next = encoded } else { frame = encoded }
  }

  /// Writes what fits; returns whether a frame was completed.
  mutating func write(into batch: PlaintextBatch) -> Bool {
    let count = min(frame.count - sentBytes, batch.roomBytes)
    frame.withUnsafeBytes {
      batch.append(copying: UnsafeRawBufferPointer(rebasing: $0[sentBytes..<sentBytes + count]))
    }
    sentBytes += count
    guard sentBytes == frame.count else { return false }
    frame = next
    next = []
    sentBytes = 0
    return true
  }
}

/// Lends the 9 bytes of a header for the duration of `body`.
@inline(__always)
func withEncoded(_ header: FrameHeader, _ body: (UnsafeRawBufferPointer) -> Void) {
  // SAFETY: stack memory of the header's size, written whole before it is read.
  withUnsafeTemporaryAllocation(byteCount: FrameHeader.byteCount, alignment: 1) { bytes in
    header.encode(into: bytes)
    body(UnsafeRawBufferPointer(bytes))
  }
}
