// What we put into a PING; the other side sends it back as it is.

import RIBase

/// The payload of a PING of ours.
///
/// ```
///  0                8                16
///  ┌────────────────┬────────────────┐
///  │ sequence u64   │ round trip u64 │   big-endian; the round trip in nanoseconds, 0: not known
///  └────────────────┴────────────────┘
/// ```
/// Without the extension `autoWindow` it is the first 8 bytes alone.
public struct PingPayload: Equatable, Sendable {
  public var sequence: UInt64
  /// The shortest round trip of this tunnel that the hub has measured.
  public var baseRoundTrip: Interval?

  public init(sequence: UInt64, baseRoundTrip: Interval? = nil) {
    self.sequence = sequence
    self.baseRoundTrip = baseRoundTrip
  }

  /// Reads either form; nil when it is neither. A round trip beyond `Limits.silenceTimeout` cannot
  /// be true and counts as not known.
  public init?(decoding bytes: UnsafeRawBufferPointer) {
    guard bytes.count == 8 || bytes.count == 16 else { return nil }
    sequence = Self.integer(bytes.prefix(8))
    let nanoseconds = Self.integer(bytes.dropFirst(8))
    if nanoseconds > 0, nanoseconds <= UInt64(Limits.silenceTimeout.nanoseconds) {
      baseRoundTrip = Interval(nanoseconds: Int64(nanoseconds))
    }
  }

  private static func integer(_ bytes: some Sequence<UInt8>) -> UInt64 {
    bytes.reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// Lends the long form (16 bytes) or the short one (8 bytes).
  public func withBytes<Result>(
    long: Bool, _ body: (UnsafeRawBufferPointer) -> Result
  ) -> Result {
    let nanoseconds = UInt64(clamping: baseRoundTrip?.nanoseconds ?? 0)
    return withUnsafeBytes(of: (sequence.bigEndian, nanoseconds.bigEndian)) {
      body(UnsafeRawBufferPointer(rebasing: $0.prefix(long ? 16 : 8)))
    }
  }
}
