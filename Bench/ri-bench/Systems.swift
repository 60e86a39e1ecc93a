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
  /// A relay in one process, in the clear, on one of our rings.
  case ringUring = "ring-uring"
  case ringEpoll = "ring-epoll"

  static let tunnels: [System] = [.roofline, .oursUring, .oursEpoll]
  static let rings: [System] = [.ringUring, .ringEpoll]

  /// Which of its rings a process uses.
  var ring: String? {
    switch self {
    case .direct, .roofline: nil
    case .oursUring, .ringUring: "uring"
    case .oursEpoll, .ringEpoll: "epoll"
    }
  }

  var isOurs: Bool { self == .oursUring || self == .oursEpoll }
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
    let targetPort = try freeLoopbackPort()
    let counters = try SharedCounters.makeFile()
    let target = try ChildProcess.role(
      ["target"],
      order: TargetOrder(
        TargetOrder.mode(for: kind), port: targetPort, expectsProxyLine: system.isOurs,
        congestion: congestion), counters: counters)
    try target.awaitReady("target")
    var running = RunningSystem(counters: counters, entryPort: targetPort, target: target)
    switch system {
    case .direct: break
    case .roofline:
      try running.addTunnel("roofline", ring: nil, congestion)
    case .oursUring, .oursEpoll:
      try running.addTunnel("ours", ring: system.ring, congestion)
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
    _ role: String, ring: String?, _ congestion: CongestionControl?
  ) throws {
    let (hubPort, edgePort) = (try freeLoopbackPort(), try freeLoopbackPort())
    var key = ""
    for _ in 0..<16 {
      let byte = String(UInt8.random(in: 0...255), radix: 16)
      key += byte.count == 1 ? "0" + byte : byte
    }
    let hub = try ChildProcess.role(
      [role, "hub"],
      order: EndOrder(
        listenPort: hubPort, connectPort: entryPort, clientPort: edgePort, key: key, ring: ring,
        congestion: congestion))
    try hub.awaitReady("\(role) hub")
    let edge = try ChildProcess.role(
      [role, "edge"],
      order: EndOrder(
        listenPort: edgePort, connectPort: hubPort, clientPort: edgePort, key: key, ring: ring,
        congestion: congestion))
    try edge.awaitReady("\(role) edge")
    measured = [edge, hub]
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
