// The part of TLS 1.3's key schedule that comes after the handshake (RFC 8446 7.1 to 7.3), and the
// comparison that secrets need.

import COpenSSL

/// Whether two byte strings are equal, in a time that depends on their lengths alone.
public func constantTimeEqual(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
  a.count == b.count && CRYPTO_memcmp(a.baseAddress, b.baseAddress, a.count) == 0
}

/// The hash functions of TLS 1.3's cipher suites.
public enum SuiteHash: Sendable {
  case sha256
  case sha384

  public var byteCount: Int { self == .sha256 ? 32 : 48 }
}

/// Key material of up to 48 bytes, wiped when it goes.
public final class TrafficSecret {
  public let hash: SuiteHash
  // SAFETY: `hash.byteCount` bytes, made and filled in init, wiped and freed in deinit.
  private let memory: UnsafeMutableRawPointer

  private init(_ hash: SuiteHash) {
    self.hash = hash
    memory = .allocate(byteCount: hash.byteCount, alignment: 8)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: hash.byteCount)
  }

  /// Copies 32 or 48 bytes, as the hash has it; nil for any other count.
  public convenience init?(_ hash: SuiteHash, bytes: UnsafeRawBufferPointer) {
    guard bytes.count == hash.byteCount else { return nil }
    self.init(hash)
    UnsafeMutableRawBufferPointer(start: memory, count: hash.byteCount).copyMemory(from: bytes)
  }

  deinit {
    OPENSSL_cleanse(memory, hash.byteCount)
    memory.deallocate()
  }

  /// Lends the bytes.
  func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
    withExtendedLifetime(self) {
      body(UnsafeRawBufferPointer(start: memory, count: hash.byteCount))
    }
  }

  /// HKDF-Expand-Label with an empty context (RFC 8446 7.1). Lends `count` bytes, at most the
  /// hash's length, to `body` and wipes them after.
  public func expand<R>(
    _ label: StaticString, count: Int, _ body: (UnsafeRawBufferPointer) -> R
  ) -> R {
    precondition(count > 0 && count <= hash.byteCount, "more than one block of HKDF-Expand")
    return withUnsafeTemporaryAllocation(byteCount: 64 + 64, alignment: 8) { scratch in
      let output = UnsafeMutableRawBufferPointer(rebasing: scratch[0..<64])
      let info = UnsafeMutableRawBufferPointer(rebasing: scratch[64...])
      let infoCount = Self.encode(label, count: count, into: info)
      // SAFETY: HMAC reads the secret and `infoCount` bytes and writes at most 64.
      let done = HMAC(
        hash == .sha256 ? EVP_sha256() : EVP_sha384(), memory, Int32(hash.byteCount),
        info.bindMemory(to: UInt8.self).baseAddress, infoCount,
        output.bindMemory(to: UInt8.self).baseAddress, nil)
      precondition(done != nil, "no HMAC")
      defer { OPENSSL_cleanse(output.baseAddress, output.count) }
      return body(UnsafeRawBufferPointer(rebasing: output[0..<count]))
    }
  }

  /// The secret after a KeyUpdate (RFC 8446 7.2).
  public func updated() -> TrafficSecret {
    let next = TrafficSecret(hash)
    expand("traffic upd", count: hash.byteCount) {
      next.memory.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(memory), byteCount: $0.count)
    }
    return next
  }

  /// HkdfLabel, then the block number 1 of HKDF-Expand (RFC 5869 2.3).
  private static func encode(
    _ label: StaticString, count: Int, into info: UnsafeMutableRawBufferPointer
  ) -> Int {
    var end = 0
    func put(_ byte: UInt8) {
      info[end] = byte
      end += 1
    }
    put(UInt8(count >> 8))
    put(UInt8(count & 0xFF))
    put(UInt8(6 + label.utf8CodeUnitCount))
    for byte in "tls13 ".utf8 { put(byte) }
    label.withUTF8Buffer { $0.forEach(put) }
    put(0)
    put(1)
    return end
  }
}
