// An edge's tunnel over QUIC: its socket, the ticket of the one before, and how it moves when the
// address of this machine changes.

import RIBase
import RIControl
import RICrypto
import RIQUIC
import RIRing
import RITunnel

extension Shard {
  /// Begins a link to the hub. What it says first, its line, travels in 0-RTT where there is a
  /// ticket.
  func dialQUIC(_ address: SocketAddress, _ edge: EdgeState) throws {
    let exchange = try EdgeHandshake(edgeID: edge.settings.edgeID, secret: edge.settings.secret)
    let endpoint = QUICEndpoint(
      client: try edge.trust.quicContext(), store: store, pools: ShardPool.quic, budget: budget)
    let socket = try ring.connectDatagram(to: address)
    guard let local = ring.localAddress(of: socket),
      let port = packetPorts.insert(PacketPort(endpoint))
    else {
      discard(socket, .graceful)
      throw RingError(call: "connect", code: ErrorNumber.tooManyFiles)
    }
    let tunnel = endpoint.connect(
      to: address, from: local, serverName: edge.settings.hubHost, resuming: edge.resumption,
      now: now)
    guard openPackets(on: socket, local: local, peer: address, port: port) != nil, let tunnel
    else {
      closePort(port)
      throw RingError(call: "connect", code: ErrorNumber.tooManyFiles)
    }
    let link = Link(
      .quic(QUICTransport(tunnel, port: port)), peer: address, phase: .handshaking,
      handshake: .edge(exchange))
    link.beganAt = now
    guard let id = links.insert(link) else {
      tunnel.end()
      closePort(port)
      throw RingError(call: "connect", code: ErrorNumber.tooManyFiles)
    }
    tunnel.owner = id
    tunnel.sendControl(exchange.line)
    link.timer = schedule(.link, id, at: now + Limits.handshakeTimeout)
    edge.attempts.append(id)
  }

  // MARK: Moving

  /// Hears of changed addresses, once there is a link that can move.
  func watchAddresses(_ edge: EdgeState) {
    guard edge.addressWatch == nil, let socket = try? ring.watchAddresses() else { return }
    edge.addressWatch = socket
    armAddressWatch(edge)
  }

  private func armAddressWatch(_ edge: EdgeState) {
    guard let socket = edge.addressWatch else { return }
    ring.receiveDatagrams(
      on: socket, into: ShardPool.small, token: OperationToken(.addressChange, .none).token)
  }

  func stopWatchingAddresses() {
    guard case .edge(let edge) = role, let socket = edge.addressWatch else { return }
    edge.addressWatch = nil
    discard(socket, .graceful)
  }

  /// Something has changed, or so much that the kernel has left some of it out.
  func addressesChanged(_ completion: Completion) {
    if let slice = completion.slice { store.release(slice) }
    guard case .edge(let edge) = role, edge.addressWatch != nil,
      completion.result != -ErrorNumber.cancelled
    else { return }
    lookAtAddresses(edge, in: Limits.addressSettleTime)
    if !completion.more { edge.isWatchIdle = true }
  }

  /// A look that is due earlier does for both; one that is due later would make this one wait.
  private func lookAtAddresses(_ edge: EdgeState, in span: Interval) {
    let due = now + span
    if let timer = edge.addressTimer {
      guard due < edge.addressesDueAt else { return }
      timers.cancel(timer)
    }
    edge.addressesDueAt = due
    edge.addressTimer = schedule(.addresses, at: due)
  }

  /// Looks whether the way to the hub begins at another address now; if so links go that way.
  func addressTimerFired() {
    guard case .edge(let edge) = role else { return }
    edge.addressTimer = nil
    if edge.isWatchIdle {
      edge.isWatchIdle = false
      armAddressWatch(edge)
    }
    for id in links.ids where links[id].phase == .ready {
      guard case .quic(let quic) = links[id].transport else { continue }
      leaveFormerSockets(of: links[id])
      moveIfNeeded(links[id], quic, edge)
    }
  }

  private func moveIfNeeded(_ link: Link, _ quic: QUICTransport, _ edge: EdgeState) {
    guard packetPorts.contains(quic.port),
      // Without a way to the hub there is nowhere to move to: the next change may bring one.
      let socket = try? ring.connectDatagram(to: link.peer)
    else { return }
    guard let local = ring.localAddress(of: socket), local.ip != quic.tunnel.local.ip else {
      return discard(socket, .graceful)
    }
    // One of a former attempt to go that way.
    for slot in packetPorts[quic.port].sockets where packetSockets[slot].local.ip == local.ip {
      closePackets(slot)
    }
    guard openPackets(on: socket, local: local, peer: link.peer, port: quic.port) != nil else {
      return
    }
    report(.note("moving the tunnel to \(link.peer) from \(quic.tunnel.local) to \(local)"))
    _ = quic.tunnel.migrate(to: local, now: now)
    // By then the new way is proven and the old socket goes, or the new way is tried once more.
    lookAtAddresses(edge, in: Limits.addressProofTime)
  }

  /// Closes the sockets of ways that a link does not go by.
  func leaveFormerSockets(of link: Link) {
    guard case .quic(let quic) = link.transport, packetPorts.contains(quic.port) else { return }
    for slot in packetPorts[quic.port].sockets
    where packetSockets[slot].local != quic.tunnel.local {
      closePackets(slot)
    }
  }
}
