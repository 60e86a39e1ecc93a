// A system under measurement as running processes.

import Glibc
import LoadKit

/// A started system with its target, ready for a client. Ends with its object.
struct RunningSystem {
  var counters: Int32
  /// Where clients connect.
  var entryPort: UInt16
  /// The processes whose CPU time and memory are the figures, by end, edge or relay first.
  var measured: [[pid_t]] = []
  var target: ChildProcess
  private var children: [ChildProcess] = []
  private var pair: PeerPair?

  /// Bytes of each end (VmRSS).
  var residentByEnd: [Int] {
    measured.map { end in end.reduce(0) { $0 + (residentBytes($1) ?? 0) } }
  }

  /// `mode` is the target's; nil: what the workload needs.
  static func start(
    _ system: System, for workload: Workload, mode: TargetOrder.Mode? = nil,
    congestion: CongestionControl?
  ) throws -> RunningSystem {
    let targetPort = try freeLoopbackPort()
    let counters = try SharedCounters.makeFile()
    let target = try ChildProcess.role(
      ["target"],
      order: TargetOrder(
        mode ?? TargetOrder.mode(for: workload.kind), port: targetPort,
        expectsProxyLine: system.writesProxyLine, congestion: congestion), counters: counters)
    try target.awaitReady("target")
    var running = RunningSystem(counters: counters, entryPort: targetPort, target: target)
    switch system {
    case .direct: break
    case .roofline:
      try running.addTunnel("roofline", system, workload.shardCount, congestion)
    case .oursUring, .oursEpoll, .oursUringPlain, .oursQUIC:
      try running.addTunnel("ours", system, workload.shardCount, congestion)
    case .haproxy, .stunnel, .nginx, .ssh:
      try running.addPeer(system)
    case .ringUring, .ringEpoll:
      try running.addRelay(ring: system.ring ?? "", congestion)
    }
    return running
  }

  func stop() {
    for process in children { process.stop() }
    pair?.stop()
    target.stop()
    close(counters)
  }

  private mutating func addTunnel(
    _ role: String, _ system: System, _ shards: Int, _ congestion: CongestionControl?
  ) throws {
    let (hubPort, edgePort) = (try freeLoopbackPort(), try freeLoopbackPort())
    let key = randomKey()
    func order(_ listenPort: UInt16, _ connectPort: UInt16) -> EndOrder {
      EndOrder(
        listenPort: listenPort, connectPort: connectPort, clientPort: edgePort, key: key,
        ring: system.ring, extensions: system == .oursUringPlain ? "none" : nil,
        congestion: congestion, overQUIC: system == .oursQUIC, shards: shards)
    }
    let hub = try ChildProcess.role([role, "hub"], order: order(hubPort, entryPort))
    try hub.awaitReady("\(role) hub")
    let edge = try ChildProcess.role([role, "edge"], order: order(edgePort, hubPort))
    try edge.awaitReady("\(role) edge")
    add([edge, hub], at: edgePort)
  }

  private mutating func addPeer(_ system: System) throws {
    guard let software = system.peer else { throw LoadError("\(system.rawValue) is no peer") }
    let edgePort = try freeLoopbackPort()
    let pair = try PeerPair.start(
      software, edgePort: edgePort, hubPort: try freeLoopbackPort(), targetPort: entryPort)
    self.pair = pair
    measured = pair.processes
    entryPort = edgePort
  }

  private mutating func addRelay(ring: String, _ congestion: CongestionControl?) throws {
    let port = try freeLoopbackPort()
    let relay = try ChildProcess.role(
      ["ring-relay"],
      order: RelayOrder(
        listenPort: port, connectPort: entryPort, ring: ring, congestion: congestion))
    try relay.awaitReady("ring relay")
    add([relay], at: port)
  }

  private mutating func add(_ ends: [ChildProcess], at port: UInt16) {
    children = ends
    measured = ends.map { [$0.identifier] }
    entryPort = port
  }
}

/// 16 random bytes in hexadecimal.
func randomKey() -> String {
  (0..<32).map { _ in String(Int.random(in: 0..<16), radix: 16) }.joined()
}
