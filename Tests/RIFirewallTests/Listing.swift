// A rule set as `nft -j list table` shows it (libnftables-json(5)), read into plain values.

import Foundation
import RIBase
import RIWire

/// One listed rule: its conditions as text, in their order, and what it does.
struct ListedRule: Equatable, CustomStringConvertible {
  var conditions: [String] = []
  var counter: String?
  var verdict = ""
  var comment: String?

  var description: String {
    "\(conditions) \(counter ?? "-") \(verdict) \(comment ?? "-")"
  }
}

struct ListedTable {
  /// The kinds of objects with their number.
  var kinds: [String: Int] = [:]
  var sets: [String: [String: JSONValue]] = [:]
  var counters: Set<String> = []
  var chains: [String: [ListedRule]] = [:]

  struct Unreadable: Error { var what: String }

  init(json: String) throws {
    let items = try JSONValue(parsing: json.utf8).asObject?["nftables"]?.asArray ?? []
    for item in items {
      guard let (kind, value) = item.asObject?.first, let object = value.asObject else {
        throw Unreadable(what: "\(item)")
      }
      kinds[kind, default: 0] += 1
      let name = object["name"]?.asString ?? ""
      switch kind {
      case "set": sets[name] = object
      case "counter": counters.insert(name)
      case "chain": chains[name] = []
      case "rule":
        var rule = ListedRule(comment: object["comment"]?.asString)
        for expression in object["expr"]?.asArray ?? [] { try rule.add(expression) }
        chains[object["chain"]?.asString ?? "", default: []].append(rule)
      default: break
      }
    }
  }

  /// The elements of a set of addresses.
  func ranges(_ set: String) throws -> [(first: UInt128, last: UInt128)] {
    try (sets[set]?["elem"]?.asArray ?? []).map { element in
      if let ends = element.asObject?["range"]?.asArray, ends.count == 2 {
        return (try Self.bits(ends[0]), try Self.bits(ends[1]))
      }
      guard let network = IPNetwork(parsing: text(of: element)) else {
        throw Unreadable(what: "\(element)")
      }
      let bits = network.address.family.bitCount - network.prefixLength
      let hosts = bits == 128 ? UInt128.max : (1 << UInt128(bits)) - 1
      return (network.address.bits, network.address.bits | hosts)
    }
  }

  private static func bits(_ value: JSONValue) throws -> UInt128 {
    guard let address = value.asString.flatMap({ IPAddress(parsing: $0) }) else {
      throw Unreadable(what: "\(value)")
    }
    return address.bits
  }
}

extension ListedRule {
  fileprivate mutating func add(_ expression: JSONValue) throws {
    guard let (kind, value) = expression.asObject?.first else {
      throw ListedTable.Unreadable(what: "\(expression)")
    }
    let object = value.asObject ?? [:]
    switch kind {
    case "match":
      // nft spells some IPv6 addresses in another way.
      let right = text(of: object["right"])
      let value = IPNetwork(parsing: right)?.description ?? right
      conditions.append("\(text(of: object["left"])) \(text(of: object["op"])) \(value)")
    case "set":
      let statement = object["stmt"]?.asArray?.first.map { text(of: $0) } ?? ""
      let words = ["op", "set", "elem"].map { text(of: object[$0]) } + [statement]
      conditions.append(words.joined(separator: " "))
    case "limit": conditions.append(text(of: expression))
    case "counter": counter = value.asString
    case "accept", "drop": verdict = kind
    case "reject":
      verdict = "reject " + text(of: object["type"])
      if let code = object["expr"] { verdict += " " + text(of: code) }
    default: throw ListedTable.Unreadable(what: "\(expression)")
    }
  }
}

/// A part of an expression, written shortly.
private func text(of value: JSONValue?) -> String {
  switch value {
  case nil, .null: return ""
  case .string(let text): return text
  case .integer(let number): return "\(number)"
  case .number(let number): return "\(number)"
  case .bool(let flag): return "\(flag)"
  case .array(let values): return values.map { text(of: $0) }.joined(separator: " ")
  case .object(let members):
    if let payload = members["payload"]?.asObject {
      return "\(text(of: payload["protocol"])) \(text(of: payload["field"]))"
    }
    if let key = members["meta"]?.asObject?["key"] { return "meta \(text(of: key))" }
    if let key = members["ct"]?.asObject?["key"] { return "ct \(text(of: key))" }
    if let prefix = members["prefix"]?.asObject {
      return "\(text(of: prefix["addr"]))/\(text(of: prefix["len"]))"
    }
    if let members = members["set"]?.asArray {
      return "{\(members.map { text(of: $0) }.sorted().joined(separator: " "))}"
    }
    if let parts = members["concat"]?.asArray {
      return parts.map { text(of: $0) }.joined(separator: " . ")
    }
    if let sides = members["&"]?.asArray {
      return sides.map { text(of: $0) }.joined(separator: " & ")
    }
    if let element = members["elem"]?.asObject { return text(of: element["val"]) }
    if let limit = members["limit"]?.asObject {
      // What is left out has its default.
      let burst = limit["burst"].map { text(of: $0) } ?? "5"
      let over = limit["inv"] == .bool(true) ? "over " : ""
      return "limit \(over)\(text(of: limit["rate"]))/\(text(of: limit["per"])) burst \(burst)"
    }
    return "\(members)"
  }
}
