// Authenticated encryption with one key: open in place, seal from scattered pieces. Two
// implementations stand behind it, intel-ipsec-mb (amd64) and OpenSSL (everywhere), which give the
// same bytes; tests use each as the other's oracle.

import COpenSSL

/// The ciphers of TLS 1.3 and QUIC that we speak (RFC 8446 B.4).
public enum AEADAlgorithm: Sendable, CaseIterable {
  case aes128GCM
  case aes256GCM
  case chaCha20Poly1305

  public var keyBytes: Int { self == .aes128GCM ? 16 : 32 }
}

/// Whose code does the work.
public enum AEADImplementation: Sendable {
  /// The fastest that this machine has for the algorithm.
  case best
  /// OpenSSL's EVP: any algorithm, any machine.
  case openSSL
  /// intel-ipsec-mb: AES-GCM on amd64.
  case ipsecMB
}

/// The 12 bytes that must never come twice with one key.
public struct AEADNonce: Equatable, Sendable {
  public static let byteCount = 12
  var words: (UInt32, UInt32, UInt32)

  /// Copies exactly 12 bytes.
  public init(_ bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count == Self.byteCount)
    words = (
      bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self),
      bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self),
      bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
    )
  }

  /// The nonce of a record: this one with its last 8 bytes XORed with the record's number
  /// (RFC 8446 5.3).
  public func record(_ number: UInt64) -> AEADNonce {
    var nonce = self
    nonce.words.1 ^= UInt32(truncatingIfNeeded: number >> 32).bigEndian
    nonce.words.2 ^= UInt32(truncatingIfNeeded: number).bigEndian
    return nonce
  }

  public static func == (a: AEADNonce, b: AEADNonce) -> Bool { a.words == b.words }
}

/// One key, ready for use. Calls allocate nothing. Not safe for use by two threads.
public final class AEADKey {
  /// Bytes of every tag.
  public static let tagBytes = 16

  public let algorithm: AEADAlgorithm
  private let cipher: Cipher

  private enum Cipher {
    case openSSL(OpenSSLCipher)
    #if canImport(CIPSecMB)
      case ipsecMB(IPSecMBCipher)
    #endif
  }

  /// Whether this machine has the implementation for the algorithm.
  public static func supports(
    _ implementation: AEADImplementation, for algorithm: AEADAlgorithm
  ) -> Bool {
    guard implementation == .ipsecMB else { return true }
    #if canImport(CIPSecMB)
      return IPSecMBCipher.isAvailable && algorithm != .chaCha20Poly1305
    #else
      return false
    #endif
  }

  /// Expands a key of `algorithm.keyBytes` bytes, which is not kept. Traps when `supports` denies.
  public init(
    _ algorithm: AEADAlgorithm, key: UnsafeRawBufferPointer,
    implementation: AEADImplementation = .best
  ) {
    precondition(key.count == algorithm.keyBytes, "key of the wrong length")
    precondition(Self.supports(implementation, for: algorithm), "no such implementation here")
    self.algorithm = algorithm
    #if canImport(CIPSecMB)
      if implementation != .openSSL, Self.supports(.ipsecMB, for: algorithm) {
        cipher = .ipsecMB(IPSecMBCipher(wide: algorithm == .aes256GCM, key: key))
        return
      }
    #endif
    cipher = .openSSL(OpenSSLCipher(algorithm, key: key))
  }

  deinit {
    switch cipher {
    case .openSSL(let cipher): cipher.destroy()
    #if canImport(CIPSecMB)
      case .ipsecMB(let cipher): cipher.destroy()
    #endif
    }
  }

  /// The implementation that was chosen; never `best`.
  public var implementation: AEADImplementation {
    switch cipher {
    case .openSSL: .openSSL
    #if canImport(CIPSecMB)
      case .ipsecMB: .ipsecMB
    #endif
    }
  }

  /// Opens `message` (ciphertext, then tag) in place: true when the tag fits, and only then are its
  /// first `count - 16` bytes plaintext. A message that was tampered with is overwritten by zeros,
  /// so that nobody can look at it.
  public func open(
    _ message: UnsafeMutableRawBufferPointer, nonce: AEADNonce,
    authenticated: UnsafeRawBufferPointer
  ) -> Bool {
    guard let start = message.baseAddress else { return false }
    return open(
      UnsafeRawBufferPointer(message), into: start, nonce: nonce, authenticated: authenticated)
  }

  /// The same with the plaintext elsewhere: at `text` there is room for `message.count` bytes.
  public func open(
    _ message: UnsafeRawBufferPointer, into text: UnsafeMutableRawPointer, nonce: AEADNonce,
    authenticated: UnsafeRawBufferPointer
  ) -> Bool {
    guard message.count >= Self.tagBytes else { return false }
    let isGenuine =
      switch cipher {
      case .openSSL(let cipher):
        cipher.open(message, into: text, nonce: nonce, authenticated: authenticated)
      #if canImport(CIPSecMB)
        case .ipsecMB(let cipher):
          cipher.open(message, into: text, nonce: nonce, authenticated: authenticated)
      #endif
      }
    if !isGenuine { text.initializeMemory(as: UInt8.self, repeating: 0, count: message.count) }
    return isGenuine
  }

  /// Seals a whole message: ciphertext and tag go to `message`, which has room for both. It may be
  /// where the text is.
  public func seal(
    _ text: UnsafeRawBufferPointer, into message: UnsafeMutableRawPointer, nonce: AEADNonce,
    authenticated: UnsafeRawBufferPointer
  ) {
    #if canImport(CIPSecMB)
      if case .ipsecMB(let cipher) = cipher {
        cipher.seal(text, into: message, nonce: nonce, authenticated: authenticated)
        return
      }
    #endif
    startSeal(nonce: nonce, authenticated: authenticated)
    updateSeal(to: message, from: text)
    finishSeal(tag: message + text.count)
  }

  /// Begins sealing a message; what was begun before is forgotten.
  public func startSeal(nonce: AEADNonce, authenticated: UnsafeRawBufferPointer) {
    switch cipher {
    case .openSSL(let cipher): cipher.startSeal(nonce: nonce, authenticated: authenticated)
    #if canImport(CIPSecMB)
      case .ipsecMB(let cipher): cipher.startSeal(nonce: nonce, authenticated: authenticated)
    #endif
    }
  }

  /// Encrypts the next piece of the message into `destination`, which holds as many bytes.
  public func updateSeal(
    to destination: UnsafeMutableRawPointer, from piece: UnsafeRawBufferPointer
  ) {
    guard let source = piece.baseAddress, piece.count > 0 else { return }
    switch cipher {
    case .openSSL(let cipher):
      cipher.updateSeal(to: destination, from: source, count: piece.count)
    #if canImport(CIPSecMB)
      case .ipsecMB(let cipher):
        cipher.updateSeal(to: destination, from: source, count: piece.count)
    #endif
    }
  }

  /// Ends the message and writes its 16-byte tag.
  public func finishSeal(tag: UnsafeMutableRawPointer) {
    switch cipher {
    case .openSSL(let cipher): cipher.finishSeal(tag: tag)
    #if canImport(CIPSecMB)
      case .ipsecMB(let cipher): cipher.finishSeal(tag: tag)
    #endif
    }
  }
}
