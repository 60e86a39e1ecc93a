// What an engine reports while it runs, why tunnels end, and its counters.

import RIBase
import RIControl
import RICrypto
import RIRing
import RITLS
import RITunnel
import RIWire

/// Why a link ended.
public enum LinkEndReason: Sendable, CustomStringConvertible {
  case peerClosed
  case silent
  case handshakeTimedOut
  case handshakeFailed(String)
  /// The hub refused us.
  case unauthorized
  case refusedByHub(String)
  /// We refused an edge that called itself so.
  case refused(edgeID: String)
  /// The hub's name has no address.
  case noAddress(String, code: Int32)
  case replaced
  case revoked
  case outOfBuffers
  case stopping
  case socket(code: Int32)
  case tls(TLSError)
  case protocolViolation(TunnelError)

  public var description: String {
    switch self {
    case .peerClosed: "the other side closed it"
    case .silent: "nothing received for \(Int(Limits.silenceTimeout.seconds)) s"
    case .handshakeTimedOut: "handshake not done in \(Int(Limits.handshakeTimeout.seconds)) s"
    case .handshakeFailed(let why): "handshake failed: \(why)"
    case .unauthorized: "unauthorized: the hub does not know this edge id or its secret is wrong"
    case .noAddress(let host, let code): "no address for \(host): \(errnoText(code))"
    case .refusedByHub(let reason): "refused by the hub: \(reason)"
    case .refused(let edgeID): "unauthorized: edge \(edgeID)"
    case .replaced: "replaced by a newer tunnel of the same edge"
    case .revoked: "the edge is no longer allowed"
    case .outOfBuffers: "out of buffers"
    case .stopping: "stopping"
    case .socket(let code): errnoText(code)
    case .tls(let error): "TLS: \(error)"
    case .protocolViolation(let error): "protocol violation: \(error)"
    }
  }
}

/// Something that the engine's owner may want to log or show.
public enum EngineEvent: Sendable {
  case note(String)
  case warning(String)
  /// The hub accepts edges on this port.
  case hubReady(address: SocketAddress)
  case edgeConnected(edgeID: String, address: SocketAddress)
  case edgeDisconnected(edgeID: String, address: SocketAddress, reason: LinkEndReason)
  case edgeRefused(address: SocketAddress, reason: LinkEndReason)
  case tunnelUp(hub: SocketAddress, cipher: String)
  case tunnelDown(reason: LinkEndReason, retryAfter: Interval)
  /// Trust on first use: the pin that was remembered.
  case hubTrustedOnFirstUse(pin: String)
  case listening(TransportProtocol, address: SocketAddress)
  case listenFailed(TransportProtocol, address: SocketAddress, error: RingError)
  case listenerClosed(TransportProtocol, port: Port)
  /// A stream has become a sustained flow (SPEC 2.5). `edgeID` is nil at the edge.
  case streamSustained(edgeID: String?, stream: UInt32, bytes: UInt64)
}

/// Totals of a shard since its start, and what it holds now.
public struct ShardCounters: Sendable {
  public var connectionsOpened: UInt64 = 0
  public var connectionsClosed: UInt64 = 0
  public var clientsRefused: UInt64 = 0
  public var streamsRefused: UInt64 = 0
  public var budgetResets: UInt64 = 0
  public var streamsSustained: UInt64 = 0
  public var sessionsOpened: UInt64 = 0
  public var sessionsClosed: UInt64 = 0
  /// Closed before their time, for want of room.
  public var sessionsEvicted: UInt64 = 0
  /// By the hub: a bad header, a foreign port, no room, no target.
  public var sessionsRefused: UInt64 = 0
  /// Datagrams that clients' and targets' sockets took.
  public var datagramsDelivered: UInt64 = 0
  public var drops = DatagramDrops()
  public var handshakesRefused: UInt64 = 0

  public init() {}
}

/// Datagrams that went no further, by reason.
public struct DatagramDrops: Equatable, Sendable {
  /// A client's, while there was no tunnel.
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

/// A look at a shard: counters, tables and buffers in use.
public struct ShardStatus: Sendable {
  public var counters: ShardCounters
  public var links: Int
  public var tunnelsReady: Int
  public var connections: Int
  /// UDP sessions.
  public var sessions: Int
  public var listeners: Int
  public var stashBuffersInUse: Int
  public var sliceNodesInUse: Int
}
