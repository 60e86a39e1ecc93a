// A peer's certificates in DER, judged by a `HubTrust`: for a handshake that is not OpenSSL's.

import COpenSSL

/// The authorities that an edge trusts, if its trust is by authorities. Immutable; safe from any
/// thread.
public final class TrustAnchors: @unchecked Sendable {
  // SAFETY: `X509_STORE *`, not changed after init, counted atomically; freed in deinit.
  private let store: OpaquePointer?
  private let trust: HubTrust

  public init(_ trust: HubTrust) throws(TLSError) {
    self.trust = trust
    guard case .authorities(let file, _) = trust else {
      store = nil
      return
    }
    guard let store = X509_STORE_new() else { throw .library(TLSError.takeLibraryCode()) }
    let isLoaded =
      file.map { X509_STORE_load_locations(store, $0, nil) == 1 }
      ?? (X509_STORE_set_default_paths(store) == 1)
    ERR_clear_error()
    guard isLoaded else {
      X509_STORE_free(store)
      throw .badAuthorities
    }
    self.store = store
  }

  deinit { X509_STORE_free(store) }

  /// Judges a chain, the leaf first: the leaf's pin, or why it is not the hub's. The key has yet to
  /// sign the handshake.
  public func judge(_ chain: [UnsafeRawBufferPointer]) -> Result<CertificatePin, TLSError> {
    var certificates: [OpaquePointer] = []
    defer { for certificate in certificates { X509_free(certificate) } }
    for bytes in chain {
      var start = bytes.bindMemory(to: UInt8.self).baseAddress
      // SAFETY: reads at most `count` bytes and makes an object of its own.
      guard let certificate = d2i_X509(nil, &start, bytes.count) else { break }
      certificates.append(certificate)
    }
    ERR_clear_error()
    guard let leaf = certificates.first, let got = CertificatePin(certificate: leaf) else {
      return .failure(.certificateRejected(Int(X509_V_ERR_UNSPECIFIED)))
    }
    switch trust {
    case .insecure, .firstUse(known: nil): return .success(got)
    case .pin(let expected), .firstUse(known: .some(let expected)):
      return expected == got ? .success(got) : .failure(.pinMismatch(expected: expected, got: got))
    case .authorities(_, let hostName):
      let code = verify(certificates, hostName)
      return code == X509_V_OK ? .success(got) : .failure(.certificateRejected(Int(code)))
    }
  }

  private func verify(_ certificates: [OpaquePointer], _ hostName: String) -> Int32 {
    guard let store, let context = X509_STORE_CTX_new(), let stack = openssl_certificate_stack()
    else { return X509_V_ERR_OUT_OF_MEM }
    defer {
      X509_STORE_CTX_free(context)
      openssl_certificate_stack_free(stack)
    }
    for certificate in certificates.dropFirst() {
      openssl_certificate_stack_push(stack, certificate)
    }
    guard X509_STORE_CTX_init(context, store, certificates[0], stack) == 1,
      X509_STORE_CTX_set_default(context, "ssl_server") == 1,
      let parameters = X509_STORE_CTX_get0_param(context)
    else { return X509_V_ERR_UNSPECIFIED }
    // An address is looked for among the certificate's addresses, a name among its names.
    guard
      X509_VERIFY_PARAM_set1_ip_asc(parameters, hostName) == 1
        || X509_VERIFY_PARAM_set1_host(parameters, hostName, 0) == 1
    else { return X509_V_ERR_HOSTNAME_MISMATCH }
    X509_VERIFY_PARAM_set_hostflags(parameters, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
    let isGood = X509_verify_cert(context) == 1
    let code = X509_STORE_CTX_get_error(context)
    ERR_clear_error()
    return isGood ? X509_V_OK : (code == X509_V_OK ? X509_V_ERR_UNSPECIFIED : code)
  }
}
