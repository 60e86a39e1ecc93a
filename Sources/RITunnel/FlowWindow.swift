// Flow control of SPEC 2.4 as arithmetic: what a sender may send, and when a receiver returns
// credit.

import RIBase

/// How large windows are, in bytes.
public struct WindowLimits: Sendable {
  /// What all streams of a tunnel share.
  public var sharedBytes: Int
  public var bytesMin: Int
  public var bytesMax: Int

  /// 1 <= `bytesMin` <= `bytesMax` < 2^30.
  public init(sharedBytes: Int, bytesMin: Int, bytesMax: Int) {
    precondition(bytesMin >= 1 && bytesMin <= bytesMax && bytesMax < 1 << 30)
    self.sharedBytes = sharedBytes
    self.bytesMin = bytesMin
    self.bytesMax = bytesMax
  }

  /// What the protocol says; other values are for tests.
  public static let standard = WindowLimits(
    sharedBytes: Limits.windowSharedBytes, bytesMin: Limits.windowBytesMin,
    bytesMax: Limits.windowBytesMax)

  /// The window of each of `activeStreams` streams.
  public func window(activeStreams: Int) -> Int {
    min(max(sharedBytes / max(activeStreams, 1), bytesMin), bytesMax)
  }
}

/// The sender's half: the window is fixed when the stream opens, and what is sent fills it until
/// the receiver says that it was consumed.
struct SendWindow {
  let size: Int32
  /// Sent and not yet said to be consumed; 0...size.
  private(set) var inFlight: Int32 = 0

  init(size: Int) { self.size = Int32(size) }

  /// Bytes that may be sent now.
  var credit: Int { Int(size - inFlight) }

  /// Counts bytes handed to the transport; at most `credit`.
  mutating func sent(_ bytes: Int) {
    precondition(bytes >= 0 && bytes <= credit, "credit overdrawn")
    inFlight += Int32(truncatingIfNeeded: bytes)
  }

  /// Counts bytes that the peer says it consumed. More than it was sent cannot be true and counts
  /// as all of it, so no peer can open a window beyond its size.
  mutating func credited(_ bytes: UInt32) {
    inFlight -= Int32(truncatingIfNeeded: min(bytes, UInt32(inFlight)))
  }
}

/// The receiver's half.
///
///     received        ├──────────── outstanding ───────────┤
///     ────────────────┬────────────────┬───────────────────┐
///      credit returned│   unreturned   │     buffered      │ not yet sent
///     ────────────────┴────────────────┴───────────────────┘
///     consumed                        ┘
///
/// Credit returned never exceeds bytes consumed, so the peer was ever granted its first window and
/// what was returned: it breaks its word exactly when more than the largest window is outstanding.
///
/// To shrink a window we withhold credit. How large the peer's window is it alone knows (it counted
/// the streams at another moment than we); that it is at least `proven`, the most that was ever
/// outstanding, is certain. Withholding at most `proven - target` leaves the peer a window of at
/// least `target`, so it can never be stalled for good.
struct ReceiveWindow {
  /// Received and not yet returned as credit.
  private(set) var outstanding: Int32 = 0
  /// Consumed and not yet returned as credit; 0...outstanding.
  private(set) var unreturned: Int32 = 0
  /// A lower bound of the peer's window.
  private(set) var proven: Int32

  init(limits: WindowLimits) { proven = Int32(limits.bytesMin) }

  /// Received and not yet consumed.
  var buffered: Int { Int(outstanding - unreturned) }

  /// Counts bytes that arrived. Returns false, and counts nothing, if that is more than the peer
  /// was granted.
  mutating func received(_ bytes: Int, limits: WindowLimits) -> Bool {
    let sum = Int(outstanding) + bytes
    guard sum <= limits.bytesMax else { return false }
    outstanding = Int32(truncatingIfNeeded: sum)
    proven = max(proven, outstanding)
    return true
  }

  /// Counts bytes written to the local socket; at most `buffered`.
  mutating func consumed(_ bytes: Int) {
    precondition(bytes >= 0 && bytes <= buffered, "more consumed than arrived")
    unreturned += Int32(truncatingIfNeeded: bytes)
  }

  /// The credit to return now, or 0. `target` is the window that the stream should have.
  ///
  /// A step is a quarter of the target window. Once three quarters of the proven window are
  /// outstanding the peer could be stalled soon: then a quarter of that suffices. (At once, byte by
  /// byte, would make a slow consumer's stream a stream of tiny frames, while it has most of a
  /// window still to consume.)
  func creditDue(target: Int) -> Int {
    let proven = Int(proven)
    let returnable = Int(unreturned) - max(0, proven - target)
    let couldStall = Int(outstanding) >= proven - proven / 4
    let step = max(1, (couldStall ? min(proven, target) : target) / 4)
    return returnable >= step ? returnable : 0
  }

  /// Counts credit handed to the transport.
  mutating func returned(_ bytes: Int) {
    precondition(bytes >= 0 && bytes <= unreturned, "credit for bytes that were not consumed")
    unreturned -= Int32(truncatingIfNeeded: bytes)
    outstanding -= Int32(truncatingIfNeeded: bytes)
  }
}
