// What the control channel sends: lines and messages, kept until they are acknowledged.

import CNGTCP2
import RIBase

/// Blocks of bytes in order, the first ones sent, the rest not yet. Allocates one for each message:
/// there are few.
struct ControlBlocks {
  // SAFETY: each block is allocated in `append` and freed when it is acknowledged whole or by
  // `removeAll`; ngtcp2 reads it in between.
  private var blocks: [UnsafeMutableRawBufferPointer] = []
  /// Bytes of the first block that are acknowledged.
  private var acknowledgedOfFirst = 0
  /// Bytes of all blocks that were sent, acknowledged or not (of the first block at least
  /// `acknowledgedOfFirst`).
  private var sentBytes = 0
  private var totalBytes = 0

  var unsentBytes: Int { totalBytes - sentBytes }
  /// Bytes that are held.
  var byteCount: Int { totalBytes - acknowledgedOfFirst }

  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count > 0 else { return }
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    block.copyMemory(from: bytes)
    blocks.append(block)
    totalBytes += bytes.count
  }

  /// The first unsent bytes, in as many vectors as there is room for; returns their number.
  func fill(_ vectors: UnsafeMutableBufferPointer<quic_bytes>, bytesMax: Int) -> (Int, bytes: Int) {
    var skip = sentBytes
    var count = 0
    var bytes = 0
    for block in blocks where bytes < bytesMax && count < vectors.count {
      guard skip < block.count else {
        skip -= block.count
        continue
      }
      let start = block.baseAddress?.assumingMemoryBound(to: UInt8.self)
      let length = min(block.count - skip, bytesMax - bytes)
      vectors[count] = quic_bytes(start: start.map { UnsafePointer($0 + skip) }, count: length)
      count += 1
      bytes += length
      skip = 0
    }
    return (count, bytes)
  }

  mutating func sent(_ bytes: Int) {
    precondition(bytes <= unsentBytes)
    sentBytes += bytes
  }

  mutating func acknowledged(_ bytes: Int) {
    var left = acknowledgedOfFirst + bytes
    while let block = blocks.first, left >= block.count {
      left -= block.count
      sentBytes -= block.count
      totalBytes -= block.count
      block.deallocate()
      blocks.removeFirst()
    }
    acknowledgedOfFirst = blocks.isEmpty ? 0 : left
  }

  /// Everything is to be sent again: 0-RTT was refused, nothing of it was acknowledged.
  mutating func rewind() {
    sentBytes = 0
    acknowledgedOfFirst = 0
  }

  mutating func removeAll() {
    for block in blocks { block.deallocate() }
    self = ControlBlocks()
  }
}
