// What carries a link: what is TLS's alone, and what is QUIC's.

import RIBase
import RICrypto
import RIControl
import RIQUIC
import RIRing
import RITLS

/// The connection under a link.
enum LinkTransport {
  case tls(TLSTransport)
  case quic(QUICTransport)
}

/// A TCP connection with TLS on it, and the bytes between its socket and its tunnel.
final class TLSTransport {
  let socket: Socket
  let session: TLSLink

  /// The unfinished record that the last receive ended with, in a buffer of `ShardPool.carry`.
  @exclusivity(unchecked) var carry: Slice?
  @exclusivity(unchecked) var receiving = false
  /// Bytes of an edge that has not said who it is; they wait for their turn.
  @exclusivity(unchecked) var unopened: [UInt8] = []
  /// Such an edge has ended its direction behind them.
  @exclusivity(unchecked) var hasEnded = false
  /// The sealed bytes in flight: at most one buffer of `ShardPool.tunnelSend`.
  @exclusivity(unchecked) var outgoing = SliceQueue()
  @exclusivity(unchecked) var sending = false

  init(socket: Socket, session: TLSLink) {
    self.socket = socket
    self.session = session
  }
}

/// A QUIC connection: its tunnel, which is there from the first packet on, and the port it goes by.
final class QUICTransport {
  let tunnel: QUICTunnel
  let port: SlotID
  /// Of the bytes sent, those that the link's backlog has counted.
  @exclusivity(unchecked) var bytesCounted: UInt64 = 0
  /// When datagrams last found nothing queued before them.
  @exclusivity(unchecked) var busySince = Instant(nanoseconds: 0)

  init(_ tunnel: QUICTunnel, port: SlotID) {
    self.tunnel = tunnel
    self.port = port
  }
}

extension LinkTransport {
  var name: TunnelTransport {
    switch self {
    case .tls: .tcpTls
    case .quic: .quic
    }
  }
}

extension Link {
  /// The key that the other end has shown, once the handshake is done.
  var peerPin: CertificatePin? {
    switch transport {
    case .tls(let tls): tls.session.peerPin
    case .quic(let quic): quic.tunnel.peerPin
    }
  }

  var cipherName: String {
    switch transport {
    case .tls(let tls): tls.session.cipherName
    case .quic(let quic): quic.tunnel.cipherName
    }
  }

  /// Bytes on the wire, headers below TLS or QUIC not counted.
  var wireBytes: (received: UInt64, sent: UInt64) {
    switch transport {
    case .tls: (bytesIn, bytesOut)
    case .quic(let quic): (quic.tunnel.bytesReceived, quic.tunnel.bytesSent)
    }
  }
}
