// How a hub stands (SPEC 9). Encodes as the JSON of the same names.

import RIBase
import RIControl

public typealias EngineStatus = RIControl.EngineStatus
public typealias ShardStatus = RIControl.ShardStatus
public typealias LinkStatus = RIControl.LinkStatus
public typealias ListenerStatus = RIControl.ListenerStatus

/// How the process that moves the traffic stands.
public struct EngineProcessStatus: Codable, Equatable, Sendable {
  public enum State: String, Codable, Sendable {
    /// None runs: not started, or stopped.
    case stopped
    case starting
    case running
    /// It takes no new streams and ends with its last.
    case draining
    /// It died; the next start is under way or due.
    case recovering
    /// It died too often.
    case failed
  }

  public var state = State.stopped
  public var pid: Int?
  /// Seconds since 1970.
  public var startedAt: Double?
  /// Since `start`: how often it died and came back.
  public var crashesRecovered = 0
  /// Why it died the last time.
  public var lastCrash: String?

  public init() {}
}

/// A look at a hub. Times are in seconds, sizes in bytes.
public struct HubStatus: Codable, Equatable, Sendable {
  /// Started and neither stopped nor given up; also while a dead engine is being replaced.
  public var running = false
  /// Where edges are accepted.
  public var tunnelPort: Port?
  /// The pin of the hub's certificate, for its edges.
  public var pin: String?
  public var version = remoteIngressVersion
  public var connectedEdges: [LinkStatus] = []
  public var activeStreams = 0
  public var udpSessions = 0
  public var process = EngineProcessStatus()
  /// The shards' counters, queues and memory; their tunnels are `connectedEdges`.
  public var shards: [ShardStatus] = []

  public init() {}

  /// Sums wrap: whatever the engine says, it is shown.
  package init(_ engine: EngineStatus?, _ process: EngineProcessStatus) {
    self.process = process
    guard let engine else { return }
    connectedEdges = engine.shards.flatMap(\.tunnels).sorted { $0.edgeID < $1.edgeID }
    shards = engine.shards.map(\.withoutTunnels)
    activeStreams = shards.reduce(0) { $0 &+ $1.activeStreams }
    udpSessions = shards.reduce(0) { $0 &+ $1.udpSessions }
  }

  /// The status as JSON in one line.
  public var json: String { jsonLine(self) }
}

extension ShardStatus {
  /// The shard's totals alone.
  var withoutTunnels: ShardStatus {
    var status = self
    status.tunnels = []
    return status
  }
}
