// The roofline's records: 16 KiB of plaintext under AES-128-GCM by OpenSSL's EVP, shaped as in
// TLS 1.3 (a 5-byte header as associated data, a 16-byte tag). A yardstick, no protection: one
// fixed key, and every connection counts its nonces from zero.

import CLibSSL
import Glibc
import LoadKit

/// Seals and opens records with one key. One context for each direction serves all connections:
/// the key stays, the nonce changes with the record.
final class RooflineCipher {
  static let plaintextBytesMax = 16_384
  static let headerBytes = 5
  static let tagBytes = 16
  static let recordBytesMax = plaintextBytesMax + headerBytes + tagBytes

  private let sealing: OpaquePointer
  private let opening: OpaquePointer
  private let nonce: UnsafeMutableRawPointer
  private let sealSide: UInt32
  private let openSide: UInt32

  /// `key` is 16 bytes in hexadecimal; the two ends use different halves of the nonces.
  init(_ end: TunnelEnd, key: String) throws(LoadError) {
    var bytes: [UInt8] = []
    var digits = Substring(key)
    while let byte = UInt8(digits.prefix(2), radix: 16) {
      bytes.append(byte)
      digits = digits.dropFirst(2)
    }
    guard bytes.count == 16, digits.isEmpty else { throw LoadError("the key is not 16 bytes") }
    guard let cipher = EVP_CIPHER_fetch(nil, "AES-128-GCM", nil),
      let sealing = EVP_CIPHER_CTX_new(), let opening = EVP_CIPHER_CTX_new(),
      EVP_EncryptInit_ex(sealing, cipher, nil, bytes, nil) == 1,
      EVP_DecryptInit_ex(opening, cipher, nil, bytes, nil) == 1
    else { throw LoadError("no AES-128-GCM in OpenSSL") }
    EVP_CIPHER_free(cipher)
    self.sealing = sealing
    self.opening = opening
    nonce = .allocate(byteCount: 12, alignment: 4)
    sealSide = end == .edge ? 0 : 1
    openSide = end == .edge ? 1 : 0
  }

  deinit {
    EVP_CIPHER_CTX_free(sealing)
    EVP_CIPHER_CTX_free(opening)
    nonce.deallocate()
  }

  /// Seals all of `source` into consecutive records at `target`; returns their bytes. `target` has
  /// room for a `recordBytesMax` for each 16 KiB begun.
  func seal(
    _ source: UnsafeRawPointer, _ count: Int, into target: UnsafeMutableRawPointer,
    sequence: inout UInt64
  ) -> Int {
    var (taken, written) = (0, 0)
    while taken < count {
      let part = min(Self.plaintextBytesMax, count - taken)
      sealRecord(source + taken, part, into: target + written, sequence: sequence)
      sequence += 1
      taken += part
      written += part + Self.headerBytes + Self.tagBytes
    }
    return written
  }

  private func sealRecord(
    _ source: UnsafeRawPointer, _ count: Int, into target: UnsafeMutableRawPointer,
    sequence: UInt64
  ) {
    let length = UInt16(count + Self.tagBytes)
    target.storeBytes(
      of: UInt32(0x1703_0300).bigEndian | UInt32(length >> 8) << 24, as: UInt32.self)
    target.storeBytes(of: UInt8(truncatingIfNeeded: length), toByteOffset: 4, as: UInt8.self)
    setNonce(sealSide, sequence)
    var done: Int32 = 0
    let header = target.assumingMemoryBound(to: UInt8.self)
    let body = header + Self.headerBytes
    let plaintext = source.assumingMemoryBound(to: UInt8.self)
    EVP_EncryptInit_ex(sealing, nil, nil, nil, nonce.assumingMemoryBound(to: UInt8.self))
    EVP_EncryptUpdate(sealing, nil, &done, header, Int32(Self.headerBytes))
    EVP_EncryptUpdate(sealing, body, &done, plaintext, Int32(count))
    EVP_EncryptFinal_ex(sealing, body + count, &done)
    EVP_CIPHER_CTX_ctrl(
      sealing, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagBytes), body + count)
  }

  /// Opens all whole records at the front of `source` into `target`, plaintext after plaintext.
  /// Returns the bytes taken and written, or nil for what is no record of this connection.
  func open(
    _ source: UnsafeMutableRawPointer, _ count: Int, into target: UnsafeMutableRawPointer,
    sequence: inout UInt64
  ) -> (taken: Int, written: Int)? {
    var (taken, written) = (0, 0)
    while count - taken >= Self.headerBytes {
      let record = (source + taken).assumingMemoryBound(to: UInt8.self)
      let length = Int(record[3]) << 8 | Int(record[4])
      let plaintextBytes = length - Self.tagBytes
      guard record[0] == 0x17, (0...Self.plaintextBytesMax).contains(plaintextBytes) else {
        return nil
      }
      guard count - taken >= Self.headerBytes + length else { break }
      setNonce(openSide, sequence)
      var done: Int32 = 0
      let body = record + Self.headerBytes
      let plaintext = (target + written).assumingMemoryBound(to: UInt8.self)
      EVP_DecryptInit_ex(opening, nil, nil, nil, nonce.assumingMemoryBound(to: UInt8.self))
      EVP_DecryptUpdate(opening, nil, &done, record, Int32(Self.headerBytes))
      EVP_DecryptUpdate(opening, plaintext, &done, body, Int32(plaintextBytes))
      EVP_CIPHER_CTX_ctrl(
        opening, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagBytes), body + plaintextBytes)
      guard EVP_DecryptFinal_ex(opening, plaintext + plaintextBytes, &done) == 1 else { return nil }
      sequence += 1
      taken += Self.headerBytes + length
      written += plaintextBytes
    }
    return (taken, written)
  }

  private func setNonce(_ side: UInt32, _ sequence: UInt64) {
    nonce.storeBytes(of: side, as: UInt32.self)
    nonce.storeBytes(of: sequence.bigEndian, toByteOffset: 4, as: UInt64.self)
  }
}
