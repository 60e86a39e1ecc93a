// A look at an engine and its shards: their counters, their tunnels, what they hold. What an engine
// tells its supervisor, and what status and metrics are made of.

import FoundationEssentials
import RIBase
import RITunnel

/// Totals of a shard since its start.
public struct ShardCounters: Codable, Equatable, Sendable {
  public var connectionsOpened: UInt64 = 0
  public var connectionsClosed: UInt64 = 0
  public var clientsRefused: UInt64 = 0
  public var streamsRefused: UInt64 = 0
  /// Streams reset because the memory budget was spent.
  public var budgetResets: UInt64 = 0
  /// Streams that became sustained flows.
  public var streamsSustained: UInt64 = 0
  public var handshakesRefused: UInt64 = 0
  public var sessionsOpened: UInt64 = 0
  public var sessionsClosed: UInt64 = 0
  /// UDP sessions closed before their time, for want of room.
  public var sessionsEvicted: UInt64 = 0
  /// By the hub: a bad header, a foreign port, no room, no target.
  public var sessionsRefused: UInt64 = 0
  /// Datagrams that clients' and targets' sockets took.
  public var datagramsDelivered: UInt64 = 0
  public var drops = DatagramDrops()
  /// Packets of tunnels over QUIC that were longer than a receive takes.
  public var packetsCut: UInt64 = 0
  /// Batches of packets that the kernel did not cut, and that were sent one by one.
  public var batchesRefused: UInt64 = 0

  public init() {}
}

/// Datagrams that went no further, by reason.
public struct DatagramDrops: Codable, Equatable, Sendable {
  /// A client's, while there was no tunnel for a new session.
  public var noTunnel: UInt64 = 0
  /// A client's, whose session could not be opened.
  public var noSession: UInt64 = 0
  /// A client's, while its target's address was not known yet.
  public var noTarget: UInt64 = 0
  /// The queue of the session or the tunnel was full.
  public var queueFull: UInt64 = 0
  /// They waited for a tunnel whose peer took nothing, while others had no buffers.
  public var stuck: UInt64 = 0
  public var noBuffer: UInt64 = 0
  /// The socket took no more.
  public var socketFull: UInt64 = 0
  /// Longer than a datagram can be with its header, or cut by the kernel.
  public var tooLong: UInt64 = 0
  /// Nobody listens at the target.
  public var refused: UInt64 = 0
  /// The socket failed otherwise.
  public var failed: UInt64 = 0

  public init() {}

  public var total: UInt64 {
    noTunnel + noSession + noTarget + queueFull + stuck + noBuffer + socketFull + tooLong + refused
      + failed
  }
}

/// A tunnel that is up. Times are in seconds, sizes in bytes.
public struct LinkStatus: Codable, Equatable, Sendable {
  public var edgeID: String
  /// The other end's address and port.
  public var address: String
  public var transport: TunnelTransport
  /// Seconds since 1970.
  public var connectedAt: Double
  /// The last round trip of a PING; nil at an edge, and before the first.
  public var roundTrip: Double?
  /// The shortest round trip of a PING; at an edge what its hub says of it.
  public var baseRoundTrip: Double?
  /// What both ends have agreed on.
  public var extensions: [String]
  /// Whether one of its ends is about to stop.
  public var draining: Bool
  public var activeStreams: Int
  public var sustainedStreams: Int
  public var udpSessions: Int
  /// Payload that waits for credit or its turn, datagrams included.
  public var queuedBytes: Int
  /// What its streams may queue, by how fast it sends.
  public var queueLimitBytes: Int
  public var bytesIn: UInt64
  public var bytesOut: UInt64

  enum CodingKeys: String, CodingKey {
    case edgeID = "edgeId"
    case address, transport, connectedAt
    case roundTrip = "rtt"
    case baseRoundTrip = "baseRtt"
    case extensions, draining, activeStreams, sustainedStreams, udpSessions, queuedBytes
    case queueLimitBytes, bytesIn, bytesOut
  }

  public init(
    edgeID: String, address: String, transport: TunnelTransport, connectedAt: Double,
    roundTrip: Double? = nil, baseRoundTrip: Double? = nil, extensions: [String] = [],
    draining: Bool = false, activeStreams: Int = 0, sustainedStreams: Int = 0,
    udpSessions: Int = 0, queuedBytes: Int = 0, queueLimitBytes: Int = 0, bytesIn: UInt64 = 0,
    bytesOut: UInt64 = 0
  ) {
    self.edgeID = edgeID
    self.address = address
    self.transport = transport
    self.connectedAt = connectedAt
    self.roundTrip = roundTrip
    self.baseRoundTrip = baseRoundTrip
    self.extensions = extensions
    self.draining = draining
    self.activeStreams = activeStreams
    self.sustainedStreams = sustainedStreams
    self.udpSessions = udpSessions
    self.queuedBytes = queuedBytes
    self.queueLimitBytes = queueLimitBytes
    self.bytesIn = bytesIn
    self.bytesOut = bytesOut
  }
}

/// A look at a shard: its tunnels, and in all what it has counted and holds.
public struct ShardStatus: Codable, Equatable, Sendable {
  public var draining: Bool
  /// Those that are up.
  public var tunnels: [LinkStatus]
  public var counters: ShardCounters
  /// Tunnels in every state, handshakes included.
  public var links: Int
  public var tunnelsReady: Int
  public var connections: Int
  public var listeners: Int
  public var activeStreams: Int
  public var sustainedStreams: Int
  public var udpSessions: Int
  public var queuedBytes: Int
  public var memory: MemoryStatus
  public var stashBuffersInUse: Int
  public var sliceNodesInUse: Int
  public var metrics = ShardMetrics()
  public var pools: [PoolUse] = []
  public var windows = WindowUse()
  public var queues = QueueDepths()
  /// Under which address the Internet sees an edge, once it knows.
  public var publicIp: String?
  /// What an edge is to listen on.
  public var listenPorts: [Port]
  public var listenPortsUdp: [Port]
  /// The edge's listeners, one for each port and address.
  public var portListeners: [ListenerStatus]

  public init(
    draining: Bool = false, tunnels: [LinkStatus] = [], counters: ShardCounters = ShardCounters(),
    links: Int = 0, connections: Int = 0, listeners: Int = 0, udpSessions: Int = 0,
    memory: MemoryStatus, stashBuffersInUse: Int = 0, sliceNodesInUse: Int = 0,
    publicIp: String? = nil, listenPorts: [Port] = [], listenPortsUdp: [Port] = [],
    portListeners: [ListenerStatus] = []
  ) {
    self.draining = draining
    self.tunnels = tunnels
    self.counters = counters
    self.links = links
    tunnelsReady = tunnels.count
    self.connections = connections
    self.listeners = listeners
    activeStreams = tunnels.reduce(0) { $0 + $1.activeStreams }
    sustainedStreams = tunnels.reduce(0) { $0 + $1.sustainedStreams }
    self.udpSessions = udpSessions
    queuedBytes = tunnels.reduce(0) { $0 + $1.queuedBytes }
    self.memory = memory
    self.stashBuffersInUse = stashBuffersInUse
    self.sliceNodesInUse = sliceNodesInUse
    self.publicIp = publicIp
    self.listenPorts = listenPorts
    self.listenPortsUdp = listenPortsUdp
    self.portListeners = portListeners
  }
}

/// Whether an edge listens on a port and address, and why not.
public struct ListenerStatus: Codable, Equatable, Sendable {
  public enum State: String, Codable, Sendable { case listening, failed }

  public var port: Port
  public var transport: TransportProtocol
  public var address: String
  public var state: State
  public var error: String?

  enum CodingKeys: String, CodingKey {
    case port
    case transport = "protocol"
    case address, state, error
  }

  public init(
    port: Port, transport: TransportProtocol, address: String, state: State, error: String? = nil
  ) {
    self.port = port
    self.transport = transport
    self.address = address
    self.state = state
    self.error = error
  }
}

/// The memory budget for stalled streams (SPEC 2.4), in bytes.
public struct MemoryStatus: Codable, Equatable, Sendable {
  public var budgetBytes: Int
  /// Held for streams whose socket takes nothing.
  public var heldBytes: Int
  /// Granted to windows beyond their floor.
  public var grownBytes: Int
  public var pressure: MemoryPressure

  public init(budgetBytes: Int, heldBytes: Int, grownBytes: Int, pressure: MemoryPressure) {
    self.budgetBytes = budgetBytes
    self.heldBytes = heldBytes
    self.grownBytes = grownBytes
    self.pressure = pressure
  }
}

/// A look at an engine: which it is, and its shards.
public struct EngineStatus: Codable, Equatable, Sendable {
  public enum Role: String, Codable, Sendable { case hub, edge }

  public var role: Role
  public var shards: [ShardStatus]
  /// An edge's.
  public var firewall: FirewallStatus?

  public init(role: Role, shards: [ShardStatus], firewall: FirewallStatus? = nil) {
    self.role = role
    self.shards = shards
    self.firewall = firewall
  }

  /// The status as JSON in one line.
  public var line: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
  }
}
