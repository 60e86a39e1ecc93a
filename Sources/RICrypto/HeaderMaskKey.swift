// The mask that hides the headers of QUIC packets (RFC 9001 section 5.4).

import COpenSSL

/// One header protection key. Calls allocate nothing. Not safe for use by two threads.
public final class HeaderMaskKey {
  public static let sampleBytes = 16
  public static let maskBytes = 5

  // SAFETY: made in init, freed in deinit, used by this object alone in between.
  private let context: OpaquePointer
  private let isChaCha: Bool

  // SAFETY: fetched once, never freed, and EVP_CIPHER is immutable after the fetch.
  nonisolated(unsafe) private static let aes128 = EVP_CIPHER_fetch(nil, "AES-128-ECB", nil)
  nonisolated(unsafe) private static let aes256 = EVP_CIPHER_fetch(nil, "AES-256-ECB", nil)
  nonisolated(unsafe) private static let chaCha20 = EVP_CIPHER_fetch(nil, "ChaCha20", nil)

  /// Expands a key of `algorithm.keyBytes` bytes, which is not kept.
  public init(_ algorithm: AEADAlgorithm, key: UnsafeRawBufferPointer) {
    precondition(key.count == algorithm.keyBytes, "key of the wrong length")
    let cipher =
      switch algorithm {
      case .aes128GCM: Self.aes128
      case .aes256GCM: Self.aes256
      case .chaCha20Poly1305: Self.chaCha20
      }
    isChaCha = algorithm == .chaCha20Poly1305
    guard let cipher, let context = EVP_CIPHER_CTX_new(),
      EVP_EncryptInit_ex(context, cipher, nil, key.bindMemory(to: UInt8.self).baseAddress, nil) == 1
    else { preconditionFailure("OpenSSL has no cipher for \(algorithm) or no memory") }
    EVP_CIPHER_CTX_set_padding(context, 0)
    self.context = context
  }

  deinit { EVP_CIPHER_CTX_free(context) }

  /// Writes the 5 bytes of the mask for a sample of 16 bytes.
  public func writeMask(to mask: UnsafeMutableRawPointer, sample: UnsafeRawPointer) {
    let sample = sample.assumingMemoryBound(to: UInt8.self)
    var written: Int32 = 0
    // SAFETY: EVP reads the sample's 16 bytes (or 5 zeros) and writes as many into `block`, of
    // which 5 are copied to the mask.
    withUnsafeTemporaryAllocation(byteCount: 2 * Self.sampleBytes, alignment: 16) { block in
      guard let output = block.bindMemory(to: UInt8.self).baseAddress else { return }
      if isChaCha {
        // The sample is counter and nonce, as EVP has them (5.4.4).
        let zeros: (UInt32, UInt8) = (0, 0)
        withUnsafeBytes(of: zeros) { zeros in
          _ = EVP_EncryptInit_ex(context, nil, nil, nil, sample)
          _ = EVP_EncryptUpdate(
            context, output, &written, zeros.bindMemory(to: UInt8.self).baseAddress,
            Int32(Self.maskBytes))
        }
      } else {
        _ = EVP_EncryptUpdate(context, output, &written, sample, Int32(Self.sampleBytes))
      }
      precondition(written >= Int32(Self.maskBytes), "EVP gave no mask")
      mask.copyMemory(from: output, byteCount: Self.maskBytes)
    }
  }
}
