// A hub's certificate chain and private key: read from PEM or made here.

import COpenSSL

/// A certificate chain with the key of its first certificate. Immutable; safe from any thread.
public final class TLSIdentity: @unchecked Sendable {
  // SAFETY: `X509 *`, leaf first, and `EVP_PKEY *`: one reference each, dropped in deinit. OpenSSL
  // counts references atomically and nobody changes the objects.
  package let certificates: [OpaquePointer]
  package let key: OpaquePointer
  /// The pin by which edges know this identity.
  public let pin: CertificatePin

  /// Takes over the references.
  private init(certificates: [OpaquePointer], key: OpaquePointer) throws(TLSError) {
    self.certificates = certificates
    self.key = key
    guard let leaf = certificates.first, let pin = CertificatePin(certificate: leaf) else {
      for certificate in certificates { X509_free(certificate) }
      EVP_PKEY_free(key)
      throw .badCertificatePEM
    }
    self.pin = pin
  }

  deinit {
    for certificate in certificates { X509_free(certificate) }
    EVP_PKEY_free(key)
  }

  // MARK: PEM

  /// Reads a chain (leaf first) and the leaf's unencrypted private key, both in PEM. The two texts
  /// may be the same one.
  public static func load(
    certificatePEM: String, keyPEM: String
  ) throws(TLSError) -> TLSIdentity {
    let certificates = readCertificates(certificatePEM)
    guard !certificates.isEmpty else { throw .badCertificatePEM }
    guard let key = readKey(keyPEM) else {
      for certificate in certificates { X509_free(certificate) }
      throw .badPrivateKeyPEM
    }
    let identity = try TLSIdentity(certificates: certificates, key: key)
    guard X509_check_private_key(certificates[0], key) == 1 else {
      ERR_clear_error()
      throw .keyDoesNotFitCertificate
    }
    return identity
  }

  /// The chain and the key in PEM. The key is secret.
  public func pem() -> (certificate: String, key: String) {
    let certificate = Self.write { memory in
      for certificate in certificates { PEM_write_bio_X509(memory, certificate) }
    }
    let key = Self.write { memory in
      PEM_write_bio_PrivateKey(memory, self.key, nil, nil, 0, nil, nil)
    }
    return (certificate, key)
  }

  private static func readCertificates(_ text: String) -> [OpaquePointer] {
    var certificates: [OpaquePointer] = []
    read(text) { memory in
      while let certificate = PEM_read_bio_X509(memory, nil, refusePassphrase, nil) {
        certificates.append(certificate)
      }
    }
    return certificates
  }

  private static func readKey(_ text: String) -> OpaquePointer? {
    var key: OpaquePointer?
    read(text) { key = PEM_read_bio_PrivateKey($0, nil, refusePassphrase, nil) }
    return key
  }

  /// Without it OpenSSL asks the terminal.
  private static let refusePassphrase:
    @convention(c) @Sendable (
      UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?
    ) -> Int32 = { _, _, _, _ in -1 }

  private static func read(_ text: String, _ body: (OpaquePointer) -> Void) {
    var text = text
    text.withUTF8 { bytes in
      guard let memory = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else {
        return
      }
      body(memory)
      BIO_free(memory)
    }
    // Reading ends with "no start line".
    ERR_clear_error()
  }

  private static func write(_ body: (OpaquePointer) -> Void) -> String {
    guard let memory = BIO_new(BIO_s_secmem()) else { return "" }
    defer { BIO_free(memory) }
    body(memory)
    var bytes: UnsafeMutablePointer<CChar>?
    let count = openssl_memory(memory, &bytes)
    return String(
      decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
  }

  // MARK: Self-signed

  /// Makes a P-256 key and a certificate for it that is valid for 10 years and carries
  /// `commonName` as subject and as alternative name.
  public static func selfSigned(commonName: String) throws(TLSError) -> TLSIdentity {
    guard isName(commonName) else { throw .badCommonName }
    guard let key = openssl_make_p256_key() else { throw .library(TLSError.takeLibraryCode()) }
    guard let certificate = X509_new() else {
      EVP_PKEY_free(key)
      throw .library(TLSError.takeLibraryCode())
    }
    let isMade = fill(certificate, name: commonName, key: key)
    let identity = try TLSIdentity(certificates: [certificate], key: key)
    guard isMade else { throw .library(TLSError.takeLibraryCode()) }
    return identity
  }

  /// Names that stand for themselves in OpenSSL's extension syntax, at most 64 characters
  /// (RFC 5280 A.1, ub-common-name).
  private static func isName(_ name: String) -> Bool {
    (1...64).contains(name.utf8.count)
      && name.utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
          UInt8(ascii: ":"):
          true
        default: false
        }
      }
  }

  private static func fill(_ certificate: OpaquePointer, name: String, key: OpaquePointer) -> Bool {
    let day = 86_400
    let subject = X509_get_subject_name(certificate)
    let isAddress = a2i_IPADDRESS(name).map { ASN1_OCTET_STRING_free($0) } != nil
    return setSerial(of: certificate)
      // An hour back, for edges whose clock is behind.
      && X509_gmtime_adj(X509_getm_notBefore(certificate), -3_600) != nil
      && X509_gmtime_adj(X509_getm_notAfter(certificate), 3_652 * day) != nil
      && X509_set_version(certificate, 2) == 1
      && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, name, -1, -1, 0) == 1
      && X509_set_issuer_name(certificate, subject) == 1
      && X509_set_pubkey(certificate, key) == 1
      && add(NID_subject_alt_name, (isAddress ? "IP:" : "DNS:") + name, to: certificate)
      && add(NID_basic_constraints, "critical,CA:FALSE", to: certificate)
      && add(NID_key_usage, "critical,digitalSignature", to: certificate)
      && add(NID_ext_key_usage, "serverAuth", to: certificate)
      && X509_sign(certificate, key, EVP_sha256()) > 0
  }

  /// 127 random bits (RFC 5280 4.1.2.2: positive, at most 20 bytes).
  private static func setSerial(of certificate: OpaquePointer) -> Bool {
    guard let number = BN_new() else { return false }
    defer { BN_free(number) }
    return BN_rand(number, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1
      && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nil
  }

  private static func add(_ kind: Int32, _ value: String, to certificate: OpaquePointer) -> Bool {
    guard let `extension` = X509V3_EXT_conf_nid(nil, nil, kind, value) else { return false }
    defer { X509_EXTENSION_free(`extension`) }
    return X509_add_ext(certificate, `extension`, -1) == 1
  }
}
