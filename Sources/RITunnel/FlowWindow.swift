// Flow control as arithmetic: what a sender may send, and when a receiver returns credit. Both by
// the published rules (SPEC 2.4) and by those of the extension `autoWindow` (docs/PROTOCOL.md).

import RIBase

/// How large windows are, in bytes.
public struct WindowLimits: Sendable {
  /// What all streams of a tunnel share.
  public var sharedBytes: Int
  public var bytesMin: Int
  public var bytesMax: Int
  /// With `autoWindow`: what a window is at first, and at least.
  public var autoBytesMin: Int
  /// With `autoWindow`: what it may grow to.
  public var autoBytesMax: Int

  /// 1 <= `bytesMin` <= `bytesMax` < 2^30, and so for `autoWindow`.
  public init(
    sharedBytes: Int, bytesMin: Int, bytesMax: Int,
    autoBytesMin: Int = Limits.autoWindowBytesMin, autoBytesMax: Int = Limits.autoWindowBytesMax
  ) {
    precondition(bytesMin >= 1 && bytesMin <= bytesMax && bytesMax < 1 << 30)
    precondition(autoBytesMin >= 1 && autoBytesMin <= autoBytesMax && autoBytesMax < 1 << 30)
    self.sharedBytes = sharedBytes
    self.bytesMin = bytesMin
    self.bytesMax = bytesMax
    self.autoBytesMin = autoBytesMin
    self.autoBytesMax = autoBytesMax
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

/// The sender's half: credit that what is sent uses up and the receiver gives back.
///
/// By the published rules the window has a size, which grows when other streams go and never
/// shrinks: the receiver shrinks it by withholding credit, and a sender that held back as well
/// would do it twice and could come to a halt. With `autoWindow` it is whatever was granted.
struct SendWindow {
  private(set) var credit: Int32
  /// The most that `credit` may be; with `autoWindow` the most it has been.
  private(set) var size: Int32
  /// 0 by the published rules; with `autoWindow` what the receiver can grant at most.
  private let grantMax: Int32

  /// By the published rules.
  init(size: Int) {
    self.size = Int32(size)
    credit = self.size
    grantMax = 0
  }

  /// With `autoWindow`.
  init(auto limits: WindowLimits) {
    size = Int32(limits.autoBytesMin)
    credit = size
    grantMax = Int32(limits.autoBytesMax)
  }

  var isAuto: Bool { grantMax > 0 }

  /// Sent and not credited yet; with `autoWindow` at least so much.
  var inFlight: Int { Int(size - credit) }

  /// Counts bytes handed to the transport; at most `credit`.
  mutating func sent(_ bytes: Int) {
    precondition(bytes >= 0 && bytes <= Int(credit), "credit overdrawn")
    credit -= Int32(truncatingIfNeeded: bytes)
  }

  /// Counts credit from the peer. By the published rules more than it was sent cannot be true and
  /// counts as all of it, so no peer opens a window beyond its size; with `autoWindow` no peer
  /// opens one beyond the largest.
  mutating func credited(_ bytes: UInt32) {
    let largest = isAuto ? grantMax : size
    credit += Int32(truncatingIfNeeded: min(bytes, UInt32(largest - credit)))
    size = max(size, credit)
  }

  /// Published rules: other streams have gone, so this one's window is as large as a new one's.
  mutating func grow(to window: Int) {
    guard !isAuto, window > Int(size) else { return }
    credit += Int32(truncatingIfNeeded: window) - size
    size = Int32(truncatingIfNeeded: window)
  }
}

/// The receiver's half.
///
///     received        ├──────────── outstanding ───────────┤
///     ────────────────┬────────────────┬───────────────────┬──────────────┐
///      credit returned│   unreturned   │     buffered      │ not yet sent │
///     ────────────────┴────────────────┴───────────────────┴──────────────┘
///     consumed                         ┘                                  └ window
///
/// To shrink a window we withhold credit. With `autoWindow` we know the peer's window, as all of it
/// is what we granted. By the published rules the peer alone knows it (it counted the streams at
/// another moment than we); that it is at least `window`, the most that was ever outstanding, is
/// certain. Withholding at most `window - target` leaves the peer a window of at least `target`,
/// so it can never be stalled for good. Credit returned then never exceeds bytes consumed, so the
/// peer was ever granted its first window and what was returned: it breaks its word exactly when
/// more than the largest window is outstanding.
package struct ReceiveWindow {
  /// Received and not yet returned as credit.
  package private(set) var outstanding: Int32 = 0
  /// Consumed and not yet returned as credit; 0...outstanding.
  private(set) var unreturned: Int32 = 0
  /// With `autoWindow` the peer's window; by the published rules a lower bound of it.
  package private(set) var window: Int32
  package let isAuto: Bool

  package init(limits: WindowLimits, isAuto: Bool) {
    self.isAuto = isAuto
    window = Int32(isAuto ? limits.autoBytesMin : limits.bytesMin)
  }

  /// Received and not yet consumed.
  package var buffered: Int { Int(outstanding - unreturned) }

  /// Whether the peer has half of its window or more to go on with.
  var isAtEase: Bool { outstanding <= window / 2 }

  /// Counts bytes that arrived. Returns false, and counts nothing, if that is more than the peer
  /// was granted.
  package mutating func received(_ bytes: Int, limits: WindowLimits) -> Bool {
    let sum = Int(outstanding) + bytes
    guard sum <= (isAuto ? Int(window) : limits.bytesMax) else { return false }
    outstanding = Int32(truncatingIfNeeded: sum)
    window = max(window, outstanding)
    return true
  }

  /// Counts bytes written to the local socket; at most `buffered`.
  package mutating func consumed(_ bytes: Int) {
    precondition(bytes >= 0 && bytes <= buffered, "more consumed than arrived")
    unreturned += Int32(truncatingIfNeeded: bytes)
  }

  /// The credit to return now, or 0. `target` is the window that the stream should have.
  ///
  /// A step is a quarter of the target window. Once three quarters of the peer's window are
  /// outstanding it could be stalled soon: then a quarter of that suffices. (At once, byte by
  /// byte, would make a slow consumer's stream a stream of tiny frames, while it has most of a
  /// window still to consume.)
  /// `stepMax` makes the steps smaller, for a sender that keeps only a part of its window in use.
  package func creditDue(target: Int, stepMax: Int = .max) -> Int {
    let window = Int(window)
    let withheld = isAuto ? window - target : max(0, window - target)
    let returnable = Int(unreturned) - withheld
    let couldStall = Int(outstanding) >= window - window / 4
    let step = min(stepMax, max(1, (couldStall ? min(window, target) : target) / 4))
    return returnable >= step ? returnable : 0
  }

  /// Counts credit handed to the transport. With `autoWindow` what was withheld has made the window
  /// smaller, and what goes beyond the bytes consumed makes it larger.
  package mutating func returned(_ bytes: Int) {
    precondition(bytes >= 0 && (isAuto || bytes <= unreturned), "credit that was not consumed")
    guard isAuto else {
      unreturned -= Int32(truncatingIfNeeded: bytes)
      outstanding -= Int32(truncatingIfNeeded: bytes)
      return
    }
    window += Int32(truncatingIfNeeded: bytes) - unreturned
    outstanding -= unreturned
    unreturned = 0
  }
}
