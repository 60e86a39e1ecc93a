// Micro cases of the frame codec.

import RIBase
import RIWire

extension MicroCase {
  static var codec: MicroCase {
    MicroCase(
      name: "codec", about: "frames encoded and decoded, per frame",
      operations: [
        encode,
        decode("decode DATA 64 B", .data, payloadBytes: 64),
        decode("decode DATA 16 KiB", .data, payloadBytes: 16 * 1024),
        decode("decode WINDOW_UPDATE", .windowUpdate, payloadBytes: 4),
      ])
  }

  private static var encode: MicroOperation {
    let target = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 16, alignment: 64)
    return MicroOperation(name: "encode header") { count in
      for i in 0..<count {
        let place = (i & 63) * 16
        FrameHeader(stream: UInt32(truncatingIfNeeded: i), type: .data, length: 16_384)
          .encode(into: UnsafeMutableRawBufferPointer(rebasing: target[place..<place + 16]))
      }
    }
  }

  /// Decodes a buffer full of equal frames again and again.
  private static func decode(
    _ name: String, _ type: FrameType, payloadBytes: Int
  ) -> MicroOperation {
    let store = BufferStore([BufferPoolShape(count: 1, bytes: 256 * 1024)])
    guard let buffer = store[PoolID(0)].take() else { preconditionFailure("an empty pool") }
    var writer = BufferWriter(buffer, in: store)
    let frameBytes = FrameHeader.byteCount + payloadBytes
    var frames = 0
    while writer.roomBytes >= frameBytes, frames < 64 {
      FrameHeader(stream: 7, type: type, length: payloadBytes).encode(into: writer.room)
      writer.advance(FrameHeader.byteCount)
      writer.append(UnsafeRawBufferPointer(rebasing: zeros[..<payloadBytes]))
      frames += 1
    }
    let slice = writer.slice
    return MicroOperation(name: name) { count in
      var decoder = FrameDecoder(sender: .edge)
      var seen = 0
      while seen < count {
        decoder.receive(slice)
        while let event = decoder.poll(store: store) {
          if case .malformed(let error) = event { preconditionFailure("\(error)") }
          seen += 1
        }
      }
    }
  }

  private static var zeros: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(zeroBytes)
  }
}

/// Payload of nothing; never freed. One byte set, so that a WINDOW_UPDATE of it is not zero.
nonisolated(unsafe) private let zeroBytes: UnsafeMutableRawBufferPointer = {
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 64)
  bytes.initializeMemory(as: UInt8.self, repeating: 0)
  bytes[3] = 1
  return bytes
}()
