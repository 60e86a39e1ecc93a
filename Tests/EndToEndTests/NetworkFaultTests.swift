// A network that is cut, in both directions or in one: docs/RELIABILITY.md names these tests.

import Foundation
import Testing

extension EndToEnd.Faults {
  /// The hub's namespace drops what comes in, what goes out, or both, for longer than the 45 s
  /// that a tunnel may be silent. Who hears nothing notices, and tells whoever still hears: neither
  /// waits for as long again. They are back within 35 s.
  @Test(
    "a tunnel that is cut in one direction or both ends at both ends and comes back",
    .enabled(if: isLong && canMakeNamespaces),
    arguments: [Ring.uring, .quic], [["input"], ["output"], ["input", "output"]])
  func halfOpen(ring: Ring, directions: [String]) throws {
    try TunnelNetwork.run(ring) { network in
      try network.startEdge()
      let (hub, edge) = (try #require(network.hub), try #require(network.edge))
      let offsets = (hub: hub.log.utf8.count, edge: edge.log.utf8.count)
      let cut = ContinuousClock.now
      try network.cut(directions)
      try edge.waitForLog(LogLine.tunnelDown, from: offsets.edge, within: 65)
      try hub.waitForLog("disconnected", from: offsets.hub, within: 65)
      let noticed = (ContinuousClock.now - cut) / .seconds(1)
      try network.mend()
      let mended = ContinuousClock.now
      try edge.waitForLog(LogLine.tunnelUp, from: offsets.edge, within: 35)
      let back = (ContinuousClock.now - mended) / .seconds(1)
      print("\(ring), cut \(directions): noticed after \(noticed) s, back after \(back) s")
      #expect(noticed < 55 && back < 35)
      try network.play("whole", ["count": 1 << 20])
    }
  }

  /// Streams outlive a cut that their tunnel outlives.
  @Test(
    "a cut of less than 45 s ends no stream and loses no byte",
    .enabled(if: canMakeNamespaces, "no privilege for namespaces"),
    arguments: [Ring.uring, .quic])
  func cutForAWhile(ring: Ring) throws {
    try TunnelNetwork.run(ring) { network in
      try network.startEdge()
      let rules = TunnelNetwork.cutRules(["input", "output"]).map { "nft '\($0)'" }
      let change = (rules + ["sleep \(Self.isLong ? 20 : 4)", "nft delete table inet cut"])
        .joined(separator: " && ")
      let gaps = try network.play("moved", ["change": change, "patience": 60])
      print("\(ring): longest silence of a stream, ms: \(gaps)")
      #expect(gaps["after"] ?? 0 >= 3_500)
      #expect(network.edge?.log.contains(LogLine.tunnelDown) == false)
    }
  }
}
