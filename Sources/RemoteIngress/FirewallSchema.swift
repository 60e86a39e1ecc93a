// The keys of a firewallConfig (SPEC 4.3). What is read stays JSON: the hub hands it on as it is.

import RIBase
import RIWire

extension ValueKind where Value == JSONValue {
  static var firewall: ValueKind {
    .members(
      [
        .json("blockedIps", .array(of: .network)),
        .json("rateLimits", .array(of: rateLimit)),
        .json("rules", .array(of: rule)),
      ], required: [])
  }

  private static var rateLimit: ValueKind {
    .members(
      [
        .json("id", .label(max: 128)),
        .json("port", ValueKind<Port>.port.map { .integer(Int($0)) }),
        .json("protocol", .oneOf("tcp", "udp")),
        .json("rate", rate),
        .json("burst", ValueKind<Int>.count(1...100_000).map { .integer($0) }),
        .json("perSourceIP", ValueKind<Bool>.bool.map { .bool($0) }),
      ], required: ["id", "port", "rate"])
  }

  private static var rule: ValueKind {
    .members(
      [
        .json("id", .label(max: 128)),
        .json("direction", .oneOf("input", "output", "forward")),
        .json("action", .oneOf("accept", "drop", "reject")),
        .json("sourceIP", .network),
        .json("destPort", ValueKind<Port>.port.map { .integer(Int($0)) }),
        .json("protocol", .oneOf("tcp", "udp")),
        .json("comment", .label(max: 128)),
      ], required: ["id", "direction", "action"])
  }

  /// `N/second`, with N from 1 to 1,000,000.
  private static var rate: ValueKind {
    .scalar("RATE", "N/second, N/minute, N/hour or N/day with N from 1 to 1000000") { text in
      let parts = text.split(separator: "/", omittingEmptySubsequences: false)
      guard parts.count == 2, let count = decimal(String(parts[0])), 1...1_000_000 ~= count,
        ["second", "minute", "hour", "day"].contains(parts[1])
      else { return nil }
      return .string(text)
    }
  }

  /// An address, or one with the length of its prefix.
  private static var network: ValueKind {
    .scalar("CIDR", "an IP address or a CIDR such as 192.0.2.0/24") { text in
      let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
      guard let address = IPAddress(parsing: String(parts[0])) else { return nil }
      if parts.count == 2 {
        let bits = address.family == .v4 ? 32 : 128
        guard let length = decimal(String(parts[1])), length <= bits else { return nil }
      }
      return .string(text)
    }
  }

  private static func label(max: Int) -> ValueKind {
    .scalar("TEXT", "1 to \(max) printable ASCII characters") { text in
      1...max ~= text.utf8.count && text.utf8.allSatisfy { 0x20...0x7E ~= $0 }
        ? .string(text) : nil
    }
  }

  private static func oneOf(_ names: String...) -> ValueKind {
    .scalar(names.joined(separator: "|"), "one of " + names.joined(separator: ", ")) {
      names.contains($0) ? .string($0) : nil
    }
  }

  private static func array(of kind: ValueKind) -> ValueKind {
    ValueKind<[JSONValue]>.list(of: kind, unique: { $0 }) { _ in "the same entry" }
      .map { .array($0) }
  }

  private static func members(
    _ fields: [Field<[String: JSONValue]>], required: [String]
  ) -> ValueKind {
    .object(Schema(fields), [:]) { members, place, origin throws(ConfigurationError) in
      for key in required where members[key] == nil {
        throw place.member(key).error("is missing", at: origin)
      }
      return .object(members)
    }
  }
}

extension Field where Root == [String: JSONValue] {
  fileprivate static func json(_ key: String, _ kind: ValueKind<JSONValue>) -> Field {
    Field(key, kind, help: "") { $0[key] = $1 }
  }
}
