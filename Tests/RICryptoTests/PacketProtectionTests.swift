// What QUIC takes from RICrypto: masks, whole messages, chains of certificates.

import COpenSSL
import Glibc
import RIBase
import RICrypto
import Testing

@Suite struct PacketProtectionTests {
  static func bytes(_ text: String) -> [UInt8] {
    stride(from: 0, to: text.count, by: 2).compactMap {
      let start = text.index(text.startIndex, offsetBy: $0)
      return UInt8(text[start..<text.index(start, offsetBy: 2)], radix: 16)
    }
  }

  func mask(_ algorithm: AEADAlgorithm, key: String, sample: String) -> [UInt8] {
    let key = Self.bytes(key).withUnsafeBytes { HeaderMaskKey(algorithm, key: $0) }
    var mask = [UInt8](repeating: 0, count: HeaderMaskKey.maskBytes)
    // Twice: a key is used for many packets.
    for _ in 0..<2 {
      Self.bytes(sample).withUnsafeBytes { sample in
        mask.withUnsafeMutableBytes { mask in
          if let from = sample.baseAddress, let to = mask.baseAddress {
            key.writeMask(to: to, sample: from)
          }
        }
      }
    }
    return mask
  }

  /// RFC 9001 appendices A.2, A.3 and A.5.
  @Test func masksOfTheStandard() {
    #expect(
      mask(
        .aes128GCM, key: "9f50449e04a0e810283a1e9933adedd2",
        sample: "d1b1c98dd7689fb8ec11d242b123dc9b") == Self.bytes("437b9aec36"))
    #expect(
      mask(
        .aes128GCM, key: "c206b8d9b9f0f37644430b490eeaa314",
        sample: "2cd0991cd25b0aac406a5816b6394100") == Self.bytes("2ec0d8356a"))
    #expect(
      mask(
        .chaCha20Poly1305,
        key: "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4",
        sample: "5e5cd55c41f69080575d7999c25a5bfb") == Self.bytes("aefefe7d03"))
  }

  @Test(arguments: AEADAlgorithm.allCases, [AEADImplementation.openSSL, .ipsecMB])
  func wholeMessages(algorithm: AEADAlgorithm, implementation: AEADImplementation) {
    guard AEADKey.supports(implementation, for: algorithm) else { return }
    let secret = [UInt8](repeating: 3, count: algorithm.keyBytes)
    let key = secret.withUnsafeBytes {
      AEADKey(algorithm, key: $0, implementation: implementation)
    }
    let other = secret.withUnsafeBytes { AEADKey(algorithm, key: $0, implementation: .openSSL) }
    let nonce = [UInt8](repeating: 5, count: 12).withUnsafeBytes { AEADNonce($0) }
    for count in [0, 1, 15, 16, 17, 1_200, 1_452] {
      let text = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
      var message = [UInt8](repeating: 0, count: count + AEADKey.tagBytes)
      var opened = message
      [1, 2, 3, 4].withUnsafeBytes { aad in
        message.withUnsafeMutableBytes { message in
          if let to = message.baseAddress {
            text.withUnsafeBytes { key.seal($0, into: to, nonce: nonce, authenticated: aad) }
          }
        }
        let isGenuine = message.withUnsafeBytes { message in
          opened.withUnsafeMutableBytes { opened in
            opened.baseAddress.map {
              other.open(message, into: $0, nonce: nonce, authenticated: aad)
            }
          }
        }
        #expect(isGenuine == true && Array(opened.prefix(count)) == text)
        message[count] ^= 1
        let isForged = message.withUnsafeBytes { message in
          opened.withUnsafeMutableBytes { opened in
            opened.baseAddress.map { key.open(message, into: $0, nonce: nonce, authenticated: aad) }
          }
        }
        #expect(isForged == false && opened.allSatisfy { $0 == 0 })
      }
    }
  }
}

@Suite struct TrustAnchorsTests {
  func der(_ identity: TLSIdentity) -> [UInt8] {
    var start: UnsafeMutablePointer<UInt8>?
    let count = i2d_X509(identity.certificates[0], &start)
    defer { CRYPTO_free(start, #file, #line) }
    return Array(UnsafeBufferPointer(start: start, count: Int(count)))
  }

  func judge(_ trust: HubTrust, _ certificate: [UInt8]) throws -> Result<CertificatePin, TLSError> {
    let anchors = try TrustAnchors(trust)
    return certificate.withUnsafeBytes { anchors.judge([$0]) }
  }

  @Test func pinsAndFirstUse() throws {
    let hub = try TLSIdentity.selfSigned(commonName: "hub.example")
    let other = try TLSIdentity.selfSigned(commonName: "hub.example")
    for trust in [
      HubTrust.insecure, .firstUse(known: nil), .firstUse(known: hub.pin), .pin(hub.pin),
    ] {
      #expect(try judge(trust, der(hub)) == .success(hub.pin))
    }
    for trust in [HubTrust.firstUse(known: other.pin), .pin(other.pin)] {
      #expect(
        try judge(trust, der(hub)) == .failure(.pinMismatch(expected: other.pin, got: hub.pin)))
    }
  }

  @Test func authorities() throws {
    let hub = try TLSIdentity.selfSigned(commonName: "hub.example")
    let other = try TLSIdentity.selfSigned(commonName: "hub.example")
    let file = "/tmp/ri-anchors-\(UInt64.random(in: 0...UInt64.max)).pem"
    let handle = try #require(fopen(file, "w"))
    fputs(hub.pem().certificate, handle)
    fclose(handle)
    defer { unlink(file) }
    #expect(
      try judge(.authorities(caFile: file, hostName: "hub.example"), der(hub))
        == .success(hub.pin))
    for (name, identity) in [("elsewhere.example", hub), ("hub.example", other)] {
      let verdict = try judge(.authorities(caFile: file, hostName: name), der(identity))
      guard case .failure(.certificateRejected) = verdict else {
        Issue.record("\(name): \(verdict)")
        continue
      }
    }
    #expect(throws: TLSError.badAuthorities) {
      try TrustAnchors(.authorities(caFile: "/nonexistent", hostName: "x"))
    }
  }

  @Test func rubbishIsNoCertificate() throws {
    for bytes in [[], [0x30], [UInt8](repeating: 0x30, count: 500)] as [[UInt8]] {
      guard case .failure(.certificateRejected) = try judge(.insecure, bytes) else {
        Issue.record("accepted")
        continue
      }
    }
  }
}
