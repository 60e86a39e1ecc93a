// One run of the simulation, as its seed makes it: who there is, what they do, what befalls them.

import RIBase
import RIWire
import RIRing

@testable import RIEngine

/// Everything that a run consists of. Two runs of one scenario are the same to the last byte.
struct Scenario {
  var seed: UInt64
  var mood = ScenarioMood.mixed
  var network = ScenarioNetwork()
  var pools = ScenarioPools()
  /// What the hub offers and the edges know beyond the published protocol.
  var offer = Extensions.all
  var known: [Extensions] = [.all]
  var edgeCount = 1
  var clients: [ScenarioClient] = []
  /// In the order of their times.
  var acts: [ScenarioAct] = []
  /// When the chaos is over: what is cut heals, who rests goes on, and everything has to end well.
  var calmAfter = Interval.zero
}

/// What a scenario is mostly about.
enum ScenarioMood: String {
  /// Some clients of all kinds.
  case mixed
  /// Many that send little.
  case crowd
  /// A few that send much.
  case bulk
  /// Little memory, and many that do not read.
  case pressure
  /// One or two that send so much for so long that they become sustained flows.
  case sustained
}

/// The ways between the hosts and the buffers of their sockets.
struct ScenarioNetwork {
  var faults = SimulatedFaults.none
  var clientPath = SimulatedPath(delay: .microseconds(10)...Interval.microseconds(10))
  /// One for each edge.
  var tunnelPaths: [SimulatedPath] = []
  var targetPath = SimulatedPath(delay: .microseconds(10)...Interval.microseconds(10))
  var sendBufferBytes = 1 << 18
  var receiveBufferBytes = 1 << 18
}

/// How much memory the engines have.
struct ScenarioPools {
  enum Size: String { case ordinary, tiny, one }

  var size = Size.ordinary
  var budgetBytes = 200 << 20
  /// For budgets below what `ShardPool.shapes` makes.
  var stashBuffers: Int?

  /// A tunnel that stalls keeps the buffer that it sends from: each has one at least.
  func shapes(edges: Int) -> [BufferPoolShape] {
    var shapes = ShardPool.shapes(memoryBudgetBytes: budgetBytes)
    if let stashBuffers { shapes[Int(ShardPool.stash.rawValue)].count = stashBuffers }
    guard size != .ordinary else { return shapes }
    let count = size == .one ? 1 : 4
    for id in [ShardPool.small, ShardPool.bulk, ShardPool.tunnelReceive] {
      shapes[Int(id.rawValue)].count = count
    }
    shapes[Int(ShardPool.tunnelSend.rawValue)].count = edges + 1
    return shapes
  }
}

/// What the port is that a client connects to.
enum ScenarioPort: Port, CaseIterable {
  /// Served by the target host.
  case open = 1001
  /// The same by its name.
  case named = 1002
  /// Nobody listens at the target.
  case refused = 1003
  /// The target's host does not answer.
  case silent = 1004
  /// Served like `open`, but the hub assigns it only now and then.
  case sometimes = 1005

  static let assignedAtFirst: [Port] = [open, named, refused, silent].map(\.rawValue)
  var hasTarget: Bool { self != .refused && self != .silent }
}

/// One client and the target that it gets.
struct ScenarioClient {
  var at: Interval
  var edge: Int
  var port: ScenarioPort
  var plan: PeerPlan
  var target: PeerPlan
}

/// Something that happens to the system.
struct ScenarioAct {
  enum Engine: Equatable {
    case hub
    case edge(Int)
  }

  enum Kind {
    /// The tunnel's connection is reset.
    case reset(edge: Int)
    /// Nothing gets through between an edge and the hub for so long.
    case blackHole(edge: Int, Interval)
    /// The process is stopped for so long: its sockets live, but nobody reads them.
    case freeze(Engine, Interval)
    /// The process is killed, and another takes its place after so long.
    case kill(Engine, back: Interval)
    /// It drains with so long to go, and another takes its place after so long.
    case drain(Engine, Interval, back: Interval)
    /// The hub assigns other ports.
    case assign(edge: Int, [Port])
    /// The same several times, each while the one before is under way.
    case pushes(edge: Int, [[Port]], every: Interval)
    /// The edge is no longer allowed for so long.
    case revoke(edge: Int, Interval)
    /// Another edge of the same id runs for so long.
    case twin(edge: Int, Interval)
    /// The network resets the connection of a client, or of its target.
    case cutClient(Int)
    case cutTarget(Int)
    /// The way between an edge and the hub becomes another.
    case path(edge: Int, SimulatedPath)
    /// A process's clocks jump: the monotonic one ahead, the wall clock by so many seconds.
    case clocks(Engine, ahead: Interval, wall: Int)
    /// A process may have no more than so many descriptors beyond those that it has, for so long.
    case descriptors(Engine, spare: Int, Interval)
  }

  var at: Interval
  var kind: Kind

  /// Whether it ends tunnels, may end them, or takes ports away.
  var isDisruptive: Bool {
    switch kind {
    case .cutClient, .cutTarget, .path: false
    default: true
    }
  }
}

extension Interval {
  static func + (a: Interval, b: Interval) -> Interval {
    Interval(nanoseconds: a.nanoseconds + b.nanoseconds)
  }
}

// MARK: In words

extension Scenario: CustomStringConvertible {
  var description: String {
    var lines = ["seed \(seed): \(mood), \(edgeCount) edges, \(clients.count) clients"]
    lines.append("  network: \(network)")
    lines.append("  pools: \(pools)")
    lines.append("  extensions: \(offer.names) of the hub, \(known.map(\.names)) of the edges")
    for (i, client) in clients.enumerated() { lines.append("  client \(i): \(client)") }
    for act in acts { lines.append("  \(act)") }
    lines.append("  calm after \(calmAfter.seconds) s")
    return lines.joined(separator: "\n")
      .replacing(/RIBase\.Interval\(nanoseconds: (\d+)\)/) { "\((Double($0.1) ?? 0) / 1e9) s" }
      .replacing(/\w+\.ScenarioAct\.Engine\.|\w+\.SimulatedPath/, with: "")
  }
}

extension ScenarioNetwork: CustomStringConvertible {
  var description: String {
    """
    clients \(clientPath.text), tunnels \(tunnelPaths.map(\.text)), targets \(targetPath.text), \
    buffers \(sendBufferBytes) and \(receiveBufferBytes), short sends \(faults.shortSend) and \
    receives \(faults.shortReceive), stalls \(faults.stall), partial reaps \(faults.partialReap), \
    late cancels \(faults.lateCancel), slow lookups \(faults.slowLookup)
    """
  }
}

extension SimulatedPath {
  var text: String {
    let rate = bytesPerSecond.map { ", \($0) B/s" } ?? ""
    return "\(delay.lowerBound.nanoseconds / 1_000)-\(delay.upperBound.nanoseconds / 1_000) µs"
      + rate
  }
}

extension ScenarioPools: CustomStringConvertible {
  var description: String {
    "\(size.rawValue), budget \(stashBuffers.map { "\($0) buffers" } ?? "\(budgetBytes) bytes")"
  }
}

extension ScenarioClient: CustomStringConvertible {
  var description: String {
    "at \(at.seconds) to \(port) of edge \(edge): \(plan); target \(target)"
  }
}

extension ScenarioAct: CustomStringConvertible {
  var description: String { "at \(at.seconds) \(kind)" }
}

extension PeerPlan: CustomStringConvertible {
  var description: String {
    var text = echoes ? "echoes" : "sends \(sends)"
    if chunkBytes.upperBound < 60_000 { text += " in ≤\(chunkBytes.upperBound)" }
    if pause > .zero { text += " with pauses of ≤\(pause.nanoseconds / 1_000_000) ms" }
    return text + ", \(reads), \(end)"
  }
}
