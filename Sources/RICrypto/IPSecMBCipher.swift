// intel-ipsec-mb as an AEAD: AES-GCM several times faster than OpenSSL 3.0's where the CPU has
// wide AES instructions.

#if canImport(CIPSecMB)
  import CIPSecMB
  import COpenSSL

  /// One expanded AES-GCM key and the state of the message under way. Trivial; `AEADKey` owns what
  /// it points to.
  struct IPSecMBCipher {
    // SAFETY: made once for the process and never freed. The GCM functions only read its table of
    // functions, so all threads share it.
    nonisolated(unsafe) private static let sharedManager = ipsecmb_manager()

    static var isAvailable: Bool { sharedManager != nil }

    private let manager: UnsafeMutablePointer<IMB_MGR>
    private let wide: Bool
    // SAFETY: both made in init, wiped and freed once in `destroy`.
    private let key: UnsafeMutablePointer<ipsecmb_gcm_key>
    private let context: UnsafeMutablePointer<ipsecmb_gcm_context>
    private let memory: UnsafeMutableRawPointer

    private static let keyBytes = (MemoryLayout<ipsecmb_gcm_key>.size + 63) & ~63
    private static let memoryBytes = keyBytes + MemoryLayout<ipsecmb_gcm_context>.size

    init(wide: Bool, key bytes: UnsafeRawBufferPointer) {
      guard let manager = Self.sharedManager else { preconditionFailure("no intel-ipsec-mb") }
      self.manager = manager
      self.wide = wide
      // The key is loaded by aligned 64-byte instructions.
      memory = .allocate(byteCount: Self.memoryBytes, alignment: 64)
      memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.memoryBytes)
      key = memory.bindMemory(to: ipsecmb_gcm_key.self, capacity: 1)
      context = (memory + Self.keyBytes).bindMemory(to: ipsecmb_gcm_context.self, capacity: 1)
      ipsecmb_gcm_expand(manager, wide, bytes.baseAddress, key)
    }

    func destroy() {
      OPENSSL_cleanse(memory, Self.memoryBytes)
      memory.deallocate()
    }

    /// `text` may be the message itself.
    func open(
      _ message: UnsafeRawBufferPointer, into text: UnsafeMutableRawPointer, nonce: AEADNonce,
      authenticated: UnsafeRawBufferPointer
    ) -> Bool {
      guard let start = message.baseAddress else { return false }
      let count = message.count - AEADKey.tagBytes
      var tag: (UInt64, UInt64) = (0, 0)
      // SAFETY: reads 12 nonce bytes, the authenticated bytes and `count` bytes of the message,
      // writes `count` bytes at `text` and 16 to `tag`, all of which are held here.
      return withUnsafeMutableBytes(of: &tag) { tag in
        withUnsafeBytes(of: nonce.words) { nonce in
          ipsecmb_gcm_open(
            manager, wide, key, context, text.assumingMemoryBound(to: UInt8.self),
            start.assumingMemoryBound(to: UInt8.self), UInt64(count),
            nonce.bindMemory(to: UInt8.self).baseAddress,
            authenticated.bindMemory(to: UInt8.self).baseAddress, UInt64(authenticated.count),
            tag.bindMemory(to: UInt8.self).baseAddress)
        }
        return CRYPTO_memcmp(tag.baseAddress, start + count, AEADKey.tagBytes) == 0
      }
    }

    func seal(
      _ text: UnsafeRawBufferPointer, into message: UnsafeMutableRawPointer, nonce: AEADNonce,
      authenticated: UnsafeRawBufferPointer
    ) {
      // SAFETY: reads 12 nonce bytes, the authenticated bytes and the text, and writes the text's
      // bytes and 16 more at `message`; the caller vouches for both.
      withUnsafeBytes(of: nonce.words) { nonce in
        ipsecmb_gcm_seal(
          manager, wide, key, context, message.assumingMemoryBound(to: UInt8.self),
          text.bindMemory(to: UInt8.self).baseAddress, UInt64(text.count),
          nonce.bindMemory(to: UInt8.self).baseAddress,
          authenticated.bindMemory(to: UInt8.self).baseAddress, UInt64(authenticated.count),
          (message + text.count).assumingMemoryBound(to: UInt8.self))
      }
    }

    func startSeal(nonce: AEADNonce, authenticated: UnsafeRawBufferPointer) {
      // SAFETY: reads 12 nonce bytes and the authenticated bytes, and keeps no pointer.
      withUnsafeBytes(of: nonce.words) { nonce in
        ipsecmb_gcm_seal_start(
          manager, wide, key, context, nonce.bindMemory(to: UInt8.self).baseAddress,
          authenticated.bindMemory(to: UInt8.self).baseAddress, UInt64(authenticated.count))
      }
    }

    func updateSeal(
      to destination: UnsafeMutableRawPointer, from source: UnsafeRawPointer, count: Int
    ) {
      // SAFETY: reads and writes `count` bytes; the caller vouches for both.
      ipsecmb_gcm_seal_update(
        manager, wide, key, context, destination.assumingMemoryBound(to: UInt8.self),
        source.assumingMemoryBound(to: UInt8.self), UInt64(count))
    }

    func finishSeal(tag: UnsafeMutableRawPointer) {
      // SAFETY: writes the tag's 16 bytes.
      ipsecmb_gcm_seal_finish(
        manager, wide, key, context, tag.assumingMemoryBound(to: UInt8.self))
    }
  }
#endif
