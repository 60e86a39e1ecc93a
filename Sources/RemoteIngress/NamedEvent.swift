// What the events of hub and edge have in common: a name, and data as JSON.

import FoundationEssentials

/// An event with a name and data.
public protocol NamedEvent: Codable, Equatable, Sendable {
  associatedtype Name: CodingKey, CaseIterable, RawRepresentable, Sendable
  where Name.RawValue == String

  var key: Name { get }
  var payload: any Encodable { get }
  static func crashRecovered(_ data: CrashRecovered) -> Self
  static func crashRecoveryFailed(_ data: CrashRecoveryFailed) -> Self
  init(_ name: Name, from members: KeyedDecodingContainer<Name>) throws
}

extension NamedEvent {
  /// As in SPEC 9: `edgeConnected`.
  public var name: String { key.rawValue }

  /// The event's data as JSON in one line.
  public var data: String { jsonLine(payload) }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Name.self)
    try container.encode(payload, forKey: key)
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Name.self)
    guard let name = container.allKeys.first else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "no event that is known"))
    }
    try self.init(name, from: container)
  }
}

extension KeyedDecodingContainer {
  /// The member's value in the type that is asked for.
  func value<Value: Decodable>(_ key: Key) throws -> Value { try decode(Value.self, forKey: key) }
}

/// The engine had died and is back in service. What it had, tunnels and streams, ended with it,
/// without an event for each.
public struct CrashRecovered: Codable, Equatable, Sendable {
  /// How the engine ended.
  public var reason: String
  /// So many starts it took.
  public var attempts: Int
  /// From its end to its being ready again.
  public var seconds: Double

  public init(reason: String, attempts: Int, seconds: Double) {
    self.reason = reason
    self.attempts = attempts
    self.seconds = seconds
  }
}

/// The engine is given up; `start` begins anew.
public struct CrashRecoveryFailed: Codable, Equatable, Sendable {
  /// How the engine ended, or did not start, the last time.
  public var reason: String
  public var attempts: Int

  public init(reason: String, attempts: Int) {
    self.reason = reason
    self.attempts = attempts
  }
}

/// A value as JSON in one line, the members of objects in the order of their names.
package func jsonLine(_ value: some Encodable) -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
}
