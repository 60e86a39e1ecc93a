// What carries a link: what is TLS's alone.

import RIBase
import RICrypto
import RIRing
import RITLS

/// The connection under a link.
enum LinkTransport {
  case tls(TLSTransport)
}

/// A TCP connection with TLS on it, and the bytes between its socket and its tunnel.
final class TLSTransport {
  let socket: Socket
  let session: TLSLink

  /// The unfinished record that the last receive ended with, in a buffer of `ShardPool.carry`.
  @exclusivity(unchecked) var carry: Slice?
  @exclusivity(unchecked) var receiving = false
  /// Bytes of an edge that has not said who it is; they wait for their turn.
  var unopened: [UInt8] = []
  /// Such an edge has ended its direction behind them.
  var hasEnded = false
  /// The sealed bytes in flight: at most one buffer of `ShardPool.tunnelSend`.
  @exclusivity(unchecked) var outgoing = SliceQueue()
  @exclusivity(unchecked) var sending = false

  init(socket: Socket, session: TLSLink) {
    self.socket = socket
    self.session = session
  }
}

extension LinkTransport {
  var name: TunnelTransport {
    switch self {
    case .tls: .tcpTls
    }
  }
}

extension Link {
  /// The key that the other end has shown, once the handshake is done.
  var peerPin: CertificatePin? {
    switch transport {
    case .tls(let tls): tls.session.peerPin
    }
  }

  var cipherName: String {
    switch transport {
    case .tls(let tls): tls.session.cipherName
    }
  }
}
