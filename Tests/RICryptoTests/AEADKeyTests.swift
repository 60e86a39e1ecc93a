// Both implementations of the AEAD against published vectors, against each other, and against
// tampering.

import TestRandom
import Testing

@testable import RICrypto

func hex(_ text: String) -> [UInt8] {
  var bytes: [UInt8] = []
  var high: UInt8?
  for character in text.utf8 {
    guard let digit = hexadecimalDigit(character) else { continue }
    if let h = high {
      bytes.append(h << 4 | digit)
      high = nil
    } else {
      high = digit
    }
  }
  return bytes
}

extension AEADKey {
  static func make(
    _ algorithm: AEADAlgorithm, _ key: [UInt8], _ implementation: AEADImplementation
  ) -> AEADKey {
    key.withUnsafeBytes { AEADKey(algorithm, key: $0, implementation: implementation) }
  }

  /// Ciphertext and tag; the text is handed in as pieces that end at `cuts`.
  func seal(_ text: [UInt8], nonce: [UInt8], aad: [UInt8], cuts: [Int] = []) -> [UInt8] {
    var sealed = [UInt8](repeating: 0, count: text.count + AEADKey.tagBytes)
    sealed.withUnsafeMutableBytes { output in
      guard let start = output.baseAddress else { return }
      aad.withUnsafeBytes { startSeal(nonce: nonce.nonce, authenticated: $0) }
      var from = 0
      for to in cuts.sorted() + [text.count] {
        text.withUnsafeBytes {
          updateSeal(to: start + from, from: UnsafeRawBufferPointer(rebasing: $0[from..<to]))
        }
        from = to
      }
      finishSeal(tag: start + text.count)
    }
    return sealed
  }

  /// The text, or nil when the tag does not fit.
  func open(_ sealed: [UInt8], nonce: [UInt8], aad: [UInt8]) -> [UInt8]? {
    var message = sealed
    let isGenuine = message.withUnsafeMutableBytes { message in
      aad.withUnsafeBytes { open(message, nonce: nonce.nonce, authenticated: $0) }
    }
    if !isGenuine, sealed.count >= 16 {
      #expect(message.allSatisfy { $0 == 0 }, "a refused message stays readable")
    }
    return isGenuine ? Array(message.dropLast(AEADKey.tagBytes)) : nil
  }
}

extension [UInt8] {
  var nonce: AEADNonce { withUnsafeBytes { AEADNonce($0) } }
}

private let pairs: [(AEADAlgorithm, AEADImplementation)] = AEADAlgorithm.allCases.flatMap {
  algorithm in
  [AEADImplementation.openSSL, .ipsecMB]
    .filter { AEADKey.supports($0, for: algorithm) }
    .map { (algorithm, $0) }
}

struct AEADKeyTests {
  struct Vector {
    let algorithm: AEADAlgorithm
    let key, nonce, text, aad, sealed: String
  }

  /// GCM: test cases 1, 2, 4, 14 and 16 of the cipher's submission to NIST; RFC 8439 2.8.2.
  static let vectors = [
    Vector(
      algorithm: .aes128GCM, key: String(repeating: "00", count: 16),
      nonce: String(repeating: "00", count: 12), text: "", aad: "",
      sealed: "58e2fccefa7e3061367f1d57a4e7455a"),
    Vector(
      algorithm: .aes128GCM, key: String(repeating: "00", count: 16),
      nonce: String(repeating: "00", count: 12), text: String(repeating: "00", count: 16), aad: "",
      sealed: "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"),
    Vector(
      algorithm: .aes128GCM, key: "feffe9928665731c6d6a8f9467308308",
      nonce: "cafebabefacedbaddecaf888",
      text: """
        d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
        1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39
        """,
      aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
      sealed: """
        42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
        21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091
        5bc94fbc3221a5db94fae95ae7121a47
        """),
    Vector(
      algorithm: .aes256GCM, key: String(repeating: "00", count: 32),
      nonce: String(repeating: "00", count: 12), text: String(repeating: "00", count: 16), aad: "",
      sealed: "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
    Vector(
      algorithm: .aes256GCM,
      key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
      nonce: "cafebabefacedbaddecaf888",
      text: """
        d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
        1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39
        """,
      aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
      sealed: """
        522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
        8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662
        76fc6ece0f4e1768cddf8853bb2d551b
        """),
    Vector(
      algorithm: .chaCha20Poly1305,
      key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
      nonce: "070000004041424344454647",
      text: """
        4c616469657320616e642047656e746c656d656e206f662074686520636c6173
        73206f66202739393a204966204920636f756c64206f6666657220796f75206f
        6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73
        637265656e20776f756c642062652069742e
        """,
      aad: "50515253c0c1c2c3c4c5c6c7",
      sealed: """
        d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
        3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
        92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
        3ff4def08e4b7a9de576d26586cec64b6116
        1ae10b594f09e26a7e902ecbd0600691
        """),
  ]

  @Test func publishedVectorsComeOutOfEveryImplementation() {
    for vector in Self.vectors {
      for (algorithm, implementation) in pairs where algorithm == vector.algorithm {
        let key = AEADKey.make(algorithm, hex(vector.key), implementation)
        #expect(key.implementation == implementation)
        let nonce = hex(vector.nonce)
        let sealed = key.seal(hex(vector.text), nonce: nonce, aad: hex(vector.aad))
        #expect(sealed == hex(vector.sealed), "\(algorithm) \(implementation)")
        #expect(key.open(sealed, nonce: nonce, aad: hex(vector.aad)) == hex(vector.text))
      }
    }
  }

  @Test(arguments: AEADAlgorithm.allCases)
  func implementationsAgreeAtEverySizeAndSplit(algorithm: AEADAlgorithm) {
    var random = SplitMix64()
    print("seed", random.seed)
    let bytes = random.bytes(algorithm.keyBytes)
    let keys = pairs.filter { $0.0 == algorithm }.map { AEADKey.make(algorithm, bytes, $0.1) }
    let sizes = Array(0...300) + (0..<60).map { _ in Int.random(in: 301...17_000, using: &random) }
    for size in sizes + [4_096, 16_383, 16_384, 16_385, 17_000] {
      let text = random.bytes(size)
      let nonce = random.bytes(12)
      let aad = random.bytes([0, 5, 5, 13].randomElement(using: &random) ?? 5)
      var outputs: [[UInt8]] = []
      for key in keys {
        let cuts = (0..<Int.random(in: 0...5, using: &random)).map { _ in
          Int.random(in: 0...size, using: &random)
        }
        outputs.append(key.seal(text, nonce: nonce, aad: aad))
        outputs.append(key.seal(text, nonce: nonce, aad: aad, cuts: cuts))
      }
      for output in outputs.dropFirst() { #expect(output == outputs[0], "\(size)") }
      for key in keys { #expect(key.open(outputs[0], nonce: nonce, aad: aad) == text, "\(size)") }
    }
  }

  @Test func anyChangedByteIsNoticed() {
    var random = SplitMix64()
    print("seed", random.seed)
    for (algorithm, implementation) in pairs {
      let key = AEADKey.make(algorithm, random.bytes(algorithm.keyBytes), implementation)
      let text = random.bytes(200)
      let nonce = random.bytes(12)
      let aad = random.bytes(5)
      let sealed = key.seal(text, nonce: nonce, aad: aad)
      for i in sealed.indices {
        var changed = sealed
        changed[i] ^= 1 << UInt8.random(in: 0...7, using: &random)
        #expect(key.open(changed, nonce: nonce, aad: aad) == nil, "\(implementation) byte \(i)")
      }
      for i in 0..<12 {
        var changed = nonce
        changed[i] ^= 1
        #expect(key.open(sealed, nonce: changed, aad: aad) == nil)
      }
      for i in 0..<5 {
        var changed = aad
        changed[i] ^= 1
        #expect(key.open(sealed, nonce: nonce, aad: changed) == nil)
      }
      for count in 0..<16 {
        #expect(key.open(Array(sealed[0..<count]), nonce: nonce, aad: aad) == nil)
      }
      #expect(key.open(Array(sealed.dropLast()), nonce: nonce, aad: aad) == nil)
      #expect(key.open(sealed, nonce: nonce, aad: aad) == text)
    }
  }

  @Test func bestIsTheFastImplementationWhereItExists() {
    for algorithm in AEADAlgorithm.allCases {
      let key = AEADKey.make(algorithm, [UInt8](repeating: 1, count: algorithm.keyBytes), .best)
      let expected: AEADImplementation =
        AEADKey.supports(.ipsecMB, for: algorithm) ? .ipsecMB : .openSSL
      #expect(key.implementation == expected)
    }
    #expect(!AEADKey.supports(.ipsecMB, for: .chaCha20Poly1305))
  }

  @Test func recordNoncesXORTheNumberIntoTheLastEightBytes() {
    let iv = hex("000102030405060708090a0b").nonce
    #expect(iv.record(0) == iv)
    #expect(iv.record(0x0102_0304_0506_0708) == hex("0001020305070503 0d0f0d03").nonce)
  }
}
