// One line out of bytes that arrive in any split.

/// What a `LineReader` has after some bytes.
public enum LineProgress: Equatable, Sendable {
  /// The line without its newline. `consumed` of the bytes given last belong to it, the newline
  /// included; what follows them does not.
  case line([UInt8], consumed: Int)
  /// All bytes were taken; the line goes on.
  case needsMore
  /// The line is longer than the limit. For good.
  case tooLong
}

/// Gathers a line of at most `limit` bytes, the newline not counted. Memory grows with the bytes
/// that arrived, not with the limit. After a line it is ready for the next one.
public struct LineReader: Sendable {
  public let limit: Int
  private var gathered: [UInt8] = []
  private var isTooLong = false

  public init(limit: Int) { self.limit = limit }

  public mutating func receive(_ bytes: UnsafeRawBufferPointer) -> LineProgress {
    let lineBytes = bytes.firstIndex(of: 0x0A) ?? bytes.count
    guard !isTooLong, lineBytes <= limit - gathered.count else {
      isTooLong = true
      gathered = []
      return .tooLong
    }
    gathered.append(contentsOf: bytes[..<lineBytes])
    guard lineBytes < bytes.count else { return .needsMore }
    let line = gathered
    gathered = []
    return .line(line, consumed: lineBytes + 1)
  }
}
