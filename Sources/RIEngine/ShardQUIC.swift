// Links over QUIC: what their endpoint tells of them, and their end. Of the handshake the endpoint
// does what TLS and TCP do for the others; the lines, and all that comes after, are the same.

import RIBase
import RIControl
import RIQUIC
import RIRing
import RITunnel

extension Shard {
  // MARK: Events

  /// Handles what the endpoint has to tell of its links.
  func pollTunnels(of port: PacketPort, _ portID: SlotID) {
    while let tunnel = port.endpoint.pollTunnel() {
      guard let (link, id) = link(of: tunnel, portID) else {
        while tunnel.pollEvent(now: now) != nil {}
        continue
      }
      handleEvents(of: tunnel, link, id)
      markDirty(link, id)
    }
  }

  /// The link that a tunnel belongs to; a new one at the hub. Nil when it has none any more.
  private func link(of tunnel: QUICTunnel, _ port: SlotID) -> (Link, SlotID)? {
    if tunnel.owner == .none { return admitLink(tunnel, port) }
    guard links.contains(tunnel.owner), case .quic(let quic) = links[tunnel.owner].transport,
      quic.tunnel === tunnel, links[tunnel.owner].phase != .closing
    else { return nil }
    return (links[tunnel.owner], tunnel.owner)
  }

  private func handleEvents(of tunnel: QUICTunnel, _ link: Link, _ id: SlotID) {
    while link.phase != .closing, let event = tunnel.pollEvent(now: now) {
      switch event {
      case .tunnel(let event): handle(event, of: .quic(tunnel), link, id)
      case .controlBytes: controlBytesReceived(tunnel, link, id)
      case .established: linkEstablished(link, id)
      case .resumable:
        if case .edge(let edge) = role { edge.resumption = tunnel.resumption }
      case .moved: linkMoved(tunnel, link, id)
      case .ended(let reason): endLink(id, LinkEndReason(reason, role: tunnel.role))
      }
    }
  }

  /// Bytes of the line exchange (SPEC 2.1).
  private func controlBytesReceived(_ tunnel: QUICTunnel, _ link: Link, _ id: SlotID) {
    // Who was refused gets no second line.
    guard link.refusal == nil, link.heldRefusal == nil else { return }
    let consumed = handleLine(of: link, id, tunnel.payload)
    if link.phase == .ready {
      tunnel.beginMessages(consumed: consumed)
      tunnel.admit()
    }
    sendLine(of: link, tunnel, id)
  }

  /// Hands a line to the tunnel. The link of an edge that is refused ends a little later: what is
  /// sent right behind a handshake may have to wait for its pace.
  func sendLine(of link: Link, _ tunnel: QUICTunnel, _ id: SlotID) {
    guard link.phase != .closing, !link.line.isEmpty else { return }
    tunnel.sendControl(link.line)
    link.line = []
    guard link.refusal != nil else { return }
    if let timer = link.timer { timers.cancel(timer) }
    link.timer = schedule(.link, id, at: now + Limits.refusalTime)
  }

  /// The link goes by another path now.
  private func linkMoved(_ tunnel: QUICTunnel, _ link: Link, _ id: SlotID) {
    guard link.phase == .ready else { return }
    let former = link.peer
    link.peer = tunnel.remote
    switch role {
    case .edge: leaveFormerSockets(of: link)
    case .hub:
      if case .quic(let quic) = link.transport {
        stopListeningForRefusals(of: former, quic.port)
      }
      if let edge = link.edge {
        report(.edgeMoved(edgeID: edge.id, from: former, to: link.peer))
      }
    }
  }

  // MARK: After sending

  /// Takes note of what links have sent, which makes room for those who wait to queue for them.
  func settleTunnels() {
    if !sentLinks.isEmpty {
      swap(&scratch, &sentLinks)
      for id in scratch where links.contains(id) { settle(links[id], id) }
      scratch.removeAll(keepingCapacity: true)
    }
    guard !linedLinks.isEmpty else { return }
    swap(&scratch, &linedLinks)
    for id in scratch where links.contains(id) {
      let link = links[id]
      link.isLined = false
      settle(link, id)
      if link.backlog.waitingCount > 0 { noteLine(of: link, id) }
    }
    scratch.removeAll(keepingCapacity: true)
  }

  private func settle(_ link: Link, _ id: SlotID) {
    guard case .quic(let quic) = link.transport, link.phase == .ready else { return }
    let sent = quic.tunnel.bytesSent
    if sent > quic.bytesCounted || quic.tunnel.queuedBytes.total == 0 {
      link.backlog.sent(Int(sent - quic.bytesCounted), now: now)
      link.backlog.sendBegan(now: now)
      quic.bytesCounted = sent
    }
    if quic.tunnel.isHeldBack, link.heldBackTimer == nil {
      link.heldBackTimer = schedule(.heldBack, id, at: now + Limits.heldBackInterval)
    }
    readOn(link)
  }

  /// Connections wait to queue for a link. What it sends without our doing, as the path allows, has
  /// to be looked for.
  func noteLine(of link: Link, _ id: SlotID) {
    guard case .quic = link.transport, !link.isLined else { return }
    link.isLined = true
    linedLinks.append(id)
  }

  // MARK: The end

  /// Says why to the peer, and gives the link's place back at the end of the tick: it may be looked
  /// at until then.
  func close(_ quic: QUICTransport, _ id: SlotID, _ reason: LinkEndReason) {
    quic.tunnel.end(applicationError: reason.applicationError, reason: reason.toldToPeer)
    endedLinks.append(id)
    if case .hub = role { stopListeningForRefusals(of: links[id].peer, quic.port) }
    // An edge's port is for this link alone.
    if case .edge = role, packetPorts.contains(quic.port) {
      packetPorts[quic.port].isClosing = true
    }
  }

  func forgetEndedLinks() {
    guard !endedLinks.isEmpty else { return }
    for id in endedLinks {
      let bytes = links[id].wireBytes
      metrics.bytesIn &+= bytes.received
      metrics.bytesOut &+= bytes.sent
      links.remove(id)
    }
    endedLinks.removeAll(keepingCapacity: true)
  }
}

extension LinkEndReason {
  /// Why a link over QUIC ended, in the words of all links.
  init(_ reason: QUICEndReason, role: TunnelRole) {
    self =
      switch reason {
      case .closed(applicationError: QUICApplicationError.none): .peerClosed
      case .closed(applicationError: QUICApplicationError.refused) where role == .edge:
        .unauthorized
      case .idle: .silent
      case .handshakeTimeout: .handshakeTimedOut
      case .handshake(let error): .tls(error)
      case .malformed(let error): .protocolViolation(.malformed(error))
      default: .quic(reason)
      }
  }

  /// The error of our CONNECTION_CLOSE.
  fileprivate var applicationError: UInt64 {
    switch self {
    case .refused: QUICApplicationError.refused
    case .protocolViolation, .handshakeFailed: QUICApplicationError.violation
    default: QUICApplicationError.none
    }
  }

  /// What our CONNECTION_CLOSE says.
  fileprivate var toldToPeer: String {
    switch self {
    case .refused: "unauthorized"
    case .protocolViolation, .handshakeFailed, .replaced, .revoked, .stopping: description
    default: ""
    }
  }
}

/// Application errors of CONNECTION_CLOSE (RFC 9000 section 20.2).
enum QUICApplicationError {
  static let none: UInt64 = 0
  static let violation: UInt64 = 1
  /// SPEC 3.
  static let refused: UInt64 = 2
}
