// OpenSSL's side of a link: an SSL object between two memory BIOs. It makes the handshake; with
// `RecordImplementation.openSSL` it stays for the records (OpenSSLRecords.swift).

import COpenSSL
import RIBase
import RICrypto

enum HandshakeStep {
  case needsMore
  case done
  case closed
  case failed(TLSError)
}

/// Ciphertext goes in record by record, so that nothing is left inside when the handshake ends.
final class OpenSSLConnection {
  // SAFETY: `ssl` is made in init and freed in deinit; it owns both BIOs. Its application data
  // points back at this object, unretained: callbacks come only from calls made through it.
  let ssl: OpaquePointer
  let input: OpaquePointer
  let output: OpaquePointer
  let isServer: Bool
  /// Set by the verification callback, before the handshake is done.
  var peerPin: CertificatePin?
  var trustFailure: TLSError?
  private(set) var clientSecret: TrafficSecret?
  private(set) var serverSecret: TrafficSecret?
  /// Records that the last step of the handshake has produced.
  private(set) var recordsOfLastStep: UInt64 = 0

  /// Nil when memory is out. `context` is an `SSL_CTX *`.
  init?(_ context: OpaquePointer, isServer: Bool) {
    guard let ssl = SSL_new(context) else { return nil }
    guard let input = BIO_new(BIO_s_mem()), let output = BIO_new(BIO_s_mem()) else {
      SSL_free(ssl)
      return nil
    }
    SSL_set_bio(ssl, input, output)
    if isServer { SSL_set_accept_state(ssl) } else { SSL_set_connect_state(ssl) }
    self.ssl = ssl
    self.input = input
    self.output = output
    self.isServer = isServer
    openssl_set_owner(ssl, Unmanaged.passUnretained(self).toOpaque())
  }

  deinit { SSL_free(ssl) }

  /// The connection that OpenSSL calls back about.
  static func of(_ ssl: OpaquePointer?) -> OpenSSLConnection? {
    guard let ssl, let owner = openssl_owner(ssl) else { return nil }
    // SAFETY: set in init and valid while `ssl` is: both end in deinit.
    return Unmanaged<OpenSSLConnection>.fromOpaque(owner).takeUnretainedValue()
  }

  // MARK: Handshake

  /// Goes on with the handshake, given one whole record (a client starts with none).
  func step(_ record: UnsafeRawBufferPointer) -> HandshakeStep {
    feed(record)
    let before = outputBytes
    let result = SSL_do_handshake(ssl)
    recordsOfLastStep = countRecords(after: before)
    if result == 1 {
      // All was fed as whole records, and a change of keys ends one: nothing can be left.
      return BIO_ctrl_pending(input) == 0 && SSL_has_pending(ssl) == 0
        ? .done : .failed(.unexpectedMessage)
    }
    return switch SSL_get_error(ssl, result) {
    case SSL_ERROR_WANT_READ: .needsMore
    case SSL_ERROR_ZERO_RETURN: .closed
    default: .failed(trustFailure ?? takeError())
    }
  }

  func feed(_ record: UnsafeRawBufferPointer) {
    ERR_clear_error()
    guard record.count > 0 else { return }
    let written = BIO_write(input, record.baseAddress, Int32(record.count))
    precondition(Int(written) == record.count, "no memory for a handshake record")
  }

  /// The error that OpenSSL noted last, under our name where we have one.
  func takeError() -> TLSError {
    let code = TLSError.takeLibraryCode()
    let reason = openssl_reason(code)
    // Received alerts are noted as their number plus 1,000.
    if reason >= SSL_AD_REASON_OFFSET, reason < SSL_AD_REASON_OFFSET + 256 {
      return .peerAlert(UInt8(reason - SSL_AD_REASON_OFFSET))
    }
    return switch reason {
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC: .badRecordMAC
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG, SSL_R_DATA_LENGTH_TOO_LONG, SSL_R_PACKET_LENGTH_TOO_LONG:
      .recordOverflow
    default: .handshakeFailed(code)
    }
  }

  var suite: CipherSuite? {
    guard let cipher = SSL_get_current_cipher(ssl) else { return nil }
    return CipherSuite(rawValue: SSL_CIPHER_get_protocol_id(cipher))
  }

  /// Our own record layer with the secrets of a handshake that is done. Nil when OpenSSL told us
  /// none or chose a suite that we did not offer.
  func makeRecordLayer() -> RecordLayer? {
    guard let suite, let clientSecret, let serverSecret, clientSecret.hash == suite.hash,
      serverSecret.hash == suite.hash
    else { return nil }
    // A server's last step comes after its Finished: what it produces (tickets) is already under
    // the keys that we take over. A client's is its Finished, still under the handshake's keys.
    let client = RecordProtection(suite, secret: clientSecret, recordNumber: 0)
    let server = RecordProtection(
      suite, secret: serverSecret, recordNumber: isServer ? recordsOfLastStep : 0)
    return RecordLayer(
      reading: isServer ? client : server, writing: isServer ? server : client, isServer: isServer)
  }

  /// Takes a line of the key log: label, client random, secret in hexadecimal digits.
  func takeKeyLogLine(_ line: UnsafePointer<CChar>) {
    let text = UnsafeRawBufferPointer(start: line, count: strlen(line))
    let isClients = text.starts(with: "CLIENT_TRAFFIC_SECRET_0 ".utf8)
    guard isClients || text.starts(with: "SERVER_TRAFFIC_SECRET_0 ".utf8),
      let space = text.lastIndex(of: UInt8(ascii: " "))
    else { return }
    let digits = UnsafeRawBufferPointer(rebasing: text[(space + 1)...])
    guard digits.count == 64 || digits.count == 96 else { return }
    withUnsafeTemporaryAllocation(byteCount: digits.count / 2, alignment: 8) { bytes in
      for i in bytes.indices {
        bytes[i] =
          (hexadecimalDigit(digits[2 * i]) ?? 0) << 4 | (hexadecimalDigit(digits[2 * i + 1]) ?? 0)
      }
      let secret = TrafficSecret(
        digits.count == 64 ? .sha256 : .sha384, bytes: UnsafeRawBufferPointer(bytes))
      OPENSSL_cleanse(bytes.baseAddress, bytes.count)
      if isClients { clientSecret = secret } else { serverSecret = secret }
    }
  }

  // MARK: Output

  var outputBytes: Int { BIO_ctrl_pending(output) }

  /// Moves what OpenSSL has produced, as far as there is room.
  func writeOutput(to writer: inout BufferWriter) {
    while outputBytes > 0, writer.roomBytes > 0 {
      let room = writer.room
      let n = BIO_read(output, room.baseAddress, Int32(clamping: room.count))
      guard n > 0 else { return }
      writer.advance(Int(n))
    }
  }

  /// Whole records among the output behind its first `start` bytes.
  private func countRecords(after start: Int) -> UInt64 {
    var memory: UnsafeMutablePointer<CChar>?
    let count = openssl_memory(output, &memory)
    guard let memory, count > start else { return 0 }
    // SAFETY: `count` readable bytes, until the BIO is written or read again.
    var rest = UnsafeRawBufferPointer(start: UnsafeRawPointer(memory) + start, count: count - start)
    var records: UInt64 = 0
    while rest.count >= RecordHeader.byteCount {
      let size = RecordHeader.byteCount + RecordHeader(rest).bodyCount
      guard size <= rest.count else { break }
      rest = UnsafeRawBufferPointer(rebasing: rest[size...])
      records += 1
    }
    return records
  }
}
