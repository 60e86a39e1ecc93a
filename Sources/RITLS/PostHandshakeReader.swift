// Handshake messages that come after the handshake: tickets, which are skipped, and KeyUpdates.
// Messages may be split over records and joined in one; none is stored.

import RIBase
import RICrypto

/// Reads messages byte by byte as records bring them (RFC 8446 4.6, 5.1).
///
/// ```
/// header (0 to 3 bytes read) ──4th byte──▶ body of a ticket (n bytes left) ──last byte──▶ header
///                            └───────────▶ body of a KeyUpdate (1 byte left) ───────────▶ header
/// ```
struct PostHandshakeReader {
  enum Result {
    case nothing
    case keyUpdate(answerRequested: Bool)
    case failed(TLSError)
  }

  private static let newSessionTicket: UInt32 = 4
  private static let keyUpdate: UInt32 = 24

  private let isServer: Bool
  /// The header's bytes so far: type (1) | length (3).
  private var header: UInt32 = 0
  private var headerCount = 0
  private var bodyLeft = 0

  init(isServer: Bool) { self.isServer = isServer }

  /// Whether a message has begun and not ended: nothing but handshake records may come then.
  var isInsideMessage: Bool { headerCount > 0 }

  /// Reads the content of one handshake record, which is not empty.
  mutating func read(_ content: UnsafeRawBufferPointer) -> Result {
    var i = 0
    while i < content.count {
      if headerCount < 4 {
        header = header << 8 | UInt32(content[i])
        headerCount += 1
        i += 1
        if headerCount == 4, let error = beginBody() { return .failed(error) }
        continue
      }
      if header >> 24 == Self.keyUpdate {
        headerCount = 0
        // Messages must not go on in a record beyond a change of keys (RFC 8446 5.1).
        guard i == content.count - 1 else { return .failed(.unexpectedMessage) }
        guard content[i] <= 1 else { return .failed(.illegalParameter) }
        return .keyUpdate(answerRequested: content[i] == 1)
      }
      let skipped = min(bodyLeft, content.count - i)
      bodyLeft -= skipped
      i += skipped
      if bodyLeft == 0 { headerCount = 0 }
    }
    return .nothing
  }

  private mutating func beginBody() -> TLSError? {
    bodyLeft = Int(header & 0xFF_FFFF)
    switch header >> 24 {
    case Self.newSessionTicket where !isServer:
      return bodyLeft > 0 && bodyLeft <= Limits.tlsTicketBytesMax ? nil : .malformedMessage
    case Self.keyUpdate:
      return bodyLeft == 1 ? nil : .malformedMessage
    default:
      return .unexpectedMessage
    }
  }
}
