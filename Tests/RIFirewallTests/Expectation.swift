// What a listing must show for a configuration, written down a second time and in another way than
// the product writes it.

import RIBase
import RIWire

struct Expectation {
  var chains: [String: [ListedRule]] = [:]
  var counters: Set<String> = []
  /// The sets of rate limits, with their type, size and time-out in seconds.
  var sourceSets: [String: (type: String, timeout: Int)] = [:]

  private static let neighbours =
    "{mld-listener-done mld-listener-query mld-listener-report mld2-listener-report "
    + "nd-neighbor-advert nd-neighbor-solicit nd-router-advert nd-router-solicit}"

  init(_ config: FirewallConfig) {
    for direction in FirewallConfig.Direction.allCases {
      var rules: [ListedRule] = []
      for (i, rule) in config.rules.enumerated() where rule.direction == direction {
        rules += Self.listed(rule, number: i + 1)
      }
      if direction == .input { rules += Self.listedDrops(config) }
      if !rules.isEmpty { chains["\(direction)"] = Self.lifelines(direction, config) + rules }
    }
    counters = Set(config.rules.indices.map { "rule_\($0 + 1)" })
    counters.formUnion(config.rateLimits.indices.map { "limit_\($0 + 1)" })
    if !config.blockedIPs.isEmpty { counters.insert("blocked") }
    let units: [FirewallConfig.Rate.Unit: Double] = [
      .second: 1, .minute: 60, .hour: 3_600, .day: 86_400,
    ]
    for (i, limit) in config.rateLimits.enumerated() where limit.isPerSource {
      for transport in limit.transport.map({ [$0] }) ?? [.tcp, .udp] {
        for (family, type) in [("4", "ipv4_addr"), ("6", "ipv6_addr")] {
          let refill =
            Double(limit.burst + 1) * (units[limit.rate.unit] ?? 0) / Double(limit.rate.count)
          sourceSets["limit_\(i + 1)_\(transport)\(family)"] = (type, max(60, Int(refill) + 1))
        }
      }
    }
  }

  private static func lifelines(
    _ direction: FirewallConfig.Direction, _ config: FirewallConfig
  ) -> [ListedRule] {
    if direction == .forward { return [] }
    let (interface, address, port) =
      direction == .input ? ("iif", "saddr", "sport") : ("oif", "daddr", "dport")
    func accept(_ conditions: String...) -> ListedRule {
      ListedRule(conditions: conditions, verdict: "accept")
    }
    var rules = [
      accept("meta \(interface) == lo"),
      accept("meta l4proto == {tcp udp}", "ip \(address) . th \(port) == @hub4"),
      accept("meta l4proto == {tcp udp}", "ip6 \(address) . th \(port) == @hub6"),
      accept("icmpv6 type == \(neighbours)"),
    ]
    let drops = config.rules.contains { $0.direction == .input && $0.action != .accept }
    if direction == .input, drops || !config.blockedIPs.isEmpty {
      rules += [
        accept("ct state in established", "ct direction == reply"),
        accept("meta l4proto == {icmp ipv6-icmp}", "ct state in related"),
      ]
    }
    return rules
  }

  /// A rule of the configuration takes one line, or two where a rejection answers in two ways.
  private static func listed(_ rule: FirewallConfig.Rule, number: Int) -> [ListedRule] {
    var source: [String] = []
    if let network = rule.source {
      let isV4 = network.address.family == .v4
      source =
        network.prefixLength == 0
        ? ["meta nfproto == \(isV4 ? "ipv4" : "ipv6")"]
        : ["\(isV4 ? "ip" : "ip6") saddr == \(network)"]
    }
    let label = safe("rule \(number): \(rule.id)" + (rule.comment.map { ": \($0)" } ?? ""))
    func line(_ transport: TransportProtocol?, _ verdict: String) -> ListedRule {
      let rest: [String] =
        switch (transport, rule.destinationPort) {
        case (nil, nil): []
        case (nil, let port?): ["meta l4proto == {tcp udp}", "th dport == \(port)"]
        case (let transport?, nil): ["meta l4proto == \(transport)"]
        case (let transport?, let port?): ["\(transport) dport == \(port)"]
        }
      return ListedRule(
        conditions: source + rest, counter: "rule_\(number)", verdict: verdict, comment: label)
    }
    let (reset, unreachable) = ("reject tcp reset", "reject icmpx port-unreachable")
    switch (rule.action, rule.transport) {
    case (.accept, let transport): return [line(transport, "accept")]
    case (.drop, let transport): return [line(transport, "drop")]
    case (.reject, .tcp): return [line(.tcp, reset)]
    case (.reject, .udp): return [line(.udp, unreachable)]
    case (.reject, nil):
      return [
        line(.tcp, reset), line(rule.destinationPort == nil ? nil : .udp, unreachable),
      ]
    }
  }

  private static func listedDrops(_ config: FirewallConfig) -> [ListedRule] {
    var rules: [ListedRule] = []
    for (family, header) in [(IPAddress.Family.v4, "ip"), (.v6, "ip6")]
    where config.blockedIPs.contains(where: { $0.address.family == family }) {
      rules.append(
        ListedRule(
          conditions: ["\(header) saddr == @blocked\(family == .v4 ? "4" : "6")"],
          counter: "blocked", verdict: "drop"))
    }
    for (i, limit) in config.rateLimits.enumerated() {
      let label = safe("rate limit \(i + 1): \(limit.id)")
      let rate = "limit over \(limit.rate) burst \(limit.burst)"
      for transport in limit.transport.map({ [$0] }) ?? [.tcp, .udp] {
        let packets =
          ["\(transport) dport == \(limit.port)"]
          + (transport == .tcp ? ["tcp flags & fin syn rst ack == syn"] : [])
        let meters =
          limit.isPerSource
          ? [("4", "ip"), ("6", "ip6")].map {
            "update @limit_\(i + 1)_\(transport)\($0) \($1) saddr \(rate)"
          } : [rate]
        rules += meters.map {
          ListedRule(
            conditions: packets + [$0], counter: "limit_\(i + 1)", verdict: "drop", comment: label)
        }
      }
    }
    return rules
  }

  /// Letters, digits and a little punctuation of ASCII as they are, all else as underscores.
  private static func safe(_ text: String) -> String {
    let bytes = text.unicodeScalars.prefix(128).map { scalar -> UInt8 in
      switch scalar {
      case "a"..."z", "A"..."Z", "0"..."9", " ", ".", ":", "/", "_", "-":
        UInt8(truncatingIfNeeded: scalar.value)
      default: 0x5F
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
