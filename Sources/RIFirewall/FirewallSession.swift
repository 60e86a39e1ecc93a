// What is done to the kernel's nftables, and what is read from there.

import RIBase
import RIWire

/// Packets that an entry of a firewall has decided about since it was applied.
public struct FirewallCount: Hashable, Sendable {
  public enum Entry: Hashable, Sendable {
    case rule(id: String)
    /// All blocked addresses together.
    case blocked
    case rateLimit(id: String)
  }

  public var entry: Entry
  public var packets: UInt64
  public var bytes: UInt64
}

/// The firewall of this machine, or of the network namespace of the calling thread. Every call asks
/// the kernel, and takes from a millisecond to a second; one thread at a time.
public enum FirewallSession {
  /// Puts `ruleSet` in the place of what the table holds, at once and whole. When it throws,
  /// nothing has changed.
  public static func apply(_ ruleSet: RuleSet) throws(NFTablesError) {
    let text = ruleSet.text
    try NFTContext(.dryRun).run(text)
    try NFTContext(.run).run(text)
  }

  /// Accepts other addresses of the hub in the table that is there.
  public static func admit(_ ruleSet: RuleSet) throws(NFTablesError) {
    try NFTContext(.run).run(ruleSet.hubText)
  }

  /// Removes the table.
  public static func remove() throws(NFTablesError) {
    try NFTContext(.run).run(RuleSet.removalText)
  }

  /// Whether there is a table, of this process or of one before it.
  public static func isPresent() throws(NFTablesError) -> Bool {
    let listing = try NFTContext(.listing).run("list tables inet")
    return objects(in: listing, "table").contains { $0["name"]?.asString == tableName }
  }

  /// The packets that each entry has counted, in the order of a packet's way; nil when the table is
  /// not there.
  public static func counts(
    of config: FirewallConfig
  ) throws(NFTablesError) -> [FirewallCount]? {
    guard try isPresent() else { return nil }
    let listing = try NFTContext(.listing).run("list counters table \(RuleSet.table)")
    return counts(of: config, listing: listing)
  }

  /// The same from a listing in the JSON of libnftables-json(5).
  static func counts(of config: FirewallConfig, listing: String) -> [FirewallCount] {
    var found: [String: [String: JSONValue]] = [:]
    for counter in objects(in: listing, "counter") {
      if let name = counter["name"]?.asString { found[name] = counter }
    }
    func count(_ entry: FirewallCount.Entry, _ name: String) -> FirewallCount {
      func number(_ key: String) -> UInt64 {
        UInt64(clamping: found[name]?[key]?.asInteger ?? 0)
      }
      return FirewallCount(entry: entry, packets: number("packets"), bytes: number("bytes"))
    }
    var counts = config.rules.enumerated().map {
      count(.rule(id: $0.element.id), CounterName.rule($0.offset))
    }
    if !config.blockedIPs.isEmpty { counts.append(count(.blocked, CounterName.blocked)) }
    counts += config.rateLimits.enumerated().map {
      count(.rateLimit(id: $0.element.id), CounterName.rateLimit($0.offset))
    }
    return counts
  }

  private static let tableName = "remoteingress"

  /// The objects of one kind in a listing.
  private static func objects(in listing: String, _ kind: String) -> [[String: JSONValue]] {
    let document = try? JSONValue(parsing: listing.utf8)
    let items = document?.asObject?["nftables"]?.asArray ?? []
    return items.compactMap { $0.asObject?[kind]?.asObject }
  }
}
