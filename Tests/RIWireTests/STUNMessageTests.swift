// STUN messages against the vectors of RFC 5769 and against everything that can be wrong.

import RIBase
import TestRandom
import Testing

@testable import RIWire

@Suite struct STUNMessageTests {
  /// The transaction id of the vectors: the random source gives its two parts.
  static let vectorID: STUNTransactionID = {
    var words: [UInt64] = [0xB7E7_A701, 0xBC34_D686_FA87_DFAE]
    return STUNTransactionID { words.removeFirst() }
  }()

  static func bytes(_ hex: String) -> [UInt8] {
    hex.split { $0 == " " || $0 == "\n" }.compactMap { UInt8($0, radix: 16) }
  }

  /// RFC 5769 2.2.
  static let responseV4 = bytes(
    """
    01 01 00 3c 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
    80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20
    00 20 00 08 00 01 a1 47 e1 12 a6 43
    00 08 00 14 2b 91 f5 99 fd 9e 90 c3 8c 74 89 f9 2a f9 ba 53 f0 6b e7 d7
    80 28 00 04 c0 7d 4c 96
    """)
  /// RFC 5769 2.3.
  static let responseV6 = bytes(
    """
    01 01 00 48 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
    80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20
    00 20 00 14 00 02 a1 47 01 13 a9 fa a5 d3 f1 79 bc 25 f4 b5 be d2 b9 d9
    00 08 00 14 a3 82 95 4e 4b e6 7b f1 17 84 c9 7c 82 92 c2 75 bf e3 ed 41
    80 28 00 04 c8 fb 0b 4c
    """)

  private func answer(_ bytes: [UInt8], _ id: STUNTransactionID = vectorID) -> STUNAnswer? {
    bytes.withUnsafeBytes { STUNMessage.answer(to: id, in: $0) }
  }

  @Test func theRequestIsAHeader() {
    #expect(
      STUNMessage.bindingRequest(Self.vectorID)
        == Self.bytes("00 01 00 00 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae"))
  }

  @Test func readsTheVectors() throws {
    let v4 = SocketAddress(try #require(IPAddress(parsing: "192.0.2.1")), 32_853)
    #expect(answer(Self.responseV4) == .address(v4))
    let v6 = try #require(IPAddress(parsing: "2001:db8:1234:5678:11:2233:4455:6677"))
    #expect(answer(Self.responseV6) == .address(SocketAddress(v6, 32_853)))
  }

  @Test func anotherTransactionsAnswerIsNone() {
    var random = SplitMix64(7)
    let other = STUNTransactionID { random.next() }
    #expect(answer(Self.responseV4, other) == nil)
  }

  /// The fingerprint covers every byte in front of it. (By bytes 51, 72 and 73 there is one.)
  @Test func everyChangedBitIsSeen() {
    for i in Self.responseV4.indices where ![51, 72, 73].contains(i) {
      for bit in 0..<8 {
        var bytes = Self.responseV4
        bytes[i] ^= 1 << UInt8(bit)
        if case .address(let address) = answer(bytes) {
          Issue.record("byte \(i), bit \(bit): \(address)")
        }
      }
    }
  }

  @Test func everyTruncationIsRefused() {
    for response in [Self.responseV4, Self.responseV6] {
      for count in response.indices { #expect(answer(Array(response[..<count])) == nil) }
      #expect(answer(response + [0, 0, 0, 0]) == nil)
    }
  }

  private func message(_ type: [UInt8], _ attributes: String) -> [UInt8] {
    let attributes = Self.bytes(attributes)
    return type + [0, UInt8(attributes.count)] + Self.responseV4[4..<20] + attributes
  }

  private static let mapped = "00 20 00 08 00 01 a1 47 e1 12 a6 43"

  @Test func attributesAreJudgedByTheirTypes() {
    let found = STUNAnswer.address(SocketAddress(IPAddress(v4: 0xC000_0201), 32_853))
    let table: [(String, STUNAnswer?)] = [
      (Self.mapped, found),
      // The first of a type counts.
      (Self.mapped + " 00 20 00 08 00 01 00 00 00 00 00 00", found),
      // Optional ones, and RFC 3489's, are passed over; padding is part of no value.
      ("80 2b 00 03 01 02 03 ff " + Self.mapped, found),
      ("00 01 00 08 00 01 00 50 01 02 03 04 " + Self.mapped, found),
      ("00 30 00 00 " + Self.mapped, .unusable(.unknownAttribute(0x30))),
      ("", .unusable(.noAddress)),
      ("00 20 00 04 00 01 a1 47", .unusable(.badAttribute(0x20))),
      ("00 20 00 08 00 02 a1 47 e1 12 a6 43", .unusable(.badAttribute(0x20))),
      ("00 20 00 08 00 03 a1 47 e1 12 a6 43", .unusable(.badAttribute(0x20))),
      ("00 20 00 00", .unusable(.badAttribute(0x20))),
      // An attribute that is longer than the message.
      ("00 20 00 0c 00 01 a1 47 e1 12 a6 43", nil),
      ("80 22 ff ff", nil),
      // A fingerprint of something else.
      (Self.mapped + " 80 28 00 04 00 00 00 00", nil),
      (Self.mapped + " 80 28 00 00", nil),
    ]
    for (attributes, expected) in table {
      #expect(answer(message([0x01, 0x01], attributes)) == expected, "\(attributes)")
    }
  }

  @Test func errorsCarryTheirCode() {
    let table: [(String, STUNAnswer)] = [
      ("00 09 00 04 00 00 04 14", .refused(code: 420)),
      ("00 09 00 0a 00 00 03 00 54 72 79 20 41 6c 00 00", .refused(code: 300)),
      ("00 09 00 04 00 00 07 00", .unusable(.badAttribute(9))),
      ("00 09 00 04 00 00 04 64", .unusable(.badAttribute(9))),
      ("00 09 00 02 00 00 00 00", .unusable(.badAttribute(9))),
      ("", .unusable(.badAttribute(9))),
    ]
    for (attributes, expected) in table {
      #expect(answer(message([0x01, 0x11], attributes)) == expected, "\(attributes)")
    }
    // Requests and indications are no answers.
    for type: [UInt8] in [[0, 1], [0, 0x11], [0x41, 0x01], [0xC1, 0x01]] {
      #expect(answer(message(type, Self.mapped)) == nil)
    }
  }

  @Test(arguments: propertySeeds)
  func nothingTraps(seed: UInt64) {
    var random = SplitMix64(seed)
    for _ in 0..<20_000 {
      let base = random.below(2) == 0 ? Self.responseV4 : Self.responseV6
      _ = answer(random.mutate(base))
      _ = answer(Array(Self.responseV4[..<20]) + random.bytes(4 * random.below(30)))
    }
  }
}
