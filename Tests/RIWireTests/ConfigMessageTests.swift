// CONFIG and HELLO, and the JSON below them.

import RIBase
import TestRandom
import Testing

@testable import RIWire

@Suite struct ConfigMessageTests {
  private func read(_ text: String) throws -> EdgeConfigMessage {
    try EdgeConfigMessage(parsing: text.utf8)
  }

  @Test func absentAndNullFieldsHaveTheirDefaults() throws {
    let defaults = EdgeConfigMessage()
    #expect(defaults.stunIntervalSecs == 300 && defaults.listenPorts.isEmpty)
    #expect(try read("{}") == defaults)
    #expect(try read(" \r\n\t{ } \n") == defaults)
    let nulls = """
      {"listenPorts":null,"listenPortsUdp":null,"stunIntervalSecs":null,"firewallConfig":null,
       "error":null,"extensions":null}
      """
    #expect(try read(nulls) == defaults)
  }

  @Test func readsAllFieldsAndIgnoresUnknownOnes() throws {
    let message = try read(
      """
      {"unknown":{"deep":[{"listenPorts":[1]}]},"listenPorts":[443,80,443,8443],
       "listenPortsUdp":[53],"stunIntervalSecs":0,"firewallConfig":{"x":[1,{"y":null}]},
       "extensions":["lanes","later"],"lanes":{"max":4}}
      """)
    #expect(message.listenPorts == [443, 80, 8_443], "a port named twice counts once")
    #expect(message.listenPortsUdp == [53])
    #expect(message.stunIntervalSecs == 0)
    #expect(
      message.firewallConfig
        == .object(["x": .array([.integer(1), .object(["y": .null])])]))
    #expect(message.extensions == ["lanes", "later"])
  }

  @Test func drainingIsSaidOnlyWhenItIsSo() throws {
    var message = EdgeConfigMessage(listenPorts: [80], extensions: ["drain"])
    let idle = message.encodedFramePayload()
    #expect(!String(decoding: idle, as: UTF8.self).contains("draining"))
    message.draining = true
    let text = """
      {"listenPorts":[80],"listenPortsUdp":[],"stunIntervalSecs":300,"extensions":["drain"],\
      "draining":true}
      """
    #expect(message.encodedFramePayload() == Array(text.utf8))
    #expect(try read(text) == message)
    #expect(try read(#"{"draining":false}"#) == EdgeConfigMessage())
    #expect(try read(#"{"draining":null}"#) == EdgeConfigMessage())
  }

  @Test func theRefusalIsAnErrorAlone() throws {
    let line = EdgeConfigMessage.unauthorized.encodedLine()
    #expect(line == Array(#"{"error":"unauthorized"}"#.utf8) + [0x0A])
    #expect(try EdgeConfigMessage(parsing: line).error == "unauthorized")
  }

  @Test func writesThePublishedForm() throws {
    let message = EdgeConfigMessage(
      listenPorts: [80, 443], listenPortsUdp: [53], firewallConfig: .object(["a": .bool(true)]),
      extensions: ["lanes"])
    let text = """
      {"listenPorts":[80,443],"listenPortsUdp":[53],"stunIntervalSecs":300,\
      "firewallConfig":{"a":true},"extensions":["lanes"]}
      """
    #expect(message.encodedFramePayload() == Array(text.utf8))
    #expect(message.encodedLine() == Array(text.utf8) + [0x0A])
    #expect(try read(text) == message)
  }

  static let refused: [(String, MessageFault)] = [
    ("", .notJSON), ("[]", .notAnObject), ("7", .notAnObject), ("null", .notAnObject),
    ("{", .notJSON), ("{}{}", .notJSON), ("{'a':1}", .notJSON), (#"{"a":1,}"#, .notJSON),
    (#"{"listenPorts":{}}"#, .wrongType(.listenPorts)),
    (#"{"listenPorts":"80"}"#, .wrongType(.listenPorts)),
    (#"{"listenPorts":["80"]}"#, .wrongType(.listenPorts)),
    (#"{"listenPorts":[null]}"#, .wrongType(.listenPorts)),
    (#"{"listenPorts":[true]}"#, .wrongType(.listenPorts)),
    (#"{"listenPorts":[0]}"#, .outOfRange(.listenPorts)),
    (#"{"listenPorts":[65536]}"#, .outOfRange(.listenPorts)),
    (#"{"listenPorts":[-1]}"#, .outOfRange(.listenPorts)),
    (#"{"listenPorts":[1.5]}"#, .outOfRange(.listenPorts)),
    (#"{"listenPorts":[99999999999999999999]}"#, .outOfRange(.listenPorts)),
    (#"{"listenPortsUdp":[0]}"#, .outOfRange(.listenPortsUdp)),
    (#"{"stunIntervalSecs":"1"}"#, .wrongType(.stunIntervalSecs)),
    (#"{"stunIntervalSecs":-1}"#, .outOfRange(.stunIntervalSecs)),
    (#"{"stunIntervalSecs":2147483648}"#, .outOfRange(.stunIntervalSecs)),
    (#"{"error":1}"#, .wrongType(.error)), (#"{"extensions":"a"}"#, .wrongType(.extensions)),
    (#"{"extensions":[1]}"#, .wrongType(.extensions)),
    (#"{"draining":1}"#, .wrongType(.draining)), (#"{"draining":"true"}"#, .wrongType(.draining)),
  ]

  @Test(arguments: refused) func refusesWithItsName(text: String, fault: MessageFault) {
    #expect(throws: WireError.badConfig(fault)) { try read(text) }
  }

  @Test func anyFirewallConfigIsCarried() throws {
    #expect(try read(#"{"firewallConfig":7}"#).firewallConfig == .integer(7))
  }

  @Test(arguments: propertySeeds) func brokenMessagesNeverTrapOrLoop(seed: UInt64) {
    var random = SplitMix64(seed)
    let valid = EdgeConfigMessage(
      listenPorts: [80, 443, 65_535], listenPortsUdp: [53], stunIntervalSecs: 1,
      firewallConfig: .object(["blockedIps": .array([.string("é\u{1F600}\n\"")])]),
      extensions: ["lanes"]
    ).encodedFramePayload()
    for _ in 0..<2_000 {
      guard let message = try? EdgeConfigMessage(parsing: random.mutate(valid)) else { continue }
      let again = try? EdgeConfigMessage(parsing: message.encodedFramePayload())
      #expect(message.error != nil || again == message, "seed \(seed)")
    }
  }
}

@Suite struct HelloMessageTests {
  @Test func readsWhatItWrites() throws {
    let hello = HelloMessage(extensions: ["lanes"], version: "1.0")
    #expect(
      hello.encodedFramePayload() == Array(#"{"extensions":["lanes"],"version":"1.0"}"#.utf8))
    #expect(try HelloMessage(parsing: hello.encodedFramePayload()) == hello)
    #expect(try HelloMessage(parsing: "{}".utf8) == HelloMessage(extensions: []))
  }

  @Test func saysThatItDrains() throws {
    let hello = HelloMessage(extensions: ["drain"], version: "1.0", draining: true)
    let text = #"{"extensions":["drain"],"version":"1.0","draining":true}"#
    #expect(hello.encodedFramePayload() == Array(text.utf8))
    #expect(try HelloMessage(parsing: text.utf8) == hello)
  }

  @Test func refusesWithItsName() {
    #expect(throws: WireError.badHello(.notJSON)) { try HelloMessage(parsing: "hello".utf8) }
    #expect(throws: WireError.badHello(.wrongType(.version))) {
      try HelloMessage(parsing: #"{"version":1}"#.utf8)
    }
    #expect(throws: WireError.badHello(.wrongType(.draining))) {
      try HelloMessage(parsing: #"{"draining":[]}"#.utf8)
    }
  }
}

@Suite struct JSONTests {
  private func read(_ text: String) throws -> JSONValue { try JSONValue(parsing: text.utf8) }

  static let readable: [(String, JSONValue)] = [
    ("0", .integer(0)), ("-0", .integer(0)), ("-12", .integer(-12)), ("1.0", .number(1)),
    ("1e2", .number(100)), ("-1.5E-1", .number(-0.15)), ("9223372036854775807", .integer(.max)),
    ("9223372036854775808", .number(9_223_372_036_854_775_808)),
    (#""""#, .string("")), (#""\"\\\/\b\f\n\r\t""#, .string("\"\\/\u{8}\u{C}\n\r\t")),
    (#""\u00e9\uD83D\ude00""#, .string("é😀")), (#""é😀""#, .string("é😀")),
    (#""\u0000""#, .string("\0")), ("[]", .array([])),
    (
      "[[],[1 , 2]]",
      .array([.array([]), .array([.integer(1), .integer(2)])])
    ),
    (#"{"a":1,"a":2}"#, .object(["a": .integer(2)])), ("true", .bool(true)),
    ("false", .bool(false)), ("null", .null),
  ]

  @Test(arguments: readable) func reads(text: String, value: JSONValue) throws {
    #expect(try read(text) == value)
    #expect(try JSONValue(parsing: value.encoded()) == value)
  }

  static let unreadable = [
    " ", "01", "-", "+1", "1.", ".5", "1e", "1e+", "--1", "1-1", "1e999", "NaN", "Infinity",
    "tru", "True", "\"", "\"a", "\"\u{1}\"", "\"\n\"", #""\x""#, #""\u12""#, #""\uD800""#,
    #""\uDC00""#, #""\uD800\u0041""#, "[", "]", "[1", "[1,]", "[,1]", "[1 2]", "{]", "{\"a\"}",
    "{\"a\":}", "{a:1}", "{1:1}", "1 1", "[]x", "\u{FEFF}1", "/**/1",
  ]

  @Test(arguments: unreadable) func refuses(text: String) {
    #expect(throws: MessageFault.notJSON) { try read(text) }
  }

  @Test func refusesTextThatIsNotUTF8() {
    #expect(throws: MessageFault.notJSON) { try JSONValue(parsing: [0x22, 0xFF, 0x22]) }
    #expect(throws: MessageFault.notJSON) {
      try JSONValue(parsing: [0x22, 0xED, 0xA0, 0x80, 0x22])
    }
  }

  @Test func depthIsBoundedBeforeTheStackIs() throws {
    let hostile = [UInt8](repeating: 0x5B, count: 4 << 20)
    #expect(throws: MessageFault.tooDeep) { try JSONValue(parsing: hostile) }
    let objects = String(repeating: #"{"a":"#, count: 1_000)
    #expect(throws: MessageFault.tooDeep) { try read(objects) }
    let max = JSONValue.depthMax
    let deepest =
      String(repeating: "[", count: max) + String(repeating: "]", count: max)
    _ = try read(deepest)
    #expect(throws: MessageFault.tooDeep) { try read("[" + deepest + "]") }
  }

  /// A random value no deeper than `depth`.
  private func value(_ random: inout SplitMix64, depth: Int) -> JSONValue {
    switch random.below(depth > 0 ? 7 : 5) {
    case 0: return .null
    case 1: return .bool(random.below(2) == 0)
    case 2: return .integer(Int(truncatingIfNeeded: random.next()))
    case 3: return .number(Double(random.below(1_000_000)) / 64 + 0.015625)
    case 4:
      let scalars = (0..<random.below(8)).compactMap { _ in
        Unicode.Scalar(UInt32(random.below(random.below(3) == 0 ? 0x11_0000 : 0x80)))
      }
      return .string(String(String.UnicodeScalarView(scalars)))
    case 5: return .array((0..<random.below(5)).map { _ in value(&random, depth: depth - 1) })
    default:
      var members: [String: JSONValue] = [:]
      for i in 0..<random.below(5) { members["k\(i)"] = value(&random, depth: depth - 1) }
      return .object(members)
    }
  }

  @Test(arguments: propertySeeds) func readsWhatItWrites(seed: UInt64) throws {
    var random = SplitMix64(seed)
    for _ in 0..<300 {
      let value = value(&random, depth: 5)
      #expect(try JSONValue(parsing: value.encoded()) == value, "seed \(seed)")
    }
  }
}
