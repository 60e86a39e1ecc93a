// Generated configurations, with labels that try to be nftables syntax.

import RIBase
import RIWire
import TestRandom

struct ConfigGenerator {
  var random: SplitMix64

  init(_ seed: UInt64) { random = SplitMix64(seed) }

  private static let hostile = [
    "\"", "'", "{", "}", ";", "#", "\\", "$x", "@hub4", "/*", "*/", ",", "(", ")", "`",
    " drop", " accept", "\" accept comment \"", "\"; } } table inet evil { }", "} flush ruleset",
    "include \"/etc/passwd\"", "\\\"", "é", "日本語", "👍", "％", "＂", "‐", "delete table inet other",
    "counter", "-j", "%s%n", "a", "Z9", "_", ".", ":", " ",
  ]
  /// What no check lets through, for configurations that were never checked.
  private static let unprintable = ["\n", "\r", "\0", "\u{1B}[0m", "\u{2028}", "\u{202E}", "\t"]

  mutating func label(checked: Bool) -> String {
    let pieces = checked ? Self.hostile : Self.hostile + Self.unprintable
    var text = ""
    for _ in 0...random.below(12) { text += pieces[random.below(pieces.count)] }
    return String(String.UnicodeScalarView(text.unicodeScalars.prefix(checked ? 120 : 4_000)))
  }

  mutating func network() -> IPNetwork {
    let family = random.below(2) == 0 ? IPAddress.Family.v4 : .v6
    let lengths = family == .v4 ? [0, 1, 8, 24, 31, 32, 32] : [0, 1, 32, 64, 127, 128, 128]
    // Few different high bits, so that networks overlap and adjoin.
    var bits = UInt128(random.next()) << 64 | UInt128(random.next())
    if random.below(2) == 0 { bits = UInt128(0x0A00_0000) | bits & 0xFF }
    if random.below(8) == 0 { bits = .max }
    let address = IPAddress(family, bits: bits)
    guard address.mappedV4 == nil,
      let network = IPNetwork(address, prefixLength: lengths[random.below(lengths.count)])
    else { return network() }
    return network
  }

  private mutating func maybe<Value>(_ value: (inout Self) -> Value) -> Value? {
    random.below(2) == 0 ? value(&self) : nil
  }

  private mutating func one<Value>(of values: [Value]) -> Value {
    values[random.below(values.count)]
  }

  private mutating func port() -> Port { Port(1 + random.below(65_535)) }

  mutating func config(checked: Bool = true) -> FirewallConfig {
    var config = FirewallConfig()
    if random.below(4) > 0 { config.blockedIPs = (0..<random.below(30)).map { _ in network() } }
    for i in 0..<random.below(6) {
      config.rateLimits.append(
        .init(
          id: "\(i)" + label(checked: checked), port: port(),
          transport: maybe { $0.one(of: [.tcp, .udp]) },
          rate: .init(
            1 + random.below(1_000_000), per: one(of: FirewallConfig.Rate.Unit.allCases)),
          burst: 1 + random.below(100_000), isPerSource: random.below(2) == 0))
    }
    for i in 0..<random.below(12) {
      config.rules.append(
        .init(
          id: "\(i)" + label(checked: checked),
          direction: one(of: FirewallConfig.Direction.allCases),
          action: one(of: FirewallConfig.Action.allCases), source: maybe { $0.network() },
          destinationPort: maybe { $0.port() }, transport: maybe { $0.one(of: [.tcp, .udp]) },
          comment: maybe { $0.label(checked: checked) }))
    }
    return config
  }

  mutating func hub() -> Set<SocketAddress> {
    Set((0..<random.below(4)).map { _ in SocketAddress(network().address, port()) })
  }
}

extension FirewallConfig {
  /// The configuration as a hub writes it.
  var json: JSONValue {
    func object(_ members: [(String, JSONValue?)]) -> JSONValue {
      .object(Dictionary(members.compactMap { key, value in value.map { (key, $0) } }) { $1 })
    }
    return object([
      ("blockedIps", .array(blockedIPs.map { .string("\($0)") })),
      (
        "rateLimits",
        .array(
          rateLimits.map {
            object([
              ("id", .string($0.id)), ("port", .integer(Int($0.port))),
              ("protocol", $0.transport.map { .string($0.rawValue) }),
              ("rate", .string("\($0.rate)")), ("burst", .integer($0.burst)),
              ("perSourceIP", .bool($0.isPerSource)),
            ])
          })
      ),
      (
        "rules",
        .array(
          rules.map {
            object([
              ("id", .string($0.id)), ("direction", .string($0.direction.rawValue)),
              ("action", .string($0.action.rawValue)),
              ("sourceIP", $0.source.map { .string("\($0)") }),
              ("destPort", $0.destinationPort.map { .integer(Int($0)) }),
              ("protocol", $0.transport.map { .string($0.rawValue) }),
              ("comment", $0.comment.map { .string($0) }),
            ])
          })
      ),
    ])
  }
}
