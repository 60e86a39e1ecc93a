// HKDF-Expand-Label and constant-time comparison.

import Testing

@testable import RICrypto

struct KeyScheduleTests {
  /// RFC 8448 3: the server's handshake traffic secret and what comes of it.
  @Test func keyAndIVOfTheRFCsTraceComeOut() throws {
    let bytes = hex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38")
    let secret = try #require(bytes.withUnsafeBytes { TrafficSecret(.sha256, bytes: $0) })
    #expect(
      secret.expand("key", count: 16) { Array($0) } == hex("3fce516009c21727d0f2e4e86ee403bc"))
    #expect(secret.expand("iv", count: 12) { Array($0) } == hex("5d313eb2671276ee13000b30"))
  }

  @Test func updatedSecretsAreTheLabelledExpansion() throws {
    for hash in [SuiteHash.sha256, .sha384] {
      let bytes = (0..<hash.byteCount).map { UInt8($0) }
      let secret = try #require(bytes.withUnsafeBytes { TrafficSecret(hash, bytes: $0) })
      let next = secret.updated()
      #expect(secret.withBytes { Array($0) } == bytes)
      let nextBytes = next.withBytes { Array($0) }
      #expect(nextBytes == secret.expand("traffic upd", count: hash.byteCount) { Array($0) })
      #expect(next.updated().withBytes { Array($0) } != nextBytes)
    }
  }

  @Test func aSecretOfTheWrongLengthIsRefused() {
    for count in [0, 31, 33, 48] {
      let bytes = [UInt8](repeating: 7, count: count)
      #expect(bytes.withUnsafeBytes { TrafficSecret(.sha256, bytes: $0) } == nil)
    }
  }

  @Test func comparisonSeesEveryByteAndTheLength() {
    func equal(_ a: [UInt8], _ b: [UInt8]) -> Bool {
      a.withUnsafeBytes { a in b.withUnsafeBytes { constantTimeEqual(a, $0) } }
    }
    let a = [UInt8](1...40)
    #expect(equal(a, a))
    #expect(equal([], []))
    #expect(!equal(a, Array(a.dropLast())))
    for i in a.indices {
      var b = a
      b[i] ^= 0x80
      #expect(!equal(a, b))
    }
  }
}
