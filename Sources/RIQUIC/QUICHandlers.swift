// ngtcp2's callbacks, one line each, to the tunnel that they are for.

import CNGTCP2
import RIBase
import RICrypto
import RITunnel

extension QUICEndpoint {
  /// The table that all links share.
  ///
  /// SAFETY: made once, never freed or changed. A callback's owner is a `QUICTunnel` that its
  /// endpoint holds until the link is freed; bytes and pointers are lent for the call.
  nonisolated(unsafe) static let handlers: UnsafePointer<quic_handlers> = {
    let table = UnsafeMutablePointer<quic_handlers>.allocate(capacity: 1)
    var handlers = quic_handlers()
    addStreamHandlers(to: &handlers)
    addLinkHandlers(to: &handlers)
    addPacketProtection(to: &handlers)
    table.initialize(to: handlers)
    return UnsafePointer(table)
  }()

  private static func addStreamHandlers(to handlers: inout quic_handlers) {
    handlers.stream_opened = { owner, stream in
      of(owner) { $0.streamOpened(stream) } ?? false
    }
    handlers.stream_data = { owner, stream, tag, bytes, count, isLast in
      of(owner) {
        $0.streamData(
          stream, tag, UnsafeRawBufferPointer(start: bytes, count: count), isLast: isLast)
      } ?? false
    }
    handlers.acknowledged = { owner, stream, tag, count in
      of(owner) { $0.acknowledged(stream, tag, Int(clamping: count)) }
    }
    handlers.stream_closed = { owner, stream, tag in
      of(owner) { $0.streamClosed(stream, tag) }
    }
    handlers.stream_reset = { owner, stream, tag in
      of(owner) {
        if stream == $0.control.id {
          $0.control.isFinished = true
          $0.endpoint.markReady($0)
        } else if tag != 0 {
          $0.streamReset(SlotID(tag: tag))
        } else {
          $0.unknownStreamReset(stream)
        }
      }
    }
    handlers.stream_credit = { owner, stream, tag in of(owner) { $0.credited(stream, tag) } }
    handlers.datagram = { owner, bytes, count in
      of(owner) { $0.datagramReceived(UnsafeRawBufferPointer(start: bytes, count: count)) }
    }
  }

  private static func addLinkHandlers(to handlers: inout quic_handlers) {
    handlers.handshake_completed = { owner, isAccepted in
      of(owner) { $0.handshakeCompleted(isEarlyDataAccepted: isAccepted) }
    }
    handlers.early_data_rejected = { owner in of(owner) { $0.earlyDataRejected() } }
    handlers.path_validated = { owner, isGood in of(owner) { $0.pathValidated(isGood: isGood) } }
    handlers.stateless_reset = { owner in
      of(owner) {
        $0.closing = .silent
        if $0.endReason == nil { $0.finish(.statelessReset) }
      }
    }
    handlers.new_token = { owner, bytes, count in
      of(owner) { $0.addressToken = Array(UnsafeBufferPointer(start: bytes, count: count)) }
    }
    handlers.new_ticket = { owner, bytes, count in
      of(owner) {
        $0.ticket = Array(UnsafeBufferPointer(start: bytes, count: count))
        $0.notices.insert(.resumable)
        $0.endpoint.markReady($0)
      }
    }
    handlers.new_cid = { owner, cid, token in
      guard let cid, let token else { return false }
      return of(owner) {
        cid.pointee = $0.endpoint.makeConnectionID(for: $0, token: token).quic
        return true
      } ?? false
    }
    handlers.cid_retired = { owner, cid in
      guard let cid else { return }
      of(owner) { $0.endpoint.retire(ConnectionID(cid.pointee), of: $0) }
    }
    handlers.verify = { owner, certificates, count in
      of(owner) { tunnel in
        let chain = UnsafeBufferPointer(start: certificates, count: count).map {
          UnsafeRawBufferPointer(start: $0.start, count: $0.count)
        }
        return tunnel.verify(chain)
      } ?? false
    }
  }
}

@discardableResult
private func of<R>(_ owner: UnsafeMutableRawPointer?, _ body: (QUICTunnel) -> R) -> R? {
  guard let owner else { return nil }
  return Unmanaged<QUICTunnel>.fromOpaque(owner)._withUnsafeGuaranteedRef(body)
}

extension QUICTunnel {
  /// Edge: whether the certificates are the hub's.
  func verify(_ chain: [UnsafeRawBufferPointer]) -> Bool {
    guard let client = endpoint.client else { return false }
    switch client.anchors.judge(chain) {
    case .success(let pin):
      peerPin = pin
      return true
    case .failure(let error):
      trustFailure = error
      return false
    }
  }
}
