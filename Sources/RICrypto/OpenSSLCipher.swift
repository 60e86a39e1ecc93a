// OpenSSL's EVP as an AEAD: one context per key, set to a new nonce for each message.

import COpenSSL

/// One EVP context with its key. Trivial; `AEADKey` owns what it points to.
struct OpenSSLCipher {
  // SAFETY: made in init, freed once in `destroy`, used by the owning key alone in between.
  private let context: OpaquePointer

  // SAFETY: fetched once, never freed, and EVP_CIPHER is immutable after the fetch.
  nonisolated(unsafe) private static let aes128GCM = EVP_CIPHER_fetch(nil, "AES-128-GCM", nil)
  nonisolated(unsafe) private static let aes256GCM = EVP_CIPHER_fetch(nil, "AES-256-GCM", nil)
  nonisolated(unsafe) private static let chaCha20 = EVP_CIPHER_fetch(nil, "ChaCha20-Poly1305", nil)

  init(_ algorithm: AEADAlgorithm, key: UnsafeRawBufferPointer) {
    let cipher =
      switch algorithm {
      case .aes128GCM: Self.aes128GCM
      case .aes256GCM: Self.aes256GCM
      case .chaCha20Poly1305: Self.chaCha20
      }
    let bytes = key.bindMemory(to: UInt8.self)
    guard let cipher, let context = EVP_CIPHER_CTX_new(),
      EVP_EncryptInit_ex(context, cipher, nil, bytes.baseAddress, nil) == 1
    else { preconditionFailure("OpenSSL has no \(algorithm) or no memory") }
    self.context = context
  }

  func destroy() { EVP_CIPHER_CTX_free(context) }

  /// `text` may be the message itself.
  func open(
    _ message: UnsafeRawBufferPointer, into text: UnsafeMutableRawPointer, nonce: AEADNonce,
    authenticated: UnsafeRawBufferPointer
  ) -> Bool {
    guard let start = message.baseAddress else { return false }
    let count = message.count - AEADKey.tagBytes
    let sealed = start.assumingMemoryBound(to: UInt8.self)
    let text = text.assumingMemoryBound(to: UInt8.self)
    var written: Int32 = 0
    // SAFETY: EVP reads 12 nonce bytes, the authenticated bytes and the message, and writes
    // `count` bytes at `text`. It only reads the tag, in spite of its type; Final compares the tags
    // in constant time.
    return withUnsafeBytes(of: nonce.words) { nonce in
      EVP_DecryptInit_ex(context, nil, nil, nil, nonce.bindMemory(to: UInt8.self).baseAddress) == 1
        && EVP_CIPHER_CTX_ctrl(
          context, EVP_CTRL_AEAD_SET_TAG, Int32(AEADKey.tagBytes),
          UnsafeMutableRawPointer(mutating: start + count)) == 1
        && EVP_DecryptUpdate(
          context, nil, &written, authenticated.bindMemory(to: UInt8.self).baseAddress,
          Int32(authenticated.count)) == 1
        && (count == 0 || EVP_DecryptUpdate(context, text, &written, sealed, Int32(count)) == 1)
        && EVP_DecryptFinal_ex(context, text + count, &written) == 1
    }
  }

  func startSeal(nonce: AEADNonce, authenticated: UnsafeRawBufferPointer) {
    var written: Int32 = 0
    // SAFETY: EVP reads 12 nonce bytes and the authenticated bytes, and keeps no pointer.
    let isDone = withUnsafeBytes(of: nonce.words) { nonce in
      EVP_EncryptInit_ex(context, nil, nil, nil, nonce.bindMemory(to: UInt8.self).baseAddress) == 1
        && EVP_EncryptUpdate(
          context, nil, &written, authenticated.bindMemory(to: UInt8.self).baseAddress,
          Int32(authenticated.count)) == 1
    }
    precondition(isDone, "EVP refused a message")
  }

  func updateSeal(
    to destination: UnsafeMutableRawPointer, from source: UnsafeRawPointer, count: Int
  ) {
    var written: Int32 = 0
    // SAFETY: an AEAD writes as many bytes as it reads; the caller vouches for both.
    let isDone = EVP_EncryptUpdate(
      context, destination.assumingMemoryBound(to: UInt8.self), &written,
      source.assumingMemoryBound(to: UInt8.self), Int32(count))
    precondition(isDone == 1 && Int(written) == count, "EVP refused a piece")
  }

  func finishSeal(tag: UnsafeMutableRawPointer) {
    var written: Int32 = 0
    // SAFETY: Final of an AEAD writes nothing; the tag's 16 bytes are the caller's.
    let isDone =
      EVP_EncryptFinal_ex(context, tag.assumingMemoryBound(to: UInt8.self), &written) == 1
      && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(AEADKey.tagBytes), tag) == 1
    precondition(isDone, "EVP gave no tag")
  }
}
