// Opening: one protected record in, its content out, in place. The mirror of RecordSealer.

import RIBase
import RICrypto

/// What a record held.
enum RecordContent {
  /// `count` bytes of application data behind the record's header; more than none.
  case data(count: Int)
  /// Nothing for the application.
  case nothing
  /// The peer's next record is under new keys; it may want ours too.
  case keyUpdate(answerRequested: Bool)
  case closeNotify
  case failed(TLSError)
}

/// The receiving direction of a link after its handshake.
struct RecordOpener {
  private var protection: RecordProtection
  private var messages: PostHandshakeReader
  private var recordsWithoutData = 0

  init(_ protection: RecordProtection, isServer: Bool) {
    self.protection = protection
    messages = PostHandshakeReader(isServer: isServer)
  }

  /// Opens one whole record in place. Its length is within `RecordHeader.protectedBytesMax`.
  mutating func open(_ record: UnsafeMutableRawBufferPointer) -> RecordContent {
    // Not even a change_cipher_spec may come now (RFC 8446 5).
    guard record[0] == RecordType.applicationData else { return .failed(.unexpectedMessage) }
    let header = UnsafeRawBufferPointer(rebasing: record[0..<RecordHeader.byteCount])
    let body = UnsafeMutableRawBufferPointer(rebasing: record[RecordHeader.byteCount...])
    guard protection.key.open(body, nonce: protection.nextNonce(), authenticated: header) else {
      return .failed(.badRecordMAC)
    }
    // Content, its type, zeros (RFC 8446 5.4).
    var end = body.count - AEADKey.tagBytes - 1
    while end >= 0, body[end] == 0 { end -= 1 }
    guard end >= 0 else { return .failed(.unexpectedMessage) }
    let content = UnsafeRawBufferPointer(rebasing: body[0..<end])
    if body[end] == RecordType.applicationData, !content.isEmpty, !messages.isInsideMessage {
      recordsWithoutData = 0
      return .data(count: content.count)
    }
    recordsWithoutData += 1
    guard recordsWithoutData <= Limits.tlsRecordsWithoutDataMax else {
      return .failed(.tooManyEmptyRecords)
    }
    return readControl(content, type: body[end])
  }

  private mutating func readControl(
    _ content: UnsafeRawBufferPointer, type: UInt8
  ) -> RecordContent {
    // Other records must not come between those of one message (RFC 8446 5.1).
    guard type == RecordType.handshake || !messages.isInsideMessage else {
      return .failed(.unexpectedMessage)
    }
    switch type {
    case RecordType.applicationData:
      return .nothing
    case RecordType.alert:
      guard content.count == Alert.byteCount else { return .failed(.malformedMessage) }
      return switch content[1] {
      case Alert.closeNotify.description: .closeNotify
      // Only announces that a close_notify follows (RFC 8446 6.1).
      case Alert.userCanceled: .nothing
      default: .failed(.peerAlert(content[1]))
      }
    case RecordType.handshake:
      guard !content.isEmpty else { return .failed(.unexpectedMessage) }
      switch messages.read(content) {
      case .nothing: return .nothing
      case .failed(let error): return .failed(error)
      case .keyUpdate(let answerRequested):
        protection.update()
        return .keyUpdate(answerRequested: answerRequested)
      }
    default:
      return .failed(.unexpectedMessage)
    }
  }
}
