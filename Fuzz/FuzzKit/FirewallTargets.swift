// Firewall configurations: whatever they say, nftables is given words that we wrote.

import RIBase
import RIFirewall
import RIWire

/// JSON as a hub sends it.
func fuzzFirewall(_ bytes: UnsafeRawBufferPointer) {
  if let value = try? JSONValue(parsing: Array(bytes)) { checkFirewall(value) }
}

func checkFirewall(_ value: JSONValue) {
  for keys in [FirewallConfig.UnknownKeys.ignored, .refused] {
    do throws(FirewallFault) {
      let config = try FirewallConfig(checking: value, unknownKeys: keys)
      must(config.blockedIPs.count <= Limits.firewallBlockedMax, "more addresses than allowed")
      must(config.rules.count <= Limits.firewallRulesMax, "more rules than allowed")
      checkText(of: config)
    } catch {
      must(!"\(error)".contains("\n"), "an error of several lines")
    }
  }
}

/// Rules made from the input without any check, labels and all.
func fuzzRules(_ bytes: UnsafeRawBufferPointer) {
  var input = FuzzInput(bytes)
  var config = FirewallConfig()
  for _ in 0..<20 where !input.isAtEnd {
    switch input.choice(3) {
    case 0: if let network = input.network() { config.blockedIPs.append(network) }
    case 1:
      config.rateLimits.append(
        .init(
          id: input.text(), port: Port(1 + input.word() % 65_535), transport: input.transport(),
          rate: .init(1 + input.choice(200), per: input.flag() ? .second : .day),
          burst: 1 + input.choice(200), isPerSource: input.flag()))
    default:
      config.rules.append(
        .init(
          id: input.text(), direction: FirewallConfig.Direction.allCases[input.choice(3)],
          action: FirewallConfig.Action.allCases[input.choice(3)], source: input.network(),
          destinationPort: input.flag() ? Port(1 + input.word() % 65_535) : nil,
          transport: input.transport(), comment: input.flag() ? input.text() : nil))
    }
  }
  checkText(of: config)
}

extension FuzzInput {
  fileprivate mutating func transport() -> TransportProtocol? {
    [nil, .tcp, .udp][choice(3)]
  }

  fileprivate mutating func network() -> IPNetwork? {
    let text = String(decoding: take(choice(40)), as: UTF8.self)
    if let network = IPNetwork(parsing: text) { return network }
    return IPNetwork(IPAddress(v4: word()), prefixLength: choice(33))
  }
}

// MARK: The text

/// The words that may stand outside of comments.
private let words = Set(
  """
  table inet remoteingress delete counter set type ipv4_addr ipv6_addr inet_service elements
  flags interval size dynamic timeout chain filter hook priority policy accept input output
  forward iif oif lo meta l4proto tcp udp th ip ip6 saddr daddr sport dport icmpv6
  nd-router-solicit nd-router-advert nd-neighbor-solicit nd-neighbor-advert mld-listener-query
  mld-listener-report mld-listener-done mld2-listener-report ct state established direction
  reply icmp related name blocked drop reject with reset icmpx port-unreachable nfproto ipv4
  ipv6 limit rate over burst packets fin syn rst ack update comment add element flush hub4 hub6
  blocked4 blocked6 second minute hour day
  """.split { $0 == " " || $0 == "\n" }.map(String.init))

private func checkText(of config: FirewallConfig) {
  let hub: Set = [SocketAddress(IPAddress(v4: 0xC000_0201), 8443)]
  let ruleSet = RuleSet(config, hub: hub)
  for text in [ruleSet.text, ruleSet.hubText] {
    for line in text.split(separator: "\n") { check(line) }
    must(text.count { $0 == "{" } == text.count { $0 == "}" }, "braces that do not match")
  }
}

private func check(_ line: Substring) {
  let parts = line.split(separator: "\"", omittingEmptySubsequences: false)
  must(parts.count == 1 || parts.count == 3, "quotes that do not match: \(line)")
  if parts.count == 3 {
    must(parts[1].utf8.count <= 128, "a comment longer than nftables takes")
    must(parts[1].utf8.allSatisfy(isPlain), "a character that is not plain: \(line)")
    must(parts[0].hasSuffix(" comment ") && parts[2].isEmpty, "text that is no comment: \(line)")
  }
  for word in parts[0].split(whereSeparator: { " {};,=@&|()".contains($0) }) where !isOurs(word) {
    must(false, "a word that is not ours, \(word), in \(line)")
  }
}

private func isPlain(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
    UInt8(ascii: "0")...UInt8(ascii: "9"):
    true
  default: " .:/_-".utf8.contains(byte)
  }
}

private func isOurs(_ word: Substring) -> Bool {
  if words.contains(String(word)) || word == "." || word == "==" { return true }
  // Numbers, addresses, networks and ranges of them; times; rates.
  let pieces = word.split(separator: "-")
  if pieces.allSatisfy({ IPNetwork(parsing: String($0)) != nil }) { return true }
  if word.allSatisfy(\.isNumber) || (word.last == "s" && word.dropLast().allSatisfy(\.isNumber)) {
    return true
  }
  if FirewallConfig.Rate(parsing: String(word)) != nil { return true }
  // The counters and sets that have a number in their name.
  for prefix in ["rule_", "limit_"] where word.hasPrefix(prefix) {
    let rest = word.dropFirst(prefix.count).split(separator: "_")
    return rest.count <= 2 && rest[0].allSatisfy(\.isNumber)
      && (rest.count == 1 || ["tcp4", "tcp6", "udp4", "udp6"].contains(rest[1]))
  }
  return false
}
