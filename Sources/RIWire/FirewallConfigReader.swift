// Reads a `firewallConfig` from JSON and checks every value of it. The hub does so before it takes
// a configuration, the edge before nftables sees anything.

import RIBase

extension FirewallConfig {
  /// What to do about keys that SPEC 4.3 does not know.
  public enum UnknownKeys: Sendable {
    /// For configurations that people write: it may be a typing error.
    case refused
    /// For what comes over the wire (SPEC 2.1).
    case ignored
  }

  /// Reads a `firewallConfig`. What is absent or null is empty or has its default.
  public init(
    checking value: JSONValue, unknownKeys: UnknownKeys
  ) throws(FirewallFault) {
    let entry = try FirewallEntry(
      value, path: [], keys: [.blockedIps, .rateLimits, .rules], unknownKeys)
    var config = FirewallConfig()
    for (i, value) in try entry.list(.blockedIps, max: Limits.firewallBlockedMax).enumerated() {
      config.blockedIPs.append(
        try firewallNetwork(value, path: [.key(FirewallKey.blockedIps.rawValue), .index(i)]))
    }
    var ids: Set<String> = []
    for (i, value) in try entry.list(.rateLimits, max: Limits.firewallRateLimitsMax).enumerated() {
      config.rateLimits.append(
        try RateLimit(
          value, path: [.key(FirewallKey.rateLimits.rawValue), .index(i)], unknownKeys, &ids))
    }
    ids = []
    for (i, value) in try entry.list(.rules, max: Limits.firewallRulesMax).enumerated() {
      config.rules.append(
        try Rule(value, path: [.key(FirewallKey.rules.rawValue), .index(i)], unknownKeys, &ids))
    }
    self = config
  }
}

extension FirewallConfig.RateLimit {
  fileprivate init(
    _ value: JSONValue, path: [FirewallFault.Step], _ unknownKeys: FirewallConfig.UnknownKeys,
    _ ids: inout Set<String>
  ) throws(FirewallFault) {
    let entry = try FirewallEntry(
      value, path: path, keys: [.id, .port, .protocol, .rate, .burst, .perSourceIP], unknownKeys)
    let rateRule = "N/second, N/minute, N/hour or N/day with N from 1 to 1000000"
    self.init(
      id: try entry.uniqueID(&ids),
      port: Port(try entry.required(.port, try entry.number(.port, in: 1...65_535))),
      transport: try entry.choice(.protocol),
      rate: try entry.required(
        .rate, try entry.text(.rate, rateRule) { FirewallConfig.Rate(parsing: $0) }),
      burst: try entry.number(.burst, in: Self.burstRange) ?? Self.burstDefault,
      isPerSource: try entry.flag(.perSourceIP) ?? false)
  }
}

extension FirewallConfig.Rule {
  fileprivate init(
    _ value: JSONValue, path: [FirewallFault.Step], _ unknownKeys: FirewallConfig.UnknownKeys,
    _ ids: inout Set<String>
  ) throws(FirewallFault) {
    let entry = try FirewallEntry(
      value, path: path,
      keys: [.id, .direction, .action, .sourceIP, .destPort, .protocol, .comment], unknownKeys)
    self.init(
      id: try entry.uniqueID(&ids),
      direction: try entry.required(.direction, try entry.choice(.direction)),
      action: try entry.required(.action, try entry.choice(.action)),
      source: try entry.network(.sourceIP),
      destinationPort: try entry.number(.destPort, in: 1...65_535).map { Port($0) },
      transport: try entry.choice(.protocol),
      comment: try entry.label(.comment))
  }
}

/// One object of a `firewallConfig`, whose members are checked as they are asked for.
private struct FirewallEntry {
  let members: [String: JSONValue]
  let path: [FirewallFault.Step]

  init(
    _ value: JSONValue, path: [FirewallFault.Step], keys: [FirewallKey],
    _ unknownKeys: FirewallConfig.UnknownKeys
  ) throws(FirewallFault) {
    guard let members = value.asObject else {
      throw FirewallFault(path: path, reason: "must be a mapping of keys to values")
    }
    self.members = members
    self.path = path
    guard case .refused = unknownKeys else { return }
    let known = keys.map(\.rawValue)
    if let stranger = members.keys.filter({ !known.contains($0) }).min() {
      let nearest = nearestName(to: stranger, in: known) ?? ""
      throw FirewallFault(
        path: path + [.key(printable(stranger))],
        reason: "unknown key; the nearest known one is \(nearest)")
    }
  }

  /// The member, or nil when it is absent or null.
  private subscript(key: FirewallKey) -> JSONValue? {
    let value = members[key.rawValue]
    return value == .null ? nil : value
  }

  private func path(_ key: FirewallKey) -> [FirewallFault.Step] { path + [.key(key.rawValue)] }

  func required<Value>(_ key: FirewallKey, _ value: Value?) throws(FirewallFault) -> Value {
    guard let value else { throw FirewallFault(path: path(key), reason: "is missing") }
    return value
  }

  func list(_ key: FirewallKey, max: Int) throws(FirewallFault) -> [JSONValue] {
    guard let value = self[key] else { return [] }
    guard let values = value.asArray else {
      throw FirewallFault(path: path(key), reason: "must be a list")
    }
    guard values.count <= max else {
      throw FirewallFault(
        path: path(key), reason: "has \(values.count) entries, at most \(max) are allowed")
    }
    return values
  }

  func text<Value>(
    _ key: FirewallKey, _ rule: String, _ convert: (String) -> Value?
  ) throws(FirewallFault) -> Value? {
    guard let value = self[key] else { return nil }
    guard let converted = value.asString.flatMap(convert) else {
      throw FirewallFault(path: path(key), reason: wrong(value, rule))
    }
    return converted
  }

  func number(_ key: FirewallKey, in range: ClosedRange<Int>) throws(FirewallFault) -> Int? {
    guard let value = self[key] else { return nil }
    guard let number = value.asInteger, range.contains(number) else {
      let rule = "a whole number from \(range.lowerBound) to \(range.upperBound)"
      throw FirewallFault(path: path(key), reason: wrong(value, rule))
    }
    return number
  }

  func flag(_ key: FirewallKey) throws(FirewallFault) -> Bool? {
    switch self[key] {
    case nil: return nil
    case .bool(let flag): return flag
    case let value?: throw FirewallFault(path: path(key), reason: wrong(value, "true or false"))
    }
  }

  func choice<Value: RawRepresentable & CaseIterable>(
    _ key: FirewallKey
  ) throws(FirewallFault) -> Value? where Value.RawValue == String {
    let names = Value.allCases.map(\.rawValue).joined(separator: ", ")
    return try text(key, "one of \(names)") { Value(rawValue: $0) }
  }

  func network(_ key: FirewallKey) throws(FirewallFault) -> IPNetwork? {
    guard let value = self[key] else { return nil }
    return try firewallNetwork(value, path: path(key))
  }

  func label(_ key: FirewallKey) throws(FirewallFault) -> String? {
    let max = Limits.firewallLabelCharactersMax
    return try text(key, "1 to \(max) printable characters") { text in
      let scalars = text.unicodeScalars
      return 1...max ~= scalars.count && scalars.allSatisfy(\.isPrintable) ? text : nil
    }
  }

  func uniqueID(_ ids: inout Set<String>) throws(FirewallFault) -> String {
    let id = try required(.id, try label(.id))
    guard ids.insert(id).inserted else {
      throw FirewallFault(path: path(.id), reason: "\(quoted(id)) is used twice")
    }
    return id
  }
}

private func firewallNetwork(
  _ value: JSONValue, path: [FirewallFault.Step]
) throws(FirewallFault) -> IPNetwork {
  guard let network = value.asString.flatMap({ IPNetwork(parsing: $0) }) else {
    throw FirewallFault(
      path: path, reason: wrong(value, "an IP address or a CIDR such as 192.0.2.0/24"))
  }
  return network
}

/// What is said of a value that breaks `rule`.
private func wrong(_ value: JSONValue, _ rule: String) -> String {
  switch value {
  case .null: "has no value; it must be \(rule)"
  case .bool(let flag): "'\(flag)' is wrong; it must be \(rule)"
  case .integer(let number): "'\(number)' is wrong; it must be \(rule)"
  case .number(let number): "'\(number)' is wrong; it must be \(rule)"
  case .string(let text): "\(quoted(text)) is wrong; it must be \(rule)"
  case .array: "is a list; it must be \(rule)"
  case .object: "is a mapping; it must be \(rule)"
  }
}
