// What makes a hub refuse an edge: what no reader of a file has seen, because a program gave it, or
// because it is handed on as it is.

import RIBase
import RIWire

/// What is wrong with one edge of a list of allowed edges.
public struct AllowedEdgeFault: Error, Equatable, Sendable, CustomStringConvertible {
  public var edgeID: String
  /// With its place: "firewallConfig.rules[2].action: is missing".
  public var reason: String

  public init(edgeID: String, reason: String) {
    self.edgeID = edgeID
    self.reason = reason
  }

  /// "edge e1: firewallConfig.rules[2].action: is missing".
  public var description: String { "edge \(edgeID): \(reason)" }
}

extension AllowedEdge {
  /// Throws what is wrong with it, if anything is.
  public func check() throws(AllowedEdgeFault) {
    if let fault = CredentialFault(id.utf8, bytesMax: Limits.edgeIDBytesMax) {
      throw AllowedEdgeFault(edgeID: quoted(id), reason: "the id \(fault)")
    }
    try check(listenPorts, "listenPorts")
    try check(listenPortsUdp, "listenPortsUdp")
    guard (0...Int(Int32.max)).contains(stunIntervalSecs) else {
      throw AllowedEdgeFault(edgeID: id, reason: "stunIntervalSecs: must be 0 to \(Int32.max)")
    }
    guard let firewallConfig, firewallConfig != .null else { return }
    do throws(FirewallFault) {
      _ = try FirewallConfig(checking: firewallConfig, unknownKeys: .refused)
    } catch {
      throw AllowedEdgeFault(edgeID: id, reason: "\(error)")
    }
    if let reason = sizeFault {
      throw AllowedEdgeFault(edgeID: id, reason: "firewallConfig: \(reason)")
    }
  }

  private func check(_ ports: [Port], _ key: String) throws(AllowedEdgeFault) {
    var seen: Set<Port> = []
    for port in ports {
      guard port > 0 else { throw AllowedEdgeFault(edgeID: id, reason: "\(key): port 0 is none") }
      guard seen.insert(port).inserted else {
        throw AllowedEdgeFault(edgeID: id, reason: "\(key): port \(port) is listed twice")
      }
    }
  }

  /// What is wrong with its size, if it is too large for a CONFIG message with all that a hub may
  /// add. All but the `firewallConfig` is small.
  public var sizeFault: String? {
    let bytes = message(offering: .all).encodedFramePayload().count + Limits.configReserveBytes
    guard bytes > Limits.configPayloadBytesMax else { return nil }
    return "makes the edge's CONFIG message larger than 4 MiB"
  }
}

extension AllowedEdges {
  /// Throws what is wrong with one of the edges, or that two have the same id.
  public static func check(_ edges: [AllowedEdge]) throws(AllowedEdgeFault) {
    var seen: Set<String> = []
    for edge in edges {
      try edge.check()
      guard seen.insert(edge.id).inserted else {
        throw AllowedEdgeFault(edgeID: edge.id, reason: "is listed twice")
      }
    }
  }
}
