// The bytes that the demo transfers: any offset's byte is known, so every byte can be checked.

/// Endless bytes that repeat after a prime number of them, so that no buffer size hides a shift.
struct DemoPattern: Sendable {
  private static let period = 1_048_573
  private let block: [UInt8]

  init() {
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    block = (0..<Self.period).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 56)
    }
  }

  /// At most `limit` bytes from `offset` on, as far as they lie together.
  func bytes(at offset: Int, limit: Int) -> ArraySlice<UInt8> {
    let start = offset % Self.period
    return block[start..<min(start + limit, Self.period)]
  }

  /// Whether `bytes` are the pattern's from `offset` on.
  func matches(_ bytes: ArraySlice<UInt8>, at offset: Int) -> Bool {
    var rest = bytes
    var offset = offset
    while !rest.isEmpty {
      let expected = self.bytes(at: offset, limit: rest.count)
      guard rest.prefix(expected.count).elementsEqual(expected) else { return false }
      rest = rest.dropFirst(expected.count)
      offset += expected.count
    }
    return true
  }
}
