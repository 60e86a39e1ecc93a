// Generated rule sets, applied in a network namespace and read back by nft.

import RIBase
import RIWire
import TestRandom
import Testing

@testable import RIFirewall

@Suite(.enabled(if: Namespace.isAvailable, "no network namespace"))
struct RuleSetPropertyTests {
  private static let configsPerSeed = 40

  @Test(arguments: propertySeeds)
  func whatIsListedIsWhatWasAsked(seed: UInt64) throws {
    try Namespace.run {
      var generator = ConfigGenerator(seed)
      for round in 0..<Self.configsPerSeed {
        let asked = generator.config()
        // As it comes over the wire, and through the edge's check.
        let config = try FirewallConfig(
          checking: try JSONValue(parsing: asked.json.encoded()), unknownKeys: .ignored)
        #expect(config == asked, "seed \(seed), round \(round)")
        try check(RuleSet(config, hub: generator.hub()), "seed \(seed), round \(round)")
      }
    }
  }

  /// Even text that no check has seen does no harm.
  @Test(arguments: propertySeeds)
  func uncheckedLabelsAreHarmlessToo(seed: UInt64) throws {
    try Namespace.run {
      var generator = ConfigGenerator(seed)
      for round in 0..<Self.configsPerSeed {
        let ruleSet = RuleSet(generator.config(checked: false), hub: generator.hub())
        try check(ruleSet, "seed \(seed), round \(round)")
      }
    }
  }
}

/// Applies the rule set and compares what nft lists with what was asked.
private func check(_ ruleSet: RuleSet, _ where: String) throws {
  try FirewallSession().apply(ruleSet)
  let config = ruleSet.config
  let tables = try Namespace.nft("list", "tables").split(separator: "\n")
  guard !config.isEmpty else {
    #expect(tables.isEmpty, "\(`where`)")
    return
  }
  #expect(tables == ["table inet remoteingress"], "\(`where`)")
  let table = try ListedTable(
    json: try Namespace.nft("-j", "list", "table", "inet", "remoteingress"))
  let expected = Expectation(config)
  #expect(table.counters == expected.counters, "\(`where`)")
  #expect(Set(table.chains.keys) == Set(expected.chains.keys), "\(`where`)")
  for (chain, rules) in expected.chains {
    let listed = table.chains[chain] ?? []
    #expect(listed.count == rules.count, "\(`where`)")
    for (listed, rule) in zip(listed, rules) { #expect(listed == rule, "\(`where`)") }
  }
  for (name, shape) in expected.sourceSets {
    let set = table.sets[name]
    #expect(set?["type"]?.asString == shape.type, "\(`where`)")
    #expect(set?["timeout"]?.asInteger == shape.timeout, "\(`where`)")
    let size = min(
      Limits.firewallSourcesPerSetMax, Limits.firewallSourcesMax / expected.sourceSets.count)
    #expect(set?["size"]?.asInteger == size, "\(`where`)")
  }
  let fixedSets = ["hub4", "hub6", "blocked4", "blocked6"].filter { table.sets[$0] != nil }
  #expect(table.sets.count == expected.sourceSets.count + fixedSets.count, "\(`where`)")
  #expect(
    Set(table.kinds.keys).isSubset(of: ["metainfo", "table", "set", "counter", "chain", "rule"]))
  for family in [IPAddress.Family.v4, .v6] {
    try checkBlocked(config, table, family, `where`)
    let hub = table.sets["hub\(family == .v4 ? 4 : 6)"]?["elem"]?.asArray ?? []
    let asked = ruleSet.hub.filter { $0.ip.family == family }
    #expect(hub.count == asked.count, "\(`where`)")
  }
}

/// An address is in the listed set when it is in one of the networks: asked at all their edges.
private func checkBlocked(
  _ config: FirewallConfig, _ table: ListedTable, _ family: IPAddress.Family, _ where: String
) throws {
  let asked = config.blockedIPs.filter { $0.address.family == family }.map(AddressRange.init)
  let listed = try table.ranges("blocked\(family == .v4 ? 4 : 6)")
  let max = family == .v4 ? UInt128(UInt32.max) : .max
  for range in asked {
    for point in [range.first, range.last, range.first &- 1 & max, range.last &+ 1 & max] {
      let isAsked = asked.contains { $0.first <= point && point <= $0.last }
      let isListed = listed.contains { $0.first <= point && point <= $0.last }
      #expect(isAsked == isListed, "\(`where`): \(IPAddress(family, bits: point))")
    }
  }
}
