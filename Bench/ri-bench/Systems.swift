// What stands between client and target, as processes.

import Glibc
import LoadKit

/// A system under measurement.
enum System: String, Codable, CaseIterable {
  /// Nothing: what client and target reach by themselves.
  case direct
  /// The plain encrypted relay that tunnels are compared with.
  case roofline
  case oursUring = "ours-uring"
  case oursEpoll = "ours-epoll"
  /// Without protocol extensions: what a peer that knows none of them gets.
  case oursUringPlain = "ours-uring-plain"
  /// A pair of HAProxy processes, TLS between them.
  case haproxy
  /// A relay in one process, in the clear, on one of our rings.
  case ringUring = "ring-uring"
  case ringEpoll = "ring-epoll"

  static let tunnels: [System] = [.roofline, .oursUring, .oursEpoll]
  static let rings: [System] = [.ringUring, .ringEpoll]

  /// Which of its rings a process uses.
  var ring: String? {
    switch self {
    case .direct, .roofline, .haproxy: nil
    case .oursUring, .oursUringPlain, .ringUring: "uring"
    case .oursEpoll, .ringEpoll: "epoll"
    }
  }

  var isOurs: Bool { [.oursUring, .oursEpoll, .oursUringPlain].contains(self) }

  var writesProxyLine: Bool { isOurs || self == .haproxy }

  /// What it lacks to be measured here, in words; nil for nothing.
  func missing(in network: LoopbackNetwork) -> String? {
    guard self == .haproxy else { return nil }
    guard HAProxyPair.program != nil else {
      return "haproxy is not installed (Debian: apt-get install haproxy)"
    }
    return network.isPrivate
      ? nil : "haproxy cannot be told a congestion control; a private network (root) is needed"
  }
}

/// A started system with its target, ready for a client. Ends with its object.
struct RunningSystem {
  var counters: Int32
  /// Where clients connect.
  var entryPort: UInt16
  /// The processes whose CPU time and memory are the figures, edge or relay first.
  var measured: [ChildProcess] = []
  var target: ChildProcess

  static func start(
    _ system: System, for kind: LoadKind, congestion: CongestionControl?
  ) throws -> RunningSystem {
    try start(system, mode: TargetOrder.mode(for: kind), congestion: congestion)
  }

  static func start(
    _ system: System, mode: TargetOrder.Mode, congestion: CongestionControl?
  ) throws -> RunningSystem {
    let targetPort = try freeLoopbackPort()
    let counters = try SharedCounters.makeFile()
    let target = try ChildProcess.role(
      ["target"],
      order: TargetOrder(
        mode, port: targetPort, expectsProxyLine: system.writesProxyLine,
        congestion: congestion), counters: counters)
    try target.awaitReady("target")
    var running = RunningSystem(counters: counters, entryPort: targetPort, target: target)
    switch system {
    case .direct: break
    case .roofline:
      try running.addTunnel("roofline", system, congestion)
    case .oursUring, .oursEpoll, .oursUringPlain:
      try running.addTunnel("ours", system, congestion)
    case .haproxy:
      try running.addHAProxy()
    case .ringUring, .ringEpoll:
      try running.addRelay(ring: system.ring ?? "", congestion)
    }
    return running
  }

  func stop() {
    for process in measured { process.stop() }
    target.stop()
    close(counters)
  }

  private mutating func addTunnel(
    _ role: String, _ system: System, _ congestion: CongestionControl?
  ) throws {
    let (hubPort, edgePort) = (try freeLoopbackPort(), try freeLoopbackPort())
    var key = ""
    for _ in 0..<16 {
      let byte = String(UInt8.random(in: 0...255), radix: 16)
      key += byte.count == 1 ? "0" + byte : byte
    }
    func order(_ listenPort: UInt16, _ connectPort: UInt16) -> EndOrder {
      EndOrder(
        listenPort: listenPort, connectPort: connectPort, clientPort: edgePort, key: key,
        ring: system.ring, extensions: system == .oursUringPlain ? "none" : nil,
        congestion: congestion)
    }
    let hub = try ChildProcess.role([role, "hub"], order: order(hubPort, entryPort))
    try hub.awaitReady("\(role) hub")
    let edge = try ChildProcess.role([role, "edge"], order: order(edgePort, hubPort))
    try edge.awaitReady("\(role) edge")
    measured = [edge, hub]
    entryPort = edgePort
  }

  private mutating func addHAProxy() throws {
    let (hubPort, edgePort) = (try freeLoopbackPort(), try freeLoopbackPort())
    let pair = try HAProxyPair.start(edgePort: edgePort, hubPort: hubPort, targetPort: entryPort)
    measured = [pair.edge, pair.hub]
    entryPort = edgePort
  }

  private mutating func addRelay(ring: String, _ congestion: CongestionControl?) throws {
    let port = try freeLoopbackPort()
    let relay = try ChildProcess.role(
      ["ring-relay"],
      order: RelayOrder(
        listenPort: port, connectPort: entryPort, ring: ring, congestion: congestion))
    try relay.awaitReady("ring relay")
    measured = [relay]
    entryPort = port
  }
}
