// Packet protection by RICrypto's keys, as the shim calls it (RFC 9001 section 5).

import CNGTCP2
import Glibc
import RICrypto
import Synchronization

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
    #if DEBUG || FUZZING
      // In place: what is sealed is what is tampered with.
      if let tamper = QUICTampering.tamper, UnsafePointer(to) == from {
        tamper(UnsafeMutableRawBufferPointer(start: to, count: count))
      }
    #endif
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

#if DEBUG || FUZZING
  /// For tests and fuzzing: a peer whose packets are authentic and whose frames are nonsense.
  package enum QUICTampering {
    package typealias Tamper = @Sendable (UnsafeMutableRawBufferPointer) -> Void

    private static let tampers = Mutex<[UInt: Tamper]>([:])

    /// Has every packet that this thread seals from now on seen by `tamper`; nil: no more.
    package static func set(_ tamper: Tamper?) {
      tampers.withLock { $0[UInt(pthread_self())] = tamper }
    }

    static var tamper: Tamper? { tampers.withLock { $0[UInt(pthread_self())] } }
  }
#endif

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
