// A cursor over the bytes of a message, for the text forms.

/// Reads from the front and never past the end. Borrows the bytes: it must not outlive them.
struct ByteScanner {
  private let bytes: UnsafeRawBufferPointer
  private(set) var position = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var isAtEnd: Bool { position == bytes.count }

  /// The next byte, which stays.
  var peek: UInt8? {
    // SAFETY: every read goes through here or `slice`, both checked against the count, as the
    // pointer's own subscript checks in debug builds only.
    position < bytes.count ? bytes[position] : nil
  }

  mutating func next() -> UInt8? {
    guard let byte = peek else { return nil }
    position += 1
    return byte
  }

  /// Passes over the byte if it is the next one.
  mutating func skip(_ byte: UInt8) -> Bool {
    guard peek == byte else { return false }
    position += 1
    return true
  }

  /// Passes over the text if it comes next, whole.
  mutating func skip(_ text: StaticString) -> Bool {
    let end = position + text.utf8CodeUnitCount
    guard end <= bytes.count else { return false }
    let matches = text.withUTF8Buffer { expected in
      bytes[position..<end].elementsEqual(expected)
    }
    if matches { position = end }
    return matches
  }

  /// Passes over all bytes up to the first that `isEnd` accepts, or up to the end, and returns
  /// them. Borrowed like the scanner itself.
  mutating func take(until isEnd: (UInt8) -> Bool) -> UnsafeRawBufferPointer {
    let start = position
    while let byte = peek, !isEnd(byte) { position += 1 }
    return UnsafeRawBufferPointer(rebasing: bytes[start..<position])
  }

  /// Decimal digits as a number up to `max`: at least one digit, no leading zero, no sign.
  mutating func decimal(max: UInt32) -> UInt32? {
    guard let first = next(), let start = Self.digit(first) else { return nil }
    var value = UInt64(start)
    while let byte = peek, let digit = Self.digit(byte) {
      value = value * 10 + UInt64(digit)
      guard start != 0, value <= UInt64(max) else { return nil }
      position += 1
    }
    return value <= UInt64(max) ? UInt32(value) : nil
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    byte >= 0x30 && byte <= 0x39 ? byte - 0x30 : nil
  }

  static func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }
}
