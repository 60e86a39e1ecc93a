// A firewallConfig in a configuration file. RIWire has the rules; here a file's text becomes the
// JSON that they are for, and a fault finds the line that it stands on.

import RIBase
import RIWire

extension ValueKind where Value == JSONValue {
  static var firewall: ValueKind {
    ValueKind(name: "MAPPING") { node, place throws(ConfigurationError) in
      let value = node.firewallValue(as: .text)
      do throws(FirewallFault) {
        _ = try FirewallConfig(checking: value, unknownKeys: .refused)
      } catch {
        throw place.error(fault: error, in: node)
      }
      return value
    }
  }
}

extension SourceNode {
  /// The node as JSON. A file's scalars are text: `kind` says what theirs is meant to be, and text
  /// that is not becomes a string, for the check to refuse.
  fileprivate func firewallValue(as kind: FirewallKey.Kind) -> JSONValue {
    switch content {
    case .null: return .null
    case .list(let nodes): return .array(nodes.map { $0.firewallValue(as: kind) })
    case .mapping(let members):
      let values = members.map {
        ($0.key, $0.value.firewallValue(as: FirewallKey(rawValue: $0.key)?.kind ?? .text))
      }
      return .object(Dictionary(values) { $1 })
    case .scalar(let text):
      switch kind {
      case .number: return decimal(text).map { .integer($0) } ?? .string(text)
      case .flag: return truthValue(text).map { .bool($0) } ?? .string(text)
      case .list, .text: return .string(text)
      }
    }
  }

  /// The node at the end of `path`, or the last one on the way that is there.
  fileprivate func nearest(to path: ArraySlice<FirewallFault.Step>) -> SourceNode {
    switch (path.first, content) {
    case (.key(let key)?, .mapping(let members)):
      members.first { $0.key == key }?.value.nearest(to: path.dropFirst()) ?? self
    case (.index(let index)?, .list(let nodes)) where nodes.indices.contains(index):
      nodes[index].nearest(to: path.dropFirst())
    default: self
    }
  }
}

extension Place {
  fileprivate func error(fault: FirewallFault, in node: SourceNode) -> ConfigurationError {
    var place = self
    for step in fault.path {
      switch step {
      case .key(let key): place = place.member(key)
      case .index(let index): place = place.element(index)
      }
    }
    return place.error(fault.reason, at: node.nearest(to: fault.path[...]).origin)
  }
}
