// An emulated link as a child process of this binary, and the systems at its two ends.

import ArgumentParser
import FoundationEssentials
import Glibc
import LinkKit
import LoadKit

/// Carries a link's packets until it is asked to end; ends with its parent.
struct LinkRole: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "link-emulator", shouldDisplay: false)

  func run() throws {
    let signals = try LinkSignals(withParent: true)
    guard let line = readLine(from: 0) else { throw LoadError("no order on standard input") }
    let summary = try carry(JSONDecoder().decode(LinkSetup.self, from: Data(line)), signals)
    try say(summary)
  }

  /// The link is gone when this returns.
  private func carry(_ setup: LinkSetup, _ signals: LinkSignals) throws -> LinkSummary {
    let link = try Link(setup)
    try say(link.description)
    return link.carry(stop: signals.descriptor) { signals.isAskedToEnd() }
  }

  private func say(_ value: some Encodable) throws {
    writeText(String(decoding: try JSONEncoder().encode(value), as: UTF8.self) + "\n", to: 1)
  }
}

/// A link that stands. It ends with its object.
final class LinkNetwork {
  let description: LinkDescription
  let process: ChildProcess

  init(_ setup: LinkSetup) throws {
    process = try ChildProcess.role(["link-emulator"], order: setup)
    guard let line = process.readLine(within: 10) else { throw LoadError("the link did not start") }
    description = try JSONDecoder().decode(LinkDescription.self, from: Data(line.utf8))
  }

  /// Kernel threads that belong to it.
  var receivers: [pid_t] { [description.a.receiver, description.b.receiver].compactMap(\.self) }

  deinit { _ = process.end(within: 5) }

  /// Takes it down; what it has carried.
  func end() throws -> LinkSummary {
    guard let line = process.end(within: 5) else { throw LoadError("the link gave no summary") }
    return try JSONDecoder().decode(LinkSummary.self, from: Data(line.utf8))
  }
}

/// A system with its two ends in a link's two namespaces. Ports are its own: so are the namespaces.
struct LinkedSystem {
  private static let targetPort: UInt16 = 7000
  private static let clientPort: UInt16 = 7001
  private static let tunnelPort: UInt16 = 8443

  let link: LinkNetwork
  let counters: Int32
  let target: ChildProcess
  /// Edge and hub.
  private(set) var measured: [ChildProcess] = []
  /// Where clients connect to, in namespace b.
  private(set) var entry: (host: Host, port: UInt16)

  static func start(_ system: System, _ load: LinkCase) throws -> LinkedSystem {
    let link = try LinkNetwork(load.setup)
    return try LinkedSystem(system, load.workload.kind, on: link)
  }

  private init(_ system: System, _ kind: LoadKind, on link: LinkNetwork) throws {
    self.link = link
    let counters = try SharedCounters.makeFile()
    self.counters = counters
    entry = (link.description.a.address4, Self.targetPort)
    var order = TargetOrder(
      TargetOrder.mode(for: kind), port: Self.targetPort, expectsProxyLine: system.isOurs,
      congestion: nil)
    order.host = anyHost
    target = try withinNamespace(link.description.a.namespace) {
      try ChildProcess.role(["target"], order: order, counters: counters)
    }
    try target.awaitReady("target")
    switch system {
    case .direct: break
    case .roofline: try addTunnel("roofline", system)
    default: try addTunnel("ours", system)
    }
  }

  private mutating func addTunnel(_ role: String, _ system: System) throws {
    let key = (0..<32).map { _ in String(Int.random(in: 0..<16), radix: 16) }.joined()
    let a = link.description.a
    let hub = try withinNamespace(a.namespace) {
      try ChildProcess.role(
        [role, "hub"],
        order: EndOrder(
          listenPort: Self.tunnelPort, listenHost: a.address4, connectPort: Self.targetPort,
          clientPort: Self.clientPort, key: key, ring: system.ring,
          overQUIC: system == .oursQUIC))
    }
    try hub.awaitReady("\(role) hub")
    let edge = try withinNamespace(link.description.b.namespace) {
      try ChildProcess.role(
        [role, "edge"],
        order: EndOrder(
          listenPort: Self.clientPort, connectPort: Self.tunnelPort, connectHost: a.address4,
          clientPort: Self.clientPort, key: key, ring: system.ring,
          overQUIC: system == .oursQUIC))
    }
    try edge.awaitReady("\(role) edge")
    measured = [edge, hub]
    entry = (loopbackHost, Self.clientPort)
  }

  /// A client at the far end.
  func client(_ order: LoadOrder) throws -> ChildProcess {
    try withinNamespace(link.description.b.namespace) {
      try ChildProcess.role(["client"], order: order, counters: counters)
    }
  }

  /// Ends all processes but the link's.
  func stop() {
    for process in measured { process.stop() }
    target.stop()
    close(counters)
  }
}
