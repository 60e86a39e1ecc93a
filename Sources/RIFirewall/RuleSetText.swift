// A firewall as text for nftables (nft(8)).
//
// What comes out is made of keywords, numbers and addresses that this file writes. Text of a
// configuration, which ids and comments are, occurs in comments alone, with every character
// replaced that is not of `plainCharacters`.

import RIBase
import RIWire

/// What an edge's firewall is made of.
public struct RuleSet: Hashable, Sendable {
  public var config: FirewallConfig
  /// Where the tunnel goes. These addresses and ports are accepted whatever the rules say.
  public var hub: Set<SocketAddress>

  public init(_ config: FirewallConfig, hub: Set<SocketAddress>) {
    self.config = config
    self.hub = Set(hub.map { SocketAddress($0.ip.mappedV4 ?? $0.ip, $0.port) })
  }

  static let tableName = "remoteingress"
  public static let table = "inet \(tableName)"

  /// Removes the table, also when there is none.
  public static let removalText = """
    table \(table) {}
    delete table \(table)

    """

  /// One transaction that puts this rule set in the place of whatever the table holds. Without
  /// anything to do there is no table.
  public var text: String {
    guard !config.isEmpty else { return Self.removalText }
    var writer = RuleSetWriter()
    writer.write(self)
    return Self.removalText + writer.text
  }

  /// Changes the hub's addresses in the table that `text` made, and nothing else of it.
  public var hubText: String {
    var text = ""
    for family in [IPAddress.Family.v4, .v6] {
      text += "flush set \(Self.table) hub\(family.suffix)\n"
      let elements = hubElements(family)
      if !elements.isEmpty {
        text += "add element \(Self.table) hub\(family.suffix) { \(elements) }\n"
      }
    }
    return text
  }

  fileprivate func hubElements(_ family: IPAddress.Family) -> String {
    hub.filter { $0.ip.family == family }.map { "\($0.ip) . \($0.port)" }.sorted()
      .joined(separator: ", ")
  }
}

extension IPAddress.Family {
  fileprivate var suffix: String { self == .v4 ? "4" : "6" }
  /// What nftables calls the header and the type of an address.
  fileprivate var header: String { self == .v4 ? "ip" : "ip6" }
  fileprivate var type: String { self == .v4 ? "ipv4_addr" : "ipv6_addr" }
}

/// Names of what counts packets, and the entries they stand for.
enum CounterName {
  static let blocked = "blocked"
  static func rule(_ index: Int) -> String { "rule_\(index + 1)" }
  static func rateLimit(_ index: Int) -> String { "limit_\(index + 1)" }
}

/// Writes the table.
private struct RuleSetWriter {
  var text = ""

  private mutating func line(_ words: String...) {
    text += "  " + words.filter { !$0.isEmpty }.joined(separator: " ") + "\n"
  }

  mutating func write(_ ruleSet: RuleSet) {
    let config = ruleSet.config
    text += "table \(RuleSet.table) {\n"
    for i in config.rules.indices { line("counter \(CounterName.rule(i)) { }") }
    if !config.blockedIPs.isEmpty { line("counter \(CounterName.blocked) { }") }
    for i in config.rateLimits.indices { line("counter \(CounterName.rateLimit(i)) { }") }
    for family in [IPAddress.Family.v4, .v6] {
      writeHubSet(ruleSet.hubElements(family), family)
      writeBlockedSet(config, family)
      writeSourceSets(config, family)
    }
    for direction in FirewallConfig.Direction.allCases { writeChain(direction, config) }
    text += "}\n"
  }

  // MARK: Sets

  private mutating func writeHubSet(_ elements: String, _ family: IPAddress.Family) {
    line(
      "set hub\(family.suffix) { type \(family.type) . inet_service;",
      elements.isEmpty ? "" : "elements = { \(elements) };", "}")
  }

  private mutating func writeBlockedSet(_ config: FirewallConfig, _ family: IPAddress.Family) {
    let ranges = AddressRange.covering(config.blockedIPs, family)
    guard !ranges.isEmpty else { return }
    line("set blocked\(family.suffix) { type \(family.type); flags interval; elements = {")
    for range in ranges { line(range.text(family) + ",") }
    line("}; }")
  }

  private mutating func writeSourceSets(_ config: FirewallConfig, _ family: IPAddress.Family) {
    let count = config.rateLimits.filter(\.isPerSource).reduce(0) { $0 + 2 * $1.transports.count }
    for (i, limit) in config.rateLimits.enumerated() where limit.isPerSource {
      for transport in limit.transports {
        line(
          "set \(sourceSet(i, transport, family)) { type \(family.type);",
          "size \(min(Limits.firewallSourcesPerSetMax, Limits.firewallSourcesMax / count));",
          "flags dynamic,timeout; timeout \(limit.memorySeconds)s; }")
      }
    }
  }

  private func sourceSet(
    _ index: Int, _ transport: TransportProtocol, _ family: IPAddress.Family
  ) -> String { "\(CounterName.rateLimit(index))_\(transport.rawValue)\(family.suffix)" }

  // MARK: Chains

  private mutating func writeChain(_ direction: FirewallConfig.Direction, _ config: FirewallConfig)
  {
    let rules = config.rules.enumerated().filter { $0.element.direction == direction }
    let hasMore =
      direction == .input && !(config.blockedIPs.isEmpty && config.rateLimits.isEmpty)
    guard !rules.isEmpty || hasMore else { return }
    line("chain \(direction.rawValue) {")
    line("type filter hook \(direction.rawValue) priority filter; policy accept;")
    writeLifelines(direction, config)
    for (i, rule) in rules { writeRule(rule, i) }
    if direction == .input {
      for family in [IPAddress.Family.v4, .v6] { writeBlocked(config, family) }
      for (i, limit) in config.rateLimits.enumerated() { writeRateLimit(limit, i) }
    }
    line("}")
  }

  /// What no configuration can forbid, so that the edge still reaches its hub: loopback, the
  /// tunnel, the neighbours that carry it (RFC 4861, RFC 3810), answers to what this machine itself
  /// has begun, such as a look-up of the hub's name, and errors of the path (RFC 1191, RFC 8201).
  /// The last two need connection tracking, so they stand where something could drop them.
  private mutating func writeLifelines(
    _ direction: FirewallConfig.Direction, _ config: FirewallConfig
  ) {
    let ends: (interface: String, address: String, port: String)
    switch direction {
    case .input: ends = ("iif", "saddr", "sport")
    case .output: ends = ("oif", "daddr", "dport")
    case .forward: return
    }
    line("\(ends.interface) lo accept")
    for family in [IPAddress.Family.v4, .v6] {
      line(
        "meta l4proto { tcp, udp }",
        "\(family.header) \(ends.address) . th \(ends.port) @hub\(family.suffix) accept")
    }
    line(
      "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert,",
      "mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept")
    let mayDropAnswers =
      !config.blockedIPs.isEmpty
      || config.rules.contains { $0.direction == .input && $0.action != .accept }
    guard direction == .input, mayDropAnswers else { return }
    line("ct state established ct direction reply accept")
    line("meta l4proto { icmp, icmpv6 } ct state related accept")
  }

  private mutating func writeRule(_ rule: FirewallConfig.Rule, _ index: Int) {
    let label = comment(
      ["rule \(index + 1)", rule.id, rule.comment].compactMap { $0 }.joined(separator: ": "))
    let counter = "counter name \(CounterName.rule(index))"
    for (condition, verdict) in verdicts(of: rule) {
      line(source(rule.source), condition, counter, verdict, label)
    }
  }

  private func source(_ network: IPNetwork?) -> String {
    guard let network else { return "" }
    let family = network.address.family
    // A prefix of no bits is no condition on the address, but still one on its family.
    if network.prefixLength == 0 { return "meta nfproto \(family == .v4 ? "ipv4" : "ipv6")" }
    return "\(family.header) saddr \(network)"
  }

  /// The conditions on protocol and port with what is done then. A rejection has an answer for TCP
  /// and another one for all else.
  private func verdicts(of rule: FirewallConfig.Rule) -> [(condition: String, verdict: String)] {
    let reset = "reject with tcp reset"
    let unreachable = "reject with icmpx port-unreachable"
    switch (rule.action, rule.transport, rule.destinationPort) {
    case (.reject, nil, let port):
      return [
        (condition(.tcp, port), reset), (port == nil ? "" : condition(.udp, port), unreachable),
      ]
    case (.reject, .tcp, let port): return [(condition(.tcp, port), reset)]
    case (.reject, .udp, let port): return [(condition(.udp, port), unreachable)]
    case (let action, let transport, let port):
      return [(condition(transport, port), action.rawValue)]
    }
  }

  private func condition(_ transport: TransportProtocol?, _ port: Port?) -> String {
    switch (transport, port) {
    case (nil, nil): ""
    case (nil, let port?): "meta l4proto { tcp, udp } th dport \(port)"
    case (let transport?, nil): "meta l4proto \(transport.rawValue)"
    case (let transport?, let port?): "\(transport.rawValue) dport \(port)"
    }
  }

  private mutating func writeBlocked(_ config: FirewallConfig, _ family: IPAddress.Family) {
    guard config.blockedIPs.contains(where: { $0.address.family == family }) else { return }
    line(
      "\(family.header) saddr @blocked\(family.suffix)",
      "counter name \(CounterName.blocked) drop")
  }

  private mutating func writeRateLimit(_ limit: FirewallConfig.RateLimit, _ index: Int) {
    let counter = "counter name \(CounterName.rateLimit(index))"
    let label = comment("rate limit \(index + 1): \(limit.id)")
    let over = "limit rate over \(limit.rate) burst \(limit.burst) packets"
    for transport in limit.transports {
      let port = "\(transport.rawValue) dport \(limit.port)"
      // A new connection is its SYN (RFC 9293 3.5). `ct state new` would also be the next packet of
      // each connection that is older than the firewall.
      let isNew = transport == .tcp ? "tcp flags & (fin | syn | rst | ack) == syn" : ""
      guard limit.isPerSource else {
        line(port, isNew, over, counter, "drop", label)
        continue
      }
      for family in [IPAddress.Family.v4, .v6] {
        line(
          port, isNew, "update @\(sourceSet(index, transport, family))",
          "{ \(family.header) saddr \(over) }", counter, "drop", label)
      }
    }
  }

  // MARK: Comments

  /// 128 bytes are what nftables takes.
  private func comment(_ text: String) -> String {
    let plain = text.unicodeScalars.prefix(128).map {
      Self.plainCharacters.contains($0) ? Character($0) : "_"
    }
    return "comment \"\(String(plain))\""
  }

  private static let plainCharacters = Set(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .:/_-".unicodeScalars)
}

extension FirewallConfig.RateLimit {
  fileprivate var transports: [TransportProtocol] { transport.map { [$0] } ?? [.tcp, .udp] }

  /// How long a source is remembered after its last packet: until its burst has grown back whole,
  /// so that being forgotten is no gain; a minute at least.
  fileprivate var memorySeconds: Int {
    let unit =
      switch rate.unit {
      case .second: 1
      case .minute: 60
      case .hour: 3_600
      case .day: 86_400
      }
    return max(60, (burst + 1) * unit / rate.count + 1)
  }
}
