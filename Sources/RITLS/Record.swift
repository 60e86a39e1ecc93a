// The shape of TLS 1.3 records (RFC 8446 5), the suites that protect them, and the alerts.

import RIBase
import RICrypto

enum RecordType {
  static let changeCipherSpec: UInt8 = 20
  static let alert: UInt8 = 21
  static let handshake: UInt8 = 22
  static let applicationData: UInt8 = 23
}

/// type (1) | legacy version (2) | length of what follows (2).
struct RecordHeader {
  static let byteCount = 5
  /// What protection adds to a record's content: header, content type and tag.
  static let overheadBytes = byteCount + 1 + AEADKey.tagBytes
  /// A protected record behind its header. RFC 8446 5.2 lets the length go to 2^14 + 256 but the
  /// plaintext with its type and padding only to 2^14 + 1, and a tag has 16 bytes: longer ones
  /// would be refused once opened, with the same alert.
  static let protectedBytesMax = Limits.tlsPlaintextBytesMax + 1 + AEADKey.tagBytes

  let type: UInt8
  let majorVersion: UInt8
  let bodyCount: Int

  /// Reads the first 5 bytes.
  init(_ bytes: UnsafeRawBufferPointer) {
    type = bytes[0]
    majorVersion = bytes[1]
    bodyCount = Int(bytes[3]) << 8 | Int(bytes[4])
  }

  /// Writes the header of a protected record with `bodyCount` bytes behind it.
  static func writeProtected(bodyCount: Int, to bytes: UnsafeMutableRawBufferPointer) {
    bytes[0] = RecordType.applicationData
    bytes[1] = 3
    bytes[2] = 3
    bytes[3] = UInt8(truncatingIfNeeded: bodyCount >> 8)
    bytes[4] = UInt8(truncatingIfNeeded: bodyCount)
  }
}

/// The cipher suites of TLS 1.3 that we offer (RFC 8446 B.4), by their numbers.
enum CipherSuite: UInt16 {
  case aes128GCMSHA256 = 0x1301
  case aes256GCMSHA384 = 0x1302
  case chaCha20Poly1305SHA256 = 0x1303

  var algorithm: AEADAlgorithm {
    switch self {
    case .aes128GCMSHA256: .aes128GCM
    case .aes256GCMSHA384: .aes256GCM
    case .chaCha20Poly1305SHA256: .chaCha20Poly1305
    }
  }

  var hash: SuiteHash { self == .aes256GCMSHA384 ? .sha384 : .sha256 }

  var name: String {
    switch self {
    case .aes128GCMSHA256: "TLS_AES_128_GCM_SHA256"
    case .aes256GCMSHA384: "TLS_AES_256_GCM_SHA384"
    case .chaCha20Poly1305SHA256: "TLS_CHACHA20_POLY1305_SHA256"
    }
  }
}

/// level (1) | description (1), RFC 8446 6.
struct Alert: Equatable {
  static let byteCount = 2
  static let closeNotify = Alert(level: 1, description: 0)
  static let userCanceled: UInt8 = 90

  let level: UInt8
  let description: UInt8

  private init(level: UInt8, description: UInt8) {
    self.level = level
    self.description = description
  }

  /// What tells the peer of an error that we found in its records; nil for all other errors.
  init?(_ error: TLSError) {
    let description: UInt8? =
      switch error {
      case .unexpectedMessage, .tooManyEmptyRecords: 10
      case .badRecordMAC: 20
      case .recordOverflow: 22
      case .illegalParameter: 47
      case .malformedMessage: 50
      default: nil
      }
    guard let description else { return nil }
    self.init(level: 2, description: description)
  }
}
