// What the links of a hub or of an edge have in common: OpenSSL's context with our settings, the
// hub's identity, the edge's trust.

import COpenSSL
import RICrypto

/// Who makes the records after the handshake.
public enum RecordImplementation: Sendable {
  /// Our own record layer.
  case own
  /// OpenSSL's: the same behaviour outwardly, slower.
  case openSSL
}

/// What a hub's links share. Immutable; safe from any thread.
public final class TLSServerContext: @unchecked Sendable {
  // SAFETY: `SSL_CTX *`, not changed after init, counted atomically by OpenSSL; freed in deinit.
  let context: OpaquePointer
  let records: RecordImplementation

  public init(identity: TLSIdentity, records: RecordImplementation = .own) throws(TLSError) {
    context = try makeContext(TLS_server_method(), records)
    self.records = records
    guard SSL_CTX_use_certificate(context, identity.certificates[0]) == 1,
      SSL_CTX_use_PrivateKey(context, identity.key) == 1,
      identity.certificates.dropFirst().allSatisfy({ openssl_add_chain_certificate(context, $0) })
    else { throw .library(TLSError.takeLibraryCode()) }
  }

  deinit { SSL_CTX_free(context) }
}

/// What an edge's links share. Immutable; safe from any thread.
public final class TLSClientContext: @unchecked Sendable {
  // SAFETY: as in `TLSServerContext`. The callback's argument is this object, which outlives every
  // handshake because its links hold it.
  let context: OpaquePointer
  let records: RecordImplementation
  let trust: HubTrust

  public init(trust: HubTrust, records: RecordImplementation = .own) throws(TLSError) {
    context = try makeContext(TLS_client_method(), records)
    self.records = records
    self.trust = trust
    if case .authorities(let file, _) = trust {
      let isLoaded =
        file.map { SSL_CTX_load_verify_locations(context, $0, nil) == 1 }
        ?? (SSL_CTX_set_default_verify_paths(context) == 1)
      ERR_clear_error()
      guard isLoaded else { throw .badAuthorities }
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    SSL_CTX_set_cert_verify_callback(
      context,
      { verification, argument in
        guard let verification, let argument,
          let connection = OpenSSLConnection.of(openssl_verified_connection(verification))
        else { return 0 }
        let client = Unmanaged<TLSClientContext>.fromOpaque(argument).takeUnretainedValue()
        connection.trustFailure = client.verify(verification, connection)
        return connection.trustFailure == nil ? 1 : 0
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  deinit { SSL_CTX_free(context) }

  /// A connection that will check for the right name and ask for `serverName`.
  func makeConnection(serverName: String?) -> OpenSSLConnection? {
    guard let connection = OpenSSLConnection(context, isServer: false) else { return nil }
    if case .authorities(_, let hostName) = trust {
      // An address is looked for among the certificate's addresses, a name among its names.
      guard
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection.ssl), hostName) == 1
          || SSL_set1_host(connection.ssl, hostName) == 1
      else { return nil }
      SSL_set_hostflags(connection.ssl, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
    }
    // A server name is never an address (RFC 6066 3).
    if let serverName, !Self.isAddress(serverName),
      !openssl_set_server_name(connection.ssl, serverName)
    {
      return nil
    }
    return connection
  }

  /// Nil when the certificate is the hub's. Its key has yet to sign the handshake then.
  private func verify(
    _ verification: OpaquePointer, _ connection: OpenSSLConnection
  ) -> TLSError? {
    guard let certificate = X509_STORE_CTX_get0_cert(verification),
      let got = CertificatePin(certificate: certificate)
    else { return .certificateRejected(Int(X509_V_ERR_UNSPECIFIED)) }
    connection.peerPin = got
    switch trust {
    case .insecure, .firstUse(known: nil):
      return nil
    case .pin(let expected), .firstUse(known: .some(let expected)):
      guard expected != got else { return nil }
      X509_STORE_CTX_set_error(verification, X509_V_ERR_CERT_REJECTED)
      return .pinMismatch(expected: expected, got: got)
    case .authorities:
      guard X509_verify_cert(verification) != 1 else { return nil }
      return .certificateRejected(Int(X509_STORE_CTX_get_error(verification)))
    }
  }

  private static func isAddress(_ name: String) -> Bool {
    guard let address = a2i_IPADDRESS(name) else { return false }
    ASN1_OCTET_STRING_free(address)
    return true
  }
}

/// An `SSL_CTX *` with the settings that both sides share: TLS 1.3 alone, AES-128-GCM first where
/// the CPU has AES.
private func makeContext(
  _ method: OpaquePointer?, _ records: RecordImplementation
) throws(TLSError) -> OpaquePointer {
  let aes = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
  let chaCha = "TLS_CHACHA20_POLY1305_SHA256"
  let suites = openssl_cpu_has_aes() ? "\(aes):\(chaCha)" : "\(chaCha):\(aes)"
  guard let context = SSL_CTX_new(method) else { throw .library(TLSError.takeLibraryCode()) }
  guard openssl_set_versions(context, TLS1_3_VERSION, TLS1_3_VERSION),
    SSL_CTX_set_ciphersuites(context, suites) == 1,
    openssl_set_groups(context, "X25519:P-256")
  else {
    SSL_CTX_free(context)
    throw .library(TLSError.takeLibraryCode())
  }
  openssl_set_options(context)
  if records == .own {
    SSL_CTX_set_keylog_callback(context) { ssl, line in
      guard let line else { return }
      OpenSSLConnection.of(ssl)?.takeKeyLogLine(line)
    }
  }
  return context
}
