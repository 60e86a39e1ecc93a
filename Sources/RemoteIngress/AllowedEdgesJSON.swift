// A list of allowed edges as JSON, by the rules of the configuration's `allowedEdges`.

import RIControl
import RIWire

/// What is wrong with a list of allowed edges.
public struct AllowedEdgesError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The edge's id, or its place in the list where it has none; nil for the list itself.
  public var edge: String?
  /// What of the edge, as in `firewallConfig.rules[2].action`; empty for all of it.
  public var entry: String
  public var reason: String

  public var description: String {
    [edge.map { "edge \($0)" } ?? "", entry, reason].filter { !$0.isEmpty }
      .joined(separator: ": ")
  }
}

extension AllowedEdge {
  /// Reads a JSON list of edges, each with the keys that `allowedEdges` has in a file.
  public static func list(
    json: some Collection<UInt8>
  ) throws(AllowedEdgesError) -> [AllowedEdge] {
    let value: JSONValue
    do throws(MessageFault) {
      value = try JSONValue(parsing: json)
    } catch {
      throw AllowedEdgesError(edge: nil, entry: "", reason: "the list is not valid JSON")
    }
    do throws(ConfigurationError) {
      return try ValueKind.allowedEdges.parse(SourceNode(value), Place())
    } catch {
      throw AllowedEdgesError(error, in: value)
    }
  }
}

extension AllowedEdgesError {
  /// `error.key` is as in `[3].firewallConfig.rules[2].action`.
  fileprivate init(_ error: ConfigurationError, in list: JSONValue) {
    reason = error.reason
    guard error.key.first == "[", let end = error.key.firstIndex(of: "]"),
      let index = Int(error.key[error.key.index(after: error.key.startIndex)..<end])
    else {
      edge = nil
      entry = error.key
      return
    }
    let edges = list.asArray ?? []
    let id = edges.indices.contains(index) ? edges[index].asObject?["id"]?.asString : nil
    edge = id.map { printable($0) } ?? "[\(index)]"
    entry = String(error.key[error.key.index(after: end)...].drop { $0 == "." })
  }
}

extension SourceNode {
  /// JSON as a file would have it.
  fileprivate init(_ value: JSONValue) {
    let content: Content =
      switch value {
      case .null: .null
      case .bool(let value): .scalar(value ? "true" : "false")
      case .integer(let value): .scalar(String(value))
      case .number(let value): .scalar(String(value))
      case .string(let text): .scalar(text)
      case .array(let values): .list(values.map { SourceNode($0) })
      case .object(let members):
        .mapping(
          members.sorted { $0.key < $1.key }.map {
            Member(key: $0.key, origin: .unwritten, value: SourceNode($0.value))
          })
      }
    self.init(content, origin: .unwritten)
  }
}
