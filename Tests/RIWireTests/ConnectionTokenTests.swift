// Connection tokens: their published form and the errors of broken ones.

import TestRandom
import Testing

@testable import RIWire

@Suite struct ConnectionTokenTests {
  private func token(json: String) throws -> ConnectionToken {
    try ConnectionToken(decoding: Base64URL.encode(Array(json.utf8)))
  }

  @Test func encodesTheKeysInTheirOrder() throws {
    let token = try ConnectionToken(
      host: "hub.example.com", port: 8_443, edgeID: "edge-1", secret: Secret("s?>~"),
      hubPin: "sha256/AAAA")
    let json = #"{"h":"hub.example.com","p":8443,"e":"edge-1","s":"s?>~","f":"sha256/AAAA"}"#
    #expect(Base64URL.decode(token.encoded().utf8) == Array(json.utf8))
    #expect(try ConnectionToken(decoding: token.encoded()) == token)
  }

  @Test func matchesAKnownToken() throws {
    // Made with: printf '{"h":"h","p":1,"e":"e","s":"??>"}' | base64 | tr '+/' '-_' | tr -d =
    let known = "eyJoIjoiaCIsInAiOjEsImUiOiJlIiwicyI6Ij8_PiJ9"
    let token = try ConnectionToken(host: "h", port: 1, edgeID: "e", secret: Secret("??>"))
    #expect(token.encoded() == known)
    #expect(try ConnectionToken(decoding: "\n\t \(known)\r\n ") == token)
    #expect(token.hubPin == nil)
  }

  @Test func ignoresUnknownKeysAndOrder() throws {
    let token = try token(json: #"{"v":[2],"s":"x","e":"e","x":null,"p":1,"h":"::1","f":null}"#)
    #expect(token.host == "::1")
    #expect(token.hubPin == nil)
  }

  static let refused: [(String, TokenError)] = [
    ("[]", .notJSON(.notAnObject)), ("{", .notJSON(.notJSON)),
    (#"{"p":1,"e":"e","s":"s"}"#, .missingKey(.host)),
    (#"{"h":"h","e":"e","s":"s"}"#, .missingKey(.port)),
    (#"{"h":"h","p":1,"s":"s"}"#, .missingKey(.edgeID)),
    (#"{"h":"h","p":1,"e":"e"}"#, .missingKey(.secret)),
    (#"{"h":1,"p":1,"e":"e","s":"s"}"#, .wrongType(.host)),
    (#"{"h":"h","p":"1","e":"e","s":"s"}"#, .wrongType(.port)),
    (#"{"h":"h","p":1,"e":"e","s":null}"#, .wrongType(.secret)),
    (#"{"h":"h","p":1,"e":"e","s":"s","f":1}"#, .wrongType(.hubPin)),
    (#"{"h":"h","p":0,"e":"e","s":"s"}"#, .portOutOfRange),
    (#"{"h":"h","p":65536,"e":"e","s":"s"}"#, .portOutOfRange),
    (#"{"h":"h","p":1.5,"e":"e","s":"s"}"#, .portOutOfRange),
    (#"{"h":"","p":1,"e":"e","s":"s"}"#, .badHost(.empty)),
    (#"{"h":"a b","p":1,"e":"e","s":"s"}"#, .badHost(.notPrintable)),
    (#"{"h":"h","p":1,"e":"e e","s":"s"}"#, .badEdgeID(.notPrintable)),
    (#"{"h":"h","p":1,"e":"e","s":""}"#, .badSecret(.empty)),
    (#"{"h":"h","p":1,"e":"e","s":"s","f":""}"#, .badPin(.empty)),
  ]

  @Test(arguments: refused) func saysWhatIsWrong(json: String, error: TokenError) {
    #expect(throws: error) { try token(json: json) }
  }

  @Test func refusesWhatIsNoBase64URL() {
    for text in ["e", "eyJ+", "eyJ/", "eyI=", "ey I", "eyé", "eyJo\u{0}"] {
      #expect(throws: TokenError.notBase64URL) { try ConnectionToken(decoding: text) }
    }
    #expect(throws: TokenError.empty) { try ConnectionToken(decoding: " \n") }
    #expect(throws: TokenError.tooLong) {
      try ConnectionToken(decoding: String(repeating: "A", count: 8_193))
    }
  }

  @Test func theLongestTokenIsTaken() throws {
    let text = { (count: Int) in String(repeating: "\"", count: count) }
    let token = try ConnectionToken(
      host: text(253), port: 65_535, edgeID: text(128), secret: Secret(text(1_024)),
      hubPin: text(253))
    #expect(try ConnectionToken(decoding: token.encoded()) == token)
  }

  @Test func errorsAndDescriptionsHideTheSecret() throws {
    let token = try ConnectionToken(host: "h", port: 1, edgeID: "e", secret: Secret("hunter2"))
    #expect(!"\(token)".contains("hunter2"))
    do {
      _ = try self.token(json: #"{"h":"h","p":1,"e":"e","s":"hunter2 "}"#)
      Issue.record("accepted")
    } catch {
      #expect(!"\(error) \(String(reflecting: error))".contains("hunter2"))
      #expect("\(error)".contains("secret"))
    }
  }

  @Test(arguments: propertySeeds) func base64URLReadsWhatItWritesAndOnlyThat(seed: UInt64) {
    var random = SplitMix64(seed)
    for length in 0..<120 {
      let bytes = random.bytes(length)
      let text = Base64URL.encode(bytes)
      #expect(Base64URL.decode(text.utf8) == bytes, "seed \(seed)")
      let broken = random.mutate(Array(text.utf8))
      if let decoded = Base64URL.decode(broken) {
        #expect(Array(Base64URL.encode(decoded).utf8) == broken, "seed \(seed)")
      }
    }
  }

  @Test(arguments: propertySeeds) func brokenTokensNeverTrap(seed: UInt64) throws {
    var random = SplitMix64(seed)
    let valid = try ConnectionToken(
      host: "hub", port: 8_443, edgeID: "e", secret: Secret("s"), hubPin: "sha256/x")
    let json = Base64URL.decode(valid.encoded().utf8) ?? []
    for _ in 0..<2_000 {
      guard let token = try? ConnectionToken(decoding: Base64URL.encode(random.mutate(json)))
      else { continue }
      #expect(try ConnectionToken(decoding: token.encoded()) == token, "seed \(seed)")
    }
  }
}
