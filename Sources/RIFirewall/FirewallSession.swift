// What is done to the kernel's nftables, and what is read from there.

import CNFTables
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

  public init(entry: Entry, packets: UInt64, bytes: UInt64) {
    self.entry = entry
    self.packets = packets
    self.bytes = bytes
  }
}

/// Where firewalls are put into force. Every call takes from a millisecond to a second; one thread
/// at a time.
public protocol FirewallKernel: Sendable {
  /// Throws why this process cannot have a firewall, if it cannot.
  func probe() throws(NFTablesError)
  /// Puts `ruleSet` in the place of what the table holds, at once and whole. When it throws,
  /// nothing has changed.
  func apply(_ ruleSet: RuleSet) throws(NFTablesError)
  /// Accepts other addresses of the hub in the table that is there.
  func admit(_ ruleSet: RuleSet) throws(NFTablesError)
  /// Removes the table, also when there is none.
  func remove() throws(NFTablesError)
  /// Whether there is a table, of this process or of one before it.
  func isPresent() throws(NFTablesError) -> Bool
  /// The packets that each entry has counted, in the order of a packet's way; nil when the table is
  /// not there.
  func counts(of config: FirewallConfig) throws(NFTablesError) -> [FirewallCount]?
}

/// The firewall of this machine, or of the network namespace of the calling thread.
public struct FirewallSession: FirewallKernel {
  public init() {}

  public func probe() throws(NFTablesError) {
    try NFTables.probe()
    // What a kernel without nftables says no to.
    _ = try isPresent()
  }

  public func apply(_ ruleSet: RuleSet) throws(NFTablesError) {
    let text = ruleSet.text
    // What libnftables took for it, a kilobyte an address, is not needed for long.
    defer { if text.utf8.count > 64 * 1024 { ri_release_memory() } }
    try NFTables.run(text, .dryRun)
    try NFTables.run(text)
  }

  public func admit(_ ruleSet: RuleSet) throws(NFTablesError) {
    try NFTables.run(ruleSet.hubText)
  }

  public func remove() throws(NFTablesError) {
    try NFTables.run(RuleSet.removalText)
  }

  public func isPresent() throws(NFTablesError) -> Bool {
    // Every table that we make has a counter.
    try !CounterDump.counters(ofTable: RuleSet.tableName).isEmpty
  }

  public func counts(of config: FirewallConfig) throws(NFTablesError) -> [FirewallCount]? {
    let counters = try CounterDump.counters(ofTable: RuleSet.tableName)
    return counters.isEmpty ? nil : Self.counts(of: config, counters)
  }

  static func counts(of config: FirewallConfig, _ counters: [NamedCounter]) -> [FirewallCount] {
    let found = Dictionary(counters.map { ($0.name, $0) }) { $1 }
    func count(_ entry: FirewallCount.Entry, _ name: String) -> FirewallCount {
      let counter = found[name]
      return FirewallCount(
        entry: entry, packets: counter?.packets ?? 0, bytes: counter?.bytes ?? 0)
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
}
