// An input as decisions: small numbers first, text and payload where they are asked for. When it is
// used up every further decision is 0.

import RIBase

struct FuzzInput {
  private let bytes: UnsafeRawBufferPointer
  private var at = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var isAtEnd: Bool { at >= bytes.count }

  mutating func byte() -> UInt8 {
    guard at < bytes.count else { return 0 }
    defer { at += 1 }
    return bytes[at]
  }

  mutating func flag() -> Bool { byte() & 1 == 1 }

  /// 0 to `count` - 1; of at most 256.
  mutating func choice(_ count: Int) -> Int { Int(byte()) % count }

  mutating func word() -> UInt32 {
    (0..<4).reduce(0) { sum, _ in sum << 8 | UInt32(byte()) }
  }

  /// Mostly small, now and then anything.
  mutating func number() -> UInt32 {
    let first = byte()
    return first < 0xF0 ? UInt32(first) : word()
  }

  /// Up to `count` bytes of what is left.
  mutating func take(_ count: Int) -> [UInt8] {
    let end = min(bytes.count, at + max(0, count))
    defer { at = end }
    return Array(bytes[at..<end])
  }

  mutating func rest() -> [UInt8] { take(bytes.count) }

  /// A short text of whatever bytes there are.
  mutating func text() -> String { String(decoding: take(choice(48)), as: UTF8.self) }
}

/// Cuts `bytes` into pieces whose lengths follow from `seed`.
func split(_ bytes: [UInt8], seed: UInt32) -> [ArraySlice<UInt8>] {
  var pieces: [ArraySlice<UInt8>] = []
  var state = seed | 1
  var at = 0
  while at < bytes.count {
    state = state &* 1_664_525 &+ 1_013_904_223
    let count = 1 + Int(state >> 24) % (state & 0x8000 == 0 ? 3 : 97)
    let end = min(bytes.count, at + count)
    pieces.append(bytes[at..<end])
    at = end
  }
  return pieces
}

/// A frame on the wire; `length` may lie about the payload.
func wireFrame(_ type: UInt8, _ stream: UInt32, _ payload: [UInt8], length: UInt32? = nil)
  -> [UInt8]
{
  let length = length ?? UInt32(payload.count)
  return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: stream >> $0) } + [type]
    + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + payload
}

extension FuzzInput {
  /// Mostly a frame that could be, on one of a few streams; sometimes one that could not.
  mutating func frame(_ types: [UInt8], open: (inout FuzzInput) -> [UInt8]) -> [UInt8] {
    let pick = choice(types.count + 2)
    let type = pick < types.count ? types[pick] : byte()
    let stream: UInt32 = [0x06, 0x07, 0x08, 0x10].contains(type) ? 0 : UInt32(1 + choice(5))
    let payload: [UInt8] =
      switch type {
      case 0x01, 0x0B: open(&self)
      case 0x09, 0x0A: [0, 0] + take(2)
      case 0x03, 0x05: flag() ? [1] : []
      case 0x0E: []
      default: take(choice(200))
      }
    switch byte() {
    case 0xFF: return wireFrame(type, stream, payload, length: word())
    case 0xFE: return wireFrame(type, word(), payload)
    case 0xFD: return wireFrame(type, stream, payload + take(8))
    default: return wireFrame(type, stream, payload)
    }
  }
}
