// The edges of a hub: who may come in, and what a new list changes for those who are in.

import RIBase
import RIWire

/// The allowed edges by id.
public struct AllowedEdges: Sendable {
  private let edges: [String: AllowedEdge]

  /// Of two edges with one id the later counts.
  public init(_ edges: [AllowedEdge]) {
    self.edges = Dictionary(edges.map { ($0.id, $0) }) { $1 }
  }

  public subscript(id: String) -> AllowedEdge? { edges[id] }

  /// The edge that the line names, if the secret is its own.
  ///
  /// Takes the same time for a wrong secret, whatever of it is right, and for an unknown id.
  public func authenticate(_ line: EdgeLine) -> AllowedEdge? {
    let edge = edges[line.edgeID]
    // Without an edge the line's own secret stands in for it: a comparison of the same length.
    let isEqual = (edge?.secret ?? line.secret).isEqual(to: line.secret)
    return isEqual ? edge : nil
  }

  /// What a new list means for connected edges: `disconnect` are the ids that are gone or whose
  /// secret changed, `push` the edges that stay and need a new CONFIG; both sorted by id.
  public func changes(
    to edges: [AllowedEdge]
  ) -> (disconnect: [String], push: [AllowedEdge]) {
    let after = AllowedEdges(edges)
    var disconnect: [String] = []
    var push: [AllowedEdge] = []
    for (id, old) in self.edges.sorted(by: { $0.key < $1.key }) {
      guard let new = after[id], new.secret == old.secret else {
        disconnect.append(id)
        continue
      }
      if new != old { push.append(new) }
    }
    return (disconnect, push)
  }
}
