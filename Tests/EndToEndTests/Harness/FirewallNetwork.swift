// Four network namespaces, with an edge that has two clients on one side and its hub on the other:
//
//   one 10.77.1.2 fd77:1::2 ── e1 10.77.1.1 fd77:1::1 ┐
//                                                     edge ── e3 10.77.3.1 ── 10.77.3.2 hub
//   two 10.77.2.2 fd77:2::2 ── e2 10.77.2.1 fd77:2::1 ┘

import Foundation
import Glibc

final class FirewallNetwork {
  enum Place: Int, CaseIterable { case edge, one, two, hub }

  /// Ports of the edge: an echo server behind the hub and one that sends without end, both of TCP,
  /// and an echo server of UDP.
  static let echoPort = 8080
  static let sourcePort = 8081
  static let udpPort = 8082

  let bed: Testbed
  private let namespaces: Namespaces<Place>
  private(set) var hub: ChildProcess?
  private(set) var edge: ChildProcess?
  var hubAddress = "10.77.3.2"
  /// The edge's.
  var drainSeconds = 1
  /// Of the hub's file, for the edge.
  private var firewall = "{}"

  static func run(_ body: (FirewallNetwork) throws -> Void) throws {
    try Testbed.bare(.uring) { bed in
      let network = try FirewallNetwork(bed)
      try network.startServers()
      try network.startHub()
      try body(network)
      for child in [network.edge, network.hub].compactMap({ $0 }) { try bed.stop(child) }
    }
  }

  private init(_ bed: Testbed) throws {
    self.bed = bed
    namespaces = try Namespaces(bed)
    for (place, subnet) in [(Place.one, 1), (.two, 2), (.hub, 3)] { try connect(place, subnet) }
    try command(
      .edge,
      "bash", "-c",
      "echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"
    )
  }

  private func connect(_ place: Place, _ subnet: Int) throws {
    try ip(
      .edge,
      [
        "link add e\(subnet) type veth peer name eth0 netns \(namespaces.pid(place))",
        "addr add 10.77.\(subnet).1/24 dev e\(subnet)",
        "addr add fd77:\(subnet)::1/64 dev e\(subnet) nodad", "link set e\(subnet) up",
      ])
    try ip(
      place,
      [
        "addr add 10.77.\(subnet).2/24 dev eth0", "addr add fd77:\(subnet)::2/64 dev eth0 nodad",
        "link set eth0 up", "route add default via 10.77.\(subnet).1",
        "route add default via fd77:\(subnet)::1",
      ])
  }

  func ip(_ place: Place, _ batch: [String]) throws {
    try bed.write(batch.joined(separator: "\n") + "\n", to: "ip.batch")
    try command(place, "ip", "-batch", "\(bed.directory)/ip.batch")
  }

  /// A command line that runs in a place.
  func inside(_ place: Place, _ arguments: [String]) -> [String] {
    namespaces.inside(place, arguments)
  }

  @discardableResult
  func command(_ place: Place, _ arguments: String...) throws -> String {
    try namespaces.command(place, arguments)
  }

  /// Plays a scenario of `peers/firewall.py` in a place.
  @discardableResult
  func play(
    _ place: Place, _ scenario: String, _ arguments: [String: Any]
  ) throws -> [String: Double] {
    try bed.play("firewall", scenario, arguments, wrapper: inside(place, []))
  }

  func startServer(_ place: Place, _ arguments: String...) throws {
    let script = ["python3", "\(Product.peers)/firewall.py", "serve"]
    let server = try bed.start("server-\(place)", inside(place, script + arguments))
    try wait(within: 30, for: "the servers of \(place)") { server.output.contains("serving") }
  }

  private func startServers() throws {
    try startServer(.hub, "echo_port=9080", "source_port=9081", "udp=9082")
    // A link that is new takes a moment to let IPv6's neighbours find each other.
    for (place, subnet) in [(Place.one, 1), (.two, 2)] {
      let nobody = "tcp:fd77:\(subnet)::1:9"
      try wait(within: 10, for: "IPv6 of \(place)") {
        try play(place, "probe", ["to": nobody, "milliseconds": 200]) == [nobody: 2]
      }
    }
  }

  // MARK: Hub and edge

  private func hubConfiguration() -> String {
    """
    tunnelPort: 8443
    targetHost: 127.0.0.1
    stateDir: \(bed.directory)/hub
    drainSeconds: 1
    allowedEdges:
      - id: \(bed.edgeID)
        secret: \(bed.secret)
        listenPorts: [\(Self.echoPort), \(Self.sourcePort)]
        listenPortsUdp: [\(Self.udpPort)]
        stunIntervalSecs: 0
        firewallConfig: \(firewall)
    targets:
      - {port: \(Self.echoPort), host: 127.0.0.1, targetPort: 9080}
      - {port: \(Self.sourcePort), host: 127.0.0.1, targetPort: 9081}
      - {port: \(Self.udpPort), protocol: udp, targetPort: 9082, udpProxyHeader: none}
    """
  }

  func startHub() throws {
    let offset = bed.logLength("hub")
    try bed.write(hubConfiguration(), to: "hub.yaml")
    let child = try bed.start(
      "hub", inside(.hub, [Product.binary, "hub", "--config", "\(bed.directory)/hub.yaml"]))
    hub = child
    try child.waitForLog(LogLine.hubReady, from: offset)
  }

  /// With `wrapper` in front of the product's command line.
  func startEdge(
    _ firewall: String, wrapper: [String] = [], until line: String, within seconds: Double = 15
  ) throws {
    try set(firewall)
    if let hub {
      let offset = hub.log.utf8.count
      hub.send(SIGHUP)
      try hub.waitForLog(LogLine.reloaded, from: offset)
    }
    let offset = bed.logLength("edge")
    try bed.write(
      """
      hubHost: \(hubAddress)
      edgeId: \(bed.edgeID)
      secret: \(bed.secret)
      drainSeconds: \(drainSeconds)
      stunServer: 127.0.0.1:9
      insecure: true
      """, to: "edge.yaml")
    let child = try bed.start(
      "edge",
      inside(.edge, wrapper + [Product.binary, "edge", "--config", "\(bed.directory)/edge.yaml"]))
    edge = child
    try child.waitForLog(LogLine.tunnelUp, from: offset, within: seconds)
    try child.waitForLog(line, from: offset)
    for line in LogLine.listening(Self.echoPort) + LogLine.listening(Self.udpPort, "udp") {
      try child.waitForLog(line, from: offset)
    }
  }

  /// Has the hub push another firewall, and waits until the edge says `line` of it. Returns how
  /// long that took, in seconds.
  @discardableResult
  func update(_ firewall: String, until line: String) throws -> Double {
    let offset = edge?.log.utf8.count ?? 0
    try set(firewall)
    let start = ContinuousClock.now
    hub?.send(SIGHUP)
    try edge?.waitForLog(line, from: offset)
    return (ContinuousClock.now - start) / .seconds(1)
  }

  /// The same with a file that the hub does not take.
  func update(_ firewall: String, expectingRefusal: Bool) throws {
    let offset = hub?.log.utf8.count ?? 0
    try set(firewall)
    hub?.send(SIGHUP)
    try hub?.waitForLog(LogLine.notReloaded, from: offset)
  }

  /// The firewall in the hub's file.
  func set(_ firewall: String) throws {
    self.firewall = firewall
    try bed.write(hubConfiguration(), to: "hub.yaml")
  }

  func stopHub() throws {
    guard let child = hub else { return }
    hub = nil
    try bed.destroy(child)
  }

  /// SIGTERM; or SIGKILL; or it has ended already.
  func stopEdge(kill: Bool = false, ended: Bool = false) throws {
    guard let child = edge else { return }
    edge = nil
    if ended { return }
    if kill { try bed.destroy(child) } else { try bed.stop(child) }
  }

  /// The tables of the edge's namespace, with their handles, without the packets that they counted.
  func tables(_ arguments: String...) throws -> String {
    let text = try bed.command(inside(.edge, ["nft", "-a"] + arguments))
    return text.replacing(/packets \d+ bytes \d+/, with: "packets bytes")
  }

  /// The edge's status as JSON.
  func status() throws -> [String: Any] {
    guard let edge else { return [:] }
    let offset = edge.log.utf8.count
    edge.send(SIGUSR1)
    try edge.waitForLog("status {", from: offset)
    let log = String(decoding: Array(edge.log.utf8.dropFirst(offset)), as: UTF8.self)
    let line = log.split(separator: "\n").first { $0.contains("status {") } ?? ""
    let json = line.drop { $0 != "{" }
    let object = try JSONSerialization.jsonObject(with: Data(json.utf8))
    return object as? [String: Any] ?? [:]
  }

  var firewallStatus: [String: Any] {
    get throws { try status()["firewall"] as? [String: Any] ?? [:] }
  }

  /// Packets that the entry with this id has counted (the blocked addresses: "blockedIps").
  func packets(_ id: String) throws -> Int {
    let counters = try firewallStatus["counters"] as? [[String: Any]] ?? []
    let counter = counters.first { $0["id"] as? String ?? $0["kind"] as? String == id }
    return counter?["packets"] as? Int ?? -1
  }
}
