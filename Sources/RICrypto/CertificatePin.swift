// What identifies a hub to an edge that trusts no authority: the hash of its public key.

import COpenSSL

/// The SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 2.4).
public struct CertificatePin: Hashable, Sendable, CustomStringConvertible {
  public static let byteCount = 32
  private let words: (UInt64, UInt64, UInt64, UInt64)

  /// Copies exactly 32 bytes.
  public init(_ bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count == Self.byteCount)
    words = (
      bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self),
      bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self),
      bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self),
      bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self)
    )
  }

  /// The pin of a certificate (`X509 *`); nil when its key cannot be encoded.
  package init?(certificate: OpaquePointer) {
    // SAFETY: OpenSSL allocates the `count` bytes at `encoded`, ours until freed on the way out.
    // SHA256 fills exactly the 32 bytes lent for the closure, and the pin copies them before it
    // ends.
    var encoded: UnsafeMutablePointer<UInt8>?
    let count = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &encoded)
    guard count > 0, let encoded else { return nil }
    defer { CRYPTO_free(encoded, #file, #line) }
    self = withUnsafeTemporaryAllocation(byteCount: Self.byteCount, alignment: 8) { hash in
      SHA256(encoded, Int(count), hash.bindMemory(to: UInt8.self).baseAddress)
      return CertificatePin(UnsafeRawBufferPointer(hash))
    }
  }

  /// Reads `sha256/` with 44 characters of base64, or 64 hexadecimal digits; nil for anything else.
  public init?(parsing text: String) {
    let prefix = "sha256/"
    let bytes =
      text.hasPrefix(prefix)
      ? Self.decodeBase64(Array(text.utf8.dropFirst(prefix.utf8.count)))
      : Self.decodeHexadecimal(Array(text.utf8))
    guard let bytes, bytes.count == Self.byteCount else { return nil }
    self = bytes.withUnsafeBytes { CertificatePin($0) }
    // Base64 has bits to spare in its last character: only the canonical text is a pin.
    guard !text.hasPrefix(prefix) || description == text else { return nil }
  }

  /// `sha256/` and the hash in base64.
  public var description: String {
    // SAFETY: 32 bytes, lent for the call, encode to 44 characters and a terminating zero; 64 fit.
    let encoded = withUnsafeBytes(of: words) { bytes in
      [UInt8](unsafeUninitializedCapacity: 64) { output, count in
        count = Int(
          EVP_EncodeBlock(
            output.baseAddress, bytes.bindMemory(to: UInt8.self).baseAddress, Int32(bytes.count)))
      }
    }
    return "sha256/" + String(decoding: encoded, as: UTF8.self)
  }

  /// The 32 bytes, lent to `body`.
  public func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
    withUnsafeBytes(of: words) { body($0) }
  }

  public static func == (a: CertificatePin, b: CertificatePin) -> Bool { a.words == b.words }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(words.0)
    hasher.combine(words.1)
  }

  private static func decodeBase64(_ text: [UInt8]) -> [UInt8]? {
    guard text.count == 44, text.last == UInt8(ascii: "=") else { return nil }
    // SAFETY: 44 characters decode to 33 bytes; 48 fit.
    let decoded = [UInt8](unsafeUninitializedCapacity: 48) { output, count in
      count = max(0, Int(EVP_DecodeBlock(output.baseAddress, text, Int32(text.count))))
    }
    return decoded.count == 33 ? Array(decoded.dropLast()) : nil
  }

  private static func decodeHexadecimal(_ text: [UInt8]) -> [UInt8]? {
    guard text.count == 2 * byteCount else { return nil }
    var bytes: [UInt8] = []
    for i in stride(from: 0, to: text.count, by: 2) {
      guard let high = hexadecimalDigit(text[i]), let low = hexadecimalDigit(text[i + 1]) else {
        return nil
      }
      bytes.append(high << 4 | low)
    }
    return bytes
  }
}

/// The value of a hexadecimal digit in ASCII, either case.
package func hexadecimalDigit(_ character: UInt8) -> UInt8? {
  switch character {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
  case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
  case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
  default: nil
  }
}
