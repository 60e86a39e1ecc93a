// What one send takes from a queue of slices.

import Glibc
import RIBase

extension BufferStore {
  /// The bytes that one send covers: those of the first `Limits.sendSlicesMax` slices.
  func sendableBytes(_ queue: SliceQueue) -> Int {
    guard Int(queue.sliceCount) > Limits.sendSlicesMax else { return Int(queue.byteCount) }
    var slices = 0
    var bytes = 0
    forEach(in: queue) {
      bytes += Int($0.count)
      slices += 1
      return slices < Limits.sendSlicesMax
    }
    return bytes
  }

  /// Lists bytes `start` to `end` of the queue, at most `Limits.sendSlicesMax` pieces, and returns
  /// their number. The queue's last slice may have grown past `end` since the send was asked for.
  func gather(
    _ queue: SliceQueue, from start: Int, to end: Int, into vectors: UnsafeMutablePointer<iovec>
  ) -> Int {
    var position = 0
    var count = 0
    forEach(in: queue) { slice in
      let bytes = mutableBytes(slice)
      let first = max(start - position, 0)
      let last = min(end - position, bytes.count)
      position += bytes.count
      if first < last {
        vectors[count] = iovec(
          iov_base: bytes.baseAddress.map { $0 + first }, iov_len: last - first)
        count += 1
      }
      return position < end && count < Limits.sendSlicesMax
    }
    return count
  }
}
