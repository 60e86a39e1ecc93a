// What a QUIC link tells the engine, and why it ends.

import RIBase
import RICrypto
import RITunnel
import RIWire

/// What happened on a link.
public enum QUICEvent: Sendable {
  /// The handshake is complete; at the hub it is confirmed as well. `peerPin` is known at the edge.
  case established
  /// Bytes of the control channel, still lines: `QUICTunnel.payload`. All of them count as used up
  /// unless `beginMessages` says otherwise before the next `pollEvent`. At the hub they are held
  /// back until the handshake is confirmed, as those of 0-RTT may be a replay.
  case controlBytes
  /// What every tunnel tells. Never `.ended`.
  case tunnel(TunnelEvent)
  /// Edge: `QUICTunnel.resumption` is new.
  case resumable
  /// The link goes by another path now, which is validated: `QUICTunnel.remote`, `.local`.
  case moved
  /// The last event. `end` releases what is left.
  case ended(QUICEndReason)
}

/// Why a link ended.
public enum QUICEndReason: Error, Equatable, Sendable, CustomStringConvertible {
  /// The peer closed it with an application error: 0 in order, 2 refused (SPEC 3).
  case closed(applicationError: UInt64)
  /// The peer closed it with a transport error (RFC 9000 section 20.1).
  case failedAtPeer(transportError: UInt64)
  /// Nothing came from the peer for `QUICSettings.idleTimeout`.
  case idle
  case handshakeTimeout
  /// The peer has forgotten the link: it was started anew.
  case statelessReset
  /// The certificate, or the cryptography, of the handshake.
  case handshake(TLSError)
  /// The peer sent this TLS alert, or we did (RFC 8446 section 6).
  case alert(UInt8)
  /// The peer speaks no version that we know.
  case version
  /// The peer broke a rule of the control channel.
  case malformed(WireError)
  /// The peer opened unidirectional streams or streams that it may not, or sent no line.
  case streamMisuse
  /// ngtcp2's error: the peer broke a rule of QUIC, or there is no memory.
  case library(Int32)
  /// Our own `end`.
  case ended
}

extension QUICEndReason {
  public var description: String {
    switch self {
    case .closed(0): "closed by the peer"
    case .closed(let code): "closed by the peer with application error \(code)"
    case .failedAtPeer(let code): "closed by the peer with transport error \(code)"
    case .idle: "nothing came from the peer for too long"
    case .handshakeTimeout: "the handshake took too long"
    case .statelessReset: "the peer has forgotten the link (stateless reset)"
    case .handshake(let error): "\(error)"
    case .alert(let code): "TLS alert \(code)"
    case .version: "the peer speaks no version of QUIC that we know"
    case .malformed(let error): "malformed: \(error)"
    case .streamMisuse: "a stream that the peer may not use in this way"
    case .library(let code): "QUIC error \(code)"
    case .ended: "ended here"
    }
  }
}
