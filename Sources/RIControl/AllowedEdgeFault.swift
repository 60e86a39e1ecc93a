// What makes a hub refuse an edge of its configuration: here the values that nobody has read yet
// when they get here, because a hub hands them on as they are.

import RIWire

/// What is wrong with one edge of a list of allowed edges.
public struct AllowedEdgeFault: Error, Equatable, Sendable, CustomStringConvertible {
  public var edgeID: String
  public var fault: FirewallFault

  /// "edge e1: firewallConfig.rules[2].action: is missing".
  public var description: String { "edge \(edgeID): \(fault)" }
}

extension AllowedEdge {
  /// Throws what is wrong with the `firewallConfig`, if anything is.
  public func check() throws(AllowedEdgeFault) {
    guard let firewallConfig, firewallConfig != .null else { return }
    do throws(FirewallFault) {
      _ = try FirewallConfig(checking: firewallConfig, unknownKeys: .refused)
    } catch {
      throw AllowedEdgeFault(edgeID: id, fault: error)
    }
  }
}
