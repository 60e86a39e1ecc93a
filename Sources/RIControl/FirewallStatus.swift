// How an edge's firewall stands (SPEC 9).

/// A look at the firewall of an edge.
public struct FirewallStatus: Codable, Equatable, Sendable {
  public enum State: String, CaseIterable, Codable, Sendable {
    /// The hub asks for none.
    case off
    /// What the hub asks for is in force.
    case applied
    /// What the hub asks for breaks a rule of SPEC 4.3; what was in force before still is.
    case refused
    /// nftables did not take it; what was in force before still is.
    case failed
    /// This machine or this process cannot have one.
    case unavailable
  }

  /// What one entry of the firewall has decided about, since it was applied last.
  public struct Counter: Codable, Equatable, Sendable {
    public enum Kind: String, CaseIterable, Codable, Sendable { case rule, blockedIps, rateLimit }

    public var kind: Kind
    /// The entry's id; nil for the blocked addresses, which count together.
    public var id: String?
    public var packets: UInt64
    public var bytes: UInt64

    public init(kind: Kind, id: String?, packets: UInt64, bytes: UInt64) {
      self.kind = kind
      self.id = id
      self.packets = packets
      self.bytes = bytes
    }
  }

  public var state = State.off
  /// Why it is not as the hub wants it.
  public var reason: String?
  /// What is in force.
  public var blockedIps = 0
  public var rateLimits = 0
  public var rules = 0
  /// In the order of a packet's way.
  public var counters: [Counter] = []
  /// Since the start.
  public var applies: UInt64 = 0
  public var failures: UInt64 = 0
  /// Failures by state: what the hub asked for broke a rule, or could not be had here.
  public var refusals: UInt64 = 0
  public var unavailables: UInt64 = 0

  public init() {}
}
