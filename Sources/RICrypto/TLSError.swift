// Every way in which an identity, a handshake or a link can fail. Trivial (numbers and pins only),
// so that a verdict that may carry one costs nothing, and no case can hold a secret.

import COpenSSL
import Glibc

/// Why there is no TLS. Codes are turned into words by `description`.
public enum TLSError: Error, Equatable, Sendable, CustomStringConvertible {
  // MARK: Identity and set-up

  case badCertificatePEM
  case badPrivateKeyPEM
  case keyDoesNotFitCertificate
  /// Not a name that a certificate can carry: letters, digits, `.`, `-` and `:` only.
  case badCommonName
  /// The file of authorities cannot be read or holds none.
  case badAuthorities
  /// A file of the state directory: `errno`.
  case stateFile(Int32)
  /// OpenSSL refused a setting or had no memory: its packed error code.
  case library(UInt)

  // MARK: Handshake

  case notTLS
  case handshakeTooLong
  case pinMismatch(expected: CertificatePin, got: CertificatePin)
  /// The hub's certificate does not satisfy the authorities: an `X509_V_ERR_…` code.
  case certificateRejected(Int)
  /// OpenSSL's packed error code.
  case handshakeFailed(UInt)

  // MARK: Records

  /// The peer ended the link: its alert's description (RFC 8446 6).
  case peerAlert(UInt8)
  case badRecordMAC
  case recordOverflow
  /// A record or message that must not come here.
  case unexpectedMessage
  /// A message that contradicts its own length.
  case malformedMessage
  /// A field with a value that the protocol does not allow.
  case illegalParameter
  /// More records in a row without application data than anybody needs.
  case tooManyEmptyRecords

  /// The oldest error that OpenSSL noted on this thread; forgets the others.
  package static func takeLibraryCode() -> UInt {
    let code = UInt(ERR_get_error())
    ERR_clear_error()
    return code
  }

  public var description: String {
    switch self {
    case .badCertificatePEM: "the certificate is not a chain in PEM"
    case .badPrivateKeyPEM: "the private key is not an unencrypted key in PEM"
    case .keyDoesNotFitCertificate: "the private key is not the certificate's"
    case .badCommonName: "a certificate cannot carry this name"
    case .badAuthorities: "the file of certificate authorities cannot be read or holds none"
    case .stateFile(let code): "the state directory: \(String(cString: strerror(code)))"
    case .library(let code): "TLS library: \(Self.words(code))"
    case .notTLS: "the peer does not speak TLS"
    case .handshakeTooLong: "the peer's handshake is too long"
    case .pinMismatch(let expected, let got):
      "the hub's key is not the pinned one: expected \(expected), got \(got)"
    case .certificateRejected(let code):
      "the hub's certificate was rejected: "
        + String(cString: X509_verify_cert_error_string(code))
    case .handshakeFailed(let code): "the TLS handshake failed: \(Self.words(code))"
    case .peerAlert(let code):
      "the peer sent the TLS alert \(code) ("
        + String(cString: SSL_alert_desc_string_long(Int32(code))) + ")"
    case .badRecordMAC: "a TLS record is not authentic"
    case .recordOverflow: "a TLS record is too long"
    case .unexpectedMessage: "a TLS record or message came where it must not"
    case .malformedMessage: "a TLS message contradicts its own length"
    case .illegalParameter: "a TLS message holds a value that is not allowed"
    case .tooManyEmptyRecords: "too many TLS records without data"
    }
  }

  private static func words(_ code: UInt) -> String {
    guard let reason = ERR_reason_error_string(code) else { return "no reason given (\(code))" }
    return String(cString: reason)
  }
}
