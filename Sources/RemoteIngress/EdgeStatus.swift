// How an edge stands (SPEC 9). Encodes as the JSON of the same names.

import RIBase
import RIControl

/// A look at an edge. Times are in seconds, sizes in bytes.
public struct EdgeStatus: Codable, Equatable, Sendable {
  /// Started and neither stopped nor given up; also while a dead engine is being replaced.
  public var running = false
  /// A tunnel is up.
  public var connected = false
  /// What carries the tunnel.
  public var transport: TunnelTransport?
  public var edgeId: String?
  public var version = remoteIngressVersion
  /// Under which address the Internet sees the edge, once it knows.
  public var publicIp: String?
  public var activeStreams = 0
  public var udpSessions = 0
  /// What the hub assigned.
  public var listenPorts: [Port] = []
  public var listenPortsUdp: [Port] = []
  /// One for each assigned port and address.
  public var listeners: [ListenerStatus] = []
  public var firewall = FirewallStatus()
  /// Those that are up: the one for new streams, and those whose hub drains.
  public var tunnels: [LinkStatus] = []
  public var process = EngineProcessStatus()
  /// The shards' counters, queues and memory; their tunnels are in `tunnels`.
  public var shards: [ShardStatus] = []

  public init() {}

  /// Sums wrap: whatever the engine says, it is shown.
  package init(_ engine: EngineStatus?, _ process: EngineProcessStatus) {
    self.process = process
    guard let engine else { return }
    tunnels = engine.shards.flatMap(\.tunnels)
    let tunnel = tunnels.first { !$0.draining } ?? tunnels.first
    connected = tunnel != nil
    transport = tunnel?.transport
    shards = engine.shards.map(\.withoutTunnels)
    publicIp = shards.lazy.compactMap(\.publicIp).first
    activeStreams = shards.reduce(0) { $0 &+ $1.activeStreams }
    udpSessions = shards.reduce(0) { $0 &+ $1.udpSessions }
    listenPorts = shards.first { !$0.listenPorts.isEmpty }?.listenPorts ?? []
    listenPortsUdp = shards.first { !$0.listenPortsUdp.isEmpty }?.listenPortsUdp ?? []
    listeners = Self.merged(shards.flatMap(\.portListeners))
    firewall = engine.firewall ?? FirewallStatus()
  }

  /// One for each port and address, whatever the number of shards; a failure of one shows.
  private static func merged(_ all: [ListenerStatus]) -> [ListenerStatus] {
    var merged: [ListenerStatus] = []
    for listener in all {
      let isSame = { (other: ListenerStatus) in
        other.port == listener.port && other.transport == listener.transport
          && other.address == listener.address
      }
      if let index = merged.firstIndex(where: isSame) {
        if listener.state == .failed { merged[index] = listener }
      } else {
        merged.append(listener)
      }
    }
    return merged
  }

  /// The status as JSON in one line.
  public var json: String { jsonLine(self) }
}
