// What a hub asks of an edge's firewall: the `firewallConfig` of a CONFIG message (SPEC 4.3), as
// values that have been checked. The checks are in FirewallConfigReader.swift.

import RIBase

/// A checked `firewallConfig`. Numbers and addresses are in range, and the ids of rules and of rate
/// limits are unique; ids and comments may hold any printable text.
public struct FirewallConfig: Hashable, Sendable {
  /// Whose packets are dropped. Entries may overlap.
  public var blockedIPs: [IPNetwork]
  public var rateLimits: [RateLimit]
  /// The first that matches a packet decides.
  public var rules: [Rule]

  public init(blockedIPs: [IPNetwork] = [], rateLimits: [RateLimit] = [], rules: [Rule] = []) {
    self.blockedIPs = blockedIPs
    self.rateLimits = rateLimits
    self.rules = rules
  }

  public var isEmpty: Bool { blockedIPs.isEmpty && rateLimits.isEmpty && rules.isEmpty }

  /// How often something may happen: `count` times per `unit`.
  public struct Rate: Hashable, Sendable, CustomStringConvertible {
    public enum Unit: String, CaseIterable, Sendable { case second, minute, hour, day }

    public static let countRange = 1...1_000_000

    public var count: Int
    public var unit: Unit

    public init(_ count: Int, per unit: Unit) {
      self.count = count
      self.unit = unit
    }

    /// Reads `N/second`, `N/minute`, `N/hour` or `N/day`.
    public init?(parsing text: String) {
      let parts = text.split(separator: "/", omittingEmptySubsequences: false)
      guard parts.count == 2, let unit = Unit(rawValue: String(parts[1])),
        1...7 ~= parts[0].utf8.count, parts[0].utf8.allSatisfy({ 0x30...0x39 ~= $0 }),
        let count = Int(parts[0]), Self.countRange ~= count
      else { return nil }
      self.init(count, per: unit)
    }

    public var description: String { "\(count)/\(unit.rawValue)" }
  }

  /// Above `rate`, after a burst, TCP connections or UDP packets to `port` are dropped.
  public struct RateLimit: Hashable, Sendable {
    public static let burstRange = 1...100_000
    public static let burstDefault = 5

    public var id: String
    public var port: Port
    /// nil: both, each counted for itself.
    public var transport: TransportProtocol?
    public var rate: Rate
    public var burst: Int
    /// Whether each source address has the rate for itself.
    public var isPerSource: Bool

    public init(
      id: String, port: Port, transport: TransportProtocol? = nil, rate: Rate,
      burst: Int = burstDefault, isPerSource: Bool = false
    ) {
      self.id = id
      self.port = port
      self.transport = transport
      self.rate = rate
      self.burst = burst
      self.isPerSource = isPerSource
    }
  }

  public enum Direction: String, CaseIterable, Sendable { case input, output, forward }

  /// `reject` answers what it drops: a reset to TCP, an ICMP error to all else.
  public enum Action: String, CaseIterable, Sendable { case accept, drop, reject }

  /// A packet matches when all conditions that are given hold.
  public struct Rule: Hashable, Sendable {
    public var id: String
    public var direction: Direction
    public var action: Action
    public var source: IPNetwork?
    /// Only TCP and UDP have one.
    public var destinationPort: Port?
    public var transport: TransportProtocol?
    public var comment: String?

    public init(
      id: String, direction: Direction, action: Action, source: IPNetwork? = nil,
      destinationPort: Port? = nil, transport: TransportProtocol? = nil, comment: String? = nil
    ) {
      self.id = id
      self.direction = direction
      self.action = action
      self.source = source
      self.destinationPort = destinationPort
      self.transport = transport
      self.comment = comment
    }
  }
}

/// What is wrong with a `firewallConfig`: which entry, and why.
public struct FirewallFault: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Step: Hashable, Sendable {
    case key(String)
    case index(Int)
  }

  /// From the `firewallConfig` down to the value.
  public var path: [Step]
  public var reason: String

  public init(path: [Step], reason: String) {
    self.path = path
    self.reason = reason
  }

  /// "firewallConfig.rateLimits[0].rate: '5/week' is wrong; …".
  public var description: String { "\(place): \(reason)" }

  /// "firewallConfig.rateLimits[0].rate".
  public var place: String {
    path.reduce("firewallConfig") { place, step in
      switch step {
      case .key(let key): "\(place).\(key)"
      case .index(let index): "\(place)[\(index)]"
      }
    }
  }
}

/// The keys of a `firewallConfig`.
public enum FirewallKey: String, CaseIterable, Sendable {
  case blockedIps, rateLimits, rules
  case id, port, `protocol`, rate, burst, perSourceIP
  case direction, action, sourceIP, destPort, comment

  public enum Kind: Sendable { case list, text, number, flag }

  /// The JSON type of its value.
  public var kind: Kind {
    switch self {
    case .blockedIps, .rateLimits, .rules: .list
    case .port, .burst, .destPort: .number
    case .perSourceIP: .flag
    case .id, .protocol, .rate, .direction, .action, .sourceIP, .comment: .text
    }
  }
}
