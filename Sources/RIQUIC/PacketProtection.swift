// Packet protection by RICrypto's keys, as the shim calls it (RFC 9001 section 5).

import CNGTCP2
import RICrypto

/// Puts the functions for keys into the shim's table.
///
/// SAFETY: a key's opaque pointer owns one reference of its object, taken in `make_…` and given
/// back in `drop_…`; ngtcp2 drops each key once and uses none afterwards. Text, message, nonce and
/// authenticated bytes are ngtcp2's, of the lengths it names; a message's buffer has room for the
/// tag, and a plaintext's for the whole message.
func addPacketProtection(to handlers: inout quic_handlers) {
  handlers.make_key = { algorithm, bytes, count in
    guard let algorithm = AEADAlgorithm(quic: algorithm), count == algorithm.keyBytes else {
      return nil
    }
    let key = AEADKey(algorithm, key: UnsafeRawBufferPointer(start: bytes, count: count))
    return Unmanaged.passRetained(key).toOpaque()
  }
  handlers.make_mask = { algorithm, bytes, count in
    guard let algorithm = AEADAlgorithm(quic: algorithm), count == algorithm.keyBytes else {
      return nil
    }
    let key = HeaderMaskKey(algorithm, key: UnsafeRawBufferPointer(start: bytes, count: count))
    return Unmanaged.passRetained(key).toOpaque()
  }
  handlers.drop_key = { key in
    if let key { Unmanaged<AEADKey>.fromOpaque(key).release() }
  }
  handlers.drop_mask = { key in
    if let key { Unmanaged<HeaderMaskKey>.fromOpaque(key).release() }
  }
  handlers.seal = { key, to, from, count, nonce, aad, aadCount in
    guard let key, let to, let nonce else { return }
    Unmanaged<AEADKey>.fromOpaque(key)._withUnsafeGuaranteedRef {
      $0.seal(
        UnsafeRawBufferPointer(start: from, count: count), into: UnsafeMutableRawPointer(to),
        nonce: AEADNonce(UnsafeRawBufferPointer(start: nonce, count: AEADNonce.byteCount)),
        authenticated: UnsafeRawBufferPointer(start: aad, count: aadCount))
    }
  }
  handlers.open = { key, to, from, count, nonce, aad, aadCount in
    guard let key, let to, let nonce else { return false }
    return Unmanaged<AEADKey>.fromOpaque(key)._withUnsafeGuaranteedRef {
      $0.open(
        UnsafeRawBufferPointer(start: from, count: count), into: UnsafeMutableRawPointer(to),
        nonce: AEADNonce(UnsafeRawBufferPointer(start: nonce, count: AEADNonce.byteCount)),
        authenticated: UnsafeRawBufferPointer(start: aad, count: aadCount))
    }
  }
  handlers.mask = { key, to, sample in
    guard let key, let to, let sample else { return }
    Unmanaged<HeaderMaskKey>.fromOpaque(key)._withUnsafeGuaranteedRef {
      $0.writeMask(to: UnsafeMutableRawPointer(to), sample: UnsafeRawPointer(sample))
    }
  }
}

extension AEADAlgorithm {
  /// By the shim's numbers.
  fileprivate init?(quic number: Int32) {
    switch number {
    case 0: self = .aes128GCM
    case 1: self = .aes256GCM
    case 2: self = .chaCha20Poly1305
    default: return nil
    }
  }
}
