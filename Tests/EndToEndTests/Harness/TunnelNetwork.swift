// Two network namespaces with a tunnel between them, whose packets can be lost, blocked and come
// from another address:
//
//   clients, edge 10.78.1.2 (then 10.78.1.3) ── eth0 ── 10.78.1.1 hub, targets

import Foundation
import Glibc

final class TunnelNetwork {
  enum Place: CaseIterable { case edge, hub }

  /// Ports of the edge and of a second one, and where the hub takes them.
  static let port = 8080
  static let secondPort = 8081
  static let target = 9080

  let bed: Testbed
  private let namespaces: Namespaces<Place>
  private(set) var hub: ChildProcess?
  private(set) var edge: ChildProcess?

  /// The servers and the hub running. Hub and edge must still be there after `body`, and stop.
  static func run(_ ring: Ring, _ body: (TunnelNetwork) throws -> Void) throws {
    try Testbed.bare(ring) { bed in
      let network = try TunnelNetwork(bed)
      try network.startServer()
      try network.startHub()
      try body(network)
      for child in [network.edge, network.hub].compactMap({ $0 }) { try bed.stop(child) }
    }
  }

  private init(_ bed: Testbed) throws {
    self.bed = bed
    namespaces = try Namespaces(bed)
    try command(
      .hub, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns",
      namespaces.pid(.edge))
    for (place, address) in [(Place.hub, "10.78.1.1/24"), (.edge, "10.78.1.2/24")] {
      try command(place, "ip", "addr", "add", address, "dev", "eth0")
      try command(place, "ip", "link", "set", "eth0", "up")
    }
  }

  /// A command line that runs in a place.
  func inside(_ place: Place, _ arguments: [String]) -> [String] {
    namespaces.inside(place, arguments)
  }

  @discardableResult
  func command(_ place: Place, _ arguments: String...) throws -> String {
    try namespaces.command(place, arguments)
  }

  private func startServer() throws {
    let script = ["python3", "\(Product.peers)/paths.py", "serve", "port=\(Self.target)"]
    let server = try bed.start("server", inside(.hub, script))
    try wait(within: 30, for: "the server") { server.output.contains("serving") }
  }

  /// Plays a scenario of `peers/paths.py` beside the edge.
  @discardableResult
  func play(_ scenario: String, _ arguments: [String: Any] = [:]) throws -> [String: Double] {
    try bed.play(
      "paths", scenario, ["port": Self.port].merging(arguments) { $1 },
      wrapper: inside(.edge, []))
  }

  // MARK: The path

  /// Loses packets of the tunnel at random, both ways. Each for itself: what the kernel sends in
  /// one piece is cut before it is on its way.
  func lose(percent: Int) throws {
    for place in Place.allCases {
      try command(place, "ip", "link", "set", "eth0", "gso_max_segs", "1")
    }
    for place in Place.allCases {
      try filter(place, "th dport 8443 numgen random mod 100 < \(percent) drop")
      try filter(place, "th sport 8443 numgen random mod 100 < \(percent) drop")
    }
  }

  /// Lets no UDP to the hub through any more, or again.
  func blockUDP(_ isBlocked: Bool) throws {
    if isBlocked {
      try filter(.hub, "udp dport 8443 drop")
    } else {
      try command(.hub, "nft", "delete", "table", "inet", "path")
    }
  }

  /// What has nft drop all that comes in or goes out, or both, but on loopback.
  static func cutRules(_ directions: [String]) -> [String] {
    ["add table inet cut"]
      + directions.map {
        "add chain inet cut \($0) { type filter hook \($0) priority -300; policy drop; }"
      }
      + directions.map { "add rule inet cut \($0) \($0 == "input" ? "iif" : "oif") lo accept" }
  }

  /// Cuts the hub off.
  func cut(_ directions: [String]) throws {
    for rule in Self.cutRules(directions) { try command(.hub, "nft", rule) }
  }

  func mend() throws { try command(.hub, "nft", "delete", "table", "inet", "cut") }

  private func filter(_ place: Place, _ rule: String) throws {
    try bed.write(
      """
      table inet path {
        chain input {
          type filter hook input priority -300;
          \(rule)
        }
      }

      """, to: "path.nft")
    try command(place, "nft", "-f", "\(bed.directory)/path.nft")
  }

  // MARK: Hub and edge

  func startHub() throws {
    let offset = bed.logLength("hub")
    try bed.write(
      """
      tunnelPort: 8443
      targetHost: 127.0.0.1
      stateDir: \(bed.directory)/hub
      drainSeconds: 1
      shards: 2
      allowedEdges:
        - id: \(bed.edgeID)
          secret: \(bed.secret)
          listenPorts: [\(Self.port)]
          stunIntervalSecs: 0
        - {id: \(bed.spareID), secret: \(bed.secret), listenPorts: [\(Self.secondPort)], \
      stunIntervalSecs: 0}
      targets:
        - {port: \(Self.port), targetPort: \(Self.target)}
        - {port: \(Self.secondPort), targetPort: \(Self.target)}
      """, to: "hub.yaml")
    let child = try bed.start(
      "hub", inside(.hub, [Product.binary, "hub", "--config", "\(bed.directory)/hub.yaml"]))
    hub = child
    try child.waitForLog(LogLine.hubReady, from: offset)
  }

  /// Ends it by SIGKILL.
  func killHub() throws {
    guard let child = hub else { return }
    hub = nil
    try bed.destroy(child)
  }

  func startEdge(mode: String? = nil) throws {
    edge = try startEdge("edge", id: bed.edgeID, port: Self.port, mode: mode)
  }

  /// Another edge at the same place, with a port of its own. The caller stops it.
  func startSecondEdge(mode: String) throws -> ChildProcess {
    try startEdge("second", id: bed.spareID, port: Self.secondPort, mode: mode)
  }

  private func startEdge(
    _ name: String, id: String, port: Int, mode: String?
  ) throws -> ChildProcess {
    let offset = bed.logLength(name)
    try bed.write(
      """
      hubHost: 10.78.1.1
      edgeId: \(id)
      secret: \(bed.secret)
      drainSeconds: 1
      transportMode: \(mode ?? bed.transportMode)
      stunServer: 127.0.0.1:9
      insecure: true
      """, to: "\(name).yaml")
    let child = try bed.start(
      name, inside(.edge, [Product.binary, "edge", "--config", "\(bed.directory)/\(name).yaml"]))
    try child.waitForLog(LogLine.tunnelUp, from: offset)
    for line in LogLine.listening(port) { try child.waitForLog(line, from: offset) }
    return child
  }

  func stopEdge() throws {
    guard let child = edge else { return }
    edge = nil
    try bed.stop(child)
  }
}
