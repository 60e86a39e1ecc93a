// The kinds of values that configuration keys take.

import RIBase
import RIControl
import RIWire

extension SourceNode {
  /// The text of a scalar.
  func text(_ place: Place, _ what: String) throws(ConfigurationError) -> String {
    switch content {
    case .scalar(let text): return text
    case .null: throw place.error("has no value; it must be \(what)", at: origin)
    case .list: throw place.error("is a list; it must be \(what)", at: origin)
    case .mapping: throw place.error("is a mapping; it must be \(what)", at: origin)
    }
  }
}

extension ValueKind {
  /// A kind that one text gives. `what` completes the sentence "it must be …".
  static func scalar(
    _ name: String, _ what: String, isSecret: Bool = false, _ convert: @escaping (String) -> Value?
  ) -> ValueKind {
    ValueKind(name: name, isSecret: isSecret) { node, place throws(ConfigurationError) in
      let text = try node.text(place, what)
      guard let value = convert(text) else {
        let shown = isSecret ? "it" : "\(quoted(text)) is wrong; it"
        throw place.error("\(shown) must be \(what)", at: node.origin)
      }
      return value
    }
  }

  func map<Other>(_ convert: @escaping (Value) -> Other) -> ValueKind<Other> {
    let parse = parse
    return ValueKind<Other>(name: name, isSwitch: isSwitch, isSecret: isSecret) {
      node, place throws(ConfigurationError) in
      convert(try parse(node, place))
    }
  }
}

extension ValueKind where Value == Int {
  static func count(_ range: ClosedRange<Int>, _ name: String = "N") -> ValueKind {
    .scalar(name, "a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
      guard let number = decimal(text), range.contains(number) else { return nil }
      return number
    }
  }
}

/// A number in plain decimal digits.
func decimal(_ text: String) -> Int? {
  text.utf8.allSatisfy { 0x30...0x39 ~= $0 } ? Int(text) : nil
}

extension ValueKind where Value == Port {
  static var port: ValueKind {
    ValueKind<Int>.count(1...65_535, "PORT").map { Port($0) }
  }
}

extension ValueKind where Value == Bool {
  static var bool: ValueKind {
    var kind = ValueKind.scalar("BOOL", "true or false") { truthValue($0) }
    kind.isSwitch = true
    return kind
  }
}

/// A truth value in the words that YAML 1.1 has for it, and as a digit.
func truthValue(_ text: String) -> Bool? {
  switch text.lowercased() {
  case "true", "yes", "on", "1": true
  case "false", "no", "off", "0": false
  default: nil
  }
}

extension ValueKind where Value == IPAddress {
  static var address: ValueKind {
    .scalar("ADDRESS", "an IPv4 or IPv6 address") { IPAddress(parsing: $0) }
  }
}

extension ValueKind where Value == String {
  /// A host name or an address.
  static var host: ValueKind {
    .scalar("HOST", "a host name or an IP address") { isHost($0) ? $0 : nil }
  }

  static var path: ValueKind {
    .scalar("PATH", "a path") { $0.isEmpty || $0.utf8.contains(0) ? nil : $0 }
  }

  /// `host:port`, with an IPv6 address in brackets.
  static var endpoint: ValueKind {
    .scalar("HOST:PORT", "a host and a port, as in host:3478 or [::1]:3478") {
      Endpoint($0) == nil ? nil : $0
    }
  }

  static var edgeID: ValueKind {
    let max = Limits.edgeIDBytesMax
    return .scalar("ID", "1 to \(max) printable ASCII characters without spaces") { text in
      1...max ~= text.utf8.count && text.utf8.allSatisfy { 0x21...0x7E ~= $0 } ? text : nil
    }
  }
}

extension ValueKind where Value == Secret {
  static var secret: ValueKind {
    .scalar("SECRET", secretRule, isSecret: true) { try? Secret($0) }
  }
}

/// Completes "it must be …".
let secretRule = "1 to \(Limits.secretBytesMax) printable ASCII characters without spaces"

package func isHost(_ text: String) -> Bool {
  if IPAddress(parsing: text) != nil { return true }
  // RFC 1123 section 2.1, and the underscores that are seen in the wild.
  return 1...253 ~= text.utf8.count
    && text.utf8.allSatisfy {
      0x30...0x39 ~= $0 || 0x41...0x5A ~= $0 || 0x61...0x7A ~= $0
        || [0x2D, 0x2E, 0x5F].contains($0)
    }
    && text.utf8.contains { $0 != 0x2E }
}

/// A host and a port written as `host:port` or `[v6]:port`.
package struct Endpoint: Equatable {
  package var host: String
  package var port: Port

  package init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":"),
      let number = decimal(String(text[text.index(after: colon)...])),
      let port = Port(exactly: number),
      port > 0
    else { return nil }
    var host = text[..<colon]
    let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
    if isBracketed { host = host.dropFirst().dropLast() }
    guard isHost(String(host)), isBracketed == host.contains(":") else { return nil }
    self.host = String(host)
    self.port = port
  }
}

extension ValueKind where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
  /// One of the names of an enum.
  static var choice: ValueKind {
    let names = Value.allCases.map(\.rawValue)
    return .scalar(names.joined(separator: "|"), "one of " + names.joined(separator: ", ")) {
      Value(rawValue: $0)
    }
  }
}

extension ValueKind where Value == TextSource {
  static var text: ValueKind {
    .scalar("TEXT", "text", isSecret: true) { $0.isEmpty ? nil : .text($0) }
  }

  static var file: ValueKind { ValueKind<String>.path.map { .file($0) } }
}

extension ValueKind {
  /// A list whose elements are all different by `identity`.
  static func list<Element, Identity: Hashable>(
    of kind: ValueKind<Element>, unique identity: @escaping (Element) -> Identity,
    _ describe: @escaping (Element) -> String
  ) -> ValueKind where Value == [Element] {
    ValueKind(name: "LIST") { node, place throws(ConfigurationError) in
      guard case .list(let nodes) = node.content else {
        throw place.error("must be a list", at: node.origin)
      }
      var values: [Element] = []
      var seen: Set<Identity> = []
      for (index, node) in nodes.enumerated() {
        let value = try kind.parse(node, place.element(index))
        guard seen.insert(identity(value)).inserted else {
          throw place.element(index).error("\(describe(value)) is listed twice", at: node.origin)
        }
        values.append(value)
      }
      return values
    }
  }

  /// A mapping that is read into a draft and then made whole.
  static func object<Draft>(
    _ schema: Schema<Draft>, _ empty: Draft,
    _ finish: @escaping (Draft, Place, ConfigurationOrigin) throws(ConfigurationError) -> Value
  ) -> ValueKind {
    ValueKind(name: "MAPPING") { node, place throws(ConfigurationError) in
      var draft = empty
      try schema.read(node, into: &draft, at: place)
      return try finish(draft, place, node.origin)
    }
  }
}
