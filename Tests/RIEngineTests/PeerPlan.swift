// What clients and targets of the simulated network do, and the bytes they send.

import RIBase
import TestRandom

/// What one end of a stream does.
struct PeerPlan {
  enum End {
    /// Ends its direction behind its last byte, and closes at the peer's end.
    case finish
    /// Resets behind its last byte.
    case reset
    /// Ends its direction only when the peer has ended its own.
    case hold
  }
  enum Reading {
    case all
    case never
    /// Closes, without a reset of its own, after this many bytes.
    case until(Int)
    /// Reads nothing for a while after this many bytes.
    case rests(after: Int, Interval)
  }

  /// Bytes of its own content.
  var sends = 0
  /// Sends back what arrives instead.
  var echoes = false
  var end = End.finish
  var reads = Reading.all
  var chunkBytes = 1...60_000
  /// The longest pause before a send or receive; zero: none.
  var pause = Interval.zero
}

/// Bytes that are a function of a key and an offset: a window into a table without visible period.
enum Content {
  private static let period = 65_521
  static let table: [UInt8] = {
    var random = SplitMix64(1)
    let once = (0..<period).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    return once + once + once
  }()

  /// The bytes from `offset` on; at most 65,536.
  static func with<R>(
    _ key: UInt64, _ offset: Int, _ count: Int, _ body: (UnsafeRawBufferPointer) -> R
  ) -> R {
    let start = (Int(key &* 7_919 % 65_521) + offset) % period
    return table.withUnsafeBytes {
      body(UnsafeRawBufferPointer(rebasing: $0[start..<start + count]))
    }
  }
}
