// UDP sessions in QUIC DATAGRAM frames (SPEC 3): `[session: u32][payload]`, and for an open
// `[session: u32][0xFF][PROXY v2 header]`.

import RIBase

/// One datagram of a session, as it travels.
public enum SessionDatagram {
  /// What a datagram is.
  public enum Kind: Equatable, Sendable {
    /// A session opens; its header is what follows `openBytes`.
    case open(session: UInt32)
    /// A session's datagram; its payload is what follows `headerBytes`.
    case data(session: UInt32)
  }

  public static let headerBytes = 4
  /// Session and 0xFF.
  public static let openBytes = 5

  /// What a received datagram is; nil when it is too short to be any. It is an open only if 0xFF is
  /// followed by the signature of a PROXY v2 header: a payload may begin with 0xFF as well.
  public static func parse(_ bytes: UnsafeRawBufferPointer) -> Kind? {
    guard bytes.count >= headerBytes else { return nil }
    let session = bytes[..<headerBytes].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    if bytes.count > openBytes, bytes[headerBytes] == 0xFF,
      ProxyHeader.hasV2Signature(UnsafeRawBufferPointer(rebasing: bytes[openBytes...]))
    {
      return .open(session: session)
    }
    return .data(session: session)
  }

  /// The bytes in front of a payload; with `isOpen` in front of a header.
  public static func prefix(session: UInt32, isOpen: Bool) -> (bytes: UInt64, count: Int) {
    // In memory order: the session's four bytes, then 0xFF.
    let word = UInt64(session) << 32 | (isOpen ? 0xFF00_0000 : 0)
    return (word.bigEndian, isOpen ? openBytes : headerBytes)
  }
}
