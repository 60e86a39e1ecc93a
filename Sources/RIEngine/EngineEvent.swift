// What an engine reports while it runs, and why tunnels end.

import RIBase
import RIControl
import RICrypto
import RIQUIC
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
  /// The hub has as many handshakes under way as it makes, of all or of one address.
  case tooManyHandshakes
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
  /// One side was about to stop, and no stream was left.
  case drained
  case socket(code: Int32)
  case tls(TLSError)
  case quic(QUICEndReason)
  case protocolViolation(TunnelError)

  public var description: String {
    switch self {
    case .peerClosed: "the other side closed it"
    case .silent: "nothing received for \(Int(Limits.silenceTimeout.seconds)) s"
    case .handshakeTimedOut: "handshake not done in \(Int(Limits.handshakeTimeout.seconds)) s"
    case .handshakeFailed(let why): "handshake failed: \(why)"
    case .tooManyHandshakes: "too many handshakes at once"
    case .unauthorized: "unauthorized: the hub does not know this edge id or its secret is wrong"
    case .noAddress(let host, let code): "no address for \(host): \(errnoText(code))"
    case .refusedByHub(let reason): "refused by the hub: \(reason)"
    case .refused(let edgeID): "unauthorized: edge \(edgeID)"
    case .replaced: "replaced by a newer tunnel of the same edge"
    case .revoked: "the edge is no longer allowed"
    case .outOfBuffers: "out of buffers"
    case .stopping: "stopping"
    case .drained: "drained"
    case .socket(let code): errnoText(code)
    case .tls(let error): "TLS: \(error)"
    case .quic(let reason): "QUIC: \(reason)"
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
  case edgeConnected(edgeID: String, address: SocketAddress, transport: TunnelTransport)
  /// The edge's address has changed; its tunnel goes on.
  case edgeMoved(edgeID: String, from: SocketAddress, to: SocketAddress)
  /// The edge is about to stop: it opens no new streams and ends with its last.
  case edgeDraining(edgeID: String, address: SocketAddress)
  case edgeDisconnected(edgeID: String, address: SocketAddress, reason: LinkEndReason)
  /// `leftOut`: so many were refused before this one and not reported, as there were too many.
  case edgeRefused(address: SocketAddress, reason: LinkEndReason, leftOut: Int)
  case tunnelUp(hub: SocketAddress, transport: TunnelTransport, cipher: String)
  case tunnelDown(reason: LinkEndReason, retryAfter: Interval)
  /// New streams go by another tunnel, over `transport`; this one carries those that it has.
  case tunnelMoved(hub: SocketAddress, to: TunnelTransport)
  /// The hub is about to stop: new streams wait for another tunnel, which is dialled now.
  case tunnelDraining(hub: SocketAddress)
  /// A tunnel whose hub drained has ended; another may be up meanwhile.
  case tunnelDrained(hub: SocketAddress, reason: LinkEndReason)
  /// Messages of a kind that there were too many of, told so because none came since.
  case messagesLeftOut(ThrottledMessage, count: Int)
  /// Trust on first use: the pin that was remembered.
  case hubTrustedOnFirstUse(pin: String)
  case listening(TransportProtocol, address: SocketAddress)
  case listenFailed(TransportProtocol, address: SocketAddress, error: RingError)
  case listenerClosed(TransportProtocol, port: Port)
  /// What the hub has an edge listen on, the first time in a tunnel or as a change.
  case portsSet([Port], udp: [Port], isFirst: Bool)
  /// The firewall is what the hub asks for now, or is not, with the reason.
  case firewallUpdated(FirewallStatus)
  /// The address under which the Internet sees this edge is known, or has changed.
  case publicAddressDiscovered(IPAddress)
  /// A client's connection has come through an edge; only while streams are watched.
  case streamOpened(WatchedStream)
  /// It has ended, in both directions if it is complete.
  case streamClosed(WatchedStream, after: Interval, isComplete: Bool)
  /// A stream has become a sustained flow (SPEC 2.5). `edgeID` is nil at the edge.
  case streamSustained(edgeID: String?, stream: UInt32, bytes: UInt64)
}

/// A stream of a hub, for who watches them one by one.
public struct WatchedStream: Sendable {
  /// Of all of this process.
  public var id: UInt64
  public var edgeID: String
  public var source: SocketAddress
  public var destination: SocketAddress
}
