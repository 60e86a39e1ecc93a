// UDP at the hub: a connected socket towards the target for each session.

import RIBase
import RIControl
import RIRing
import RITunnel
import RIWire

extension Shard {
  /// A client's first datagram is on its way: `payload` is its header.
  func sessionOpened(_ stream: StreamRef, of tunnel: Tunnel, _ link: Link, _ id: SlotID) {
    guard admitsStreams(link, id) else { return }
    guard case .hub(let hub) = role, let edge = link.edge, case .running = phase,
      case .success(let admission) = admitSession(
        header: tunnel.payload, edge: edge, settings: hub.settings)
    else { return refuseSession(stream, of: tunnel) }
    var session = UDPSession(
      link: id, stream: stream, client: admission.header.source,
      destination: admission.header.destination, now: now)
    session.proxyHeader = admission.target.proxyHeader
    session.targetPort = admission.target.port
    guard let owner = admit(session) else { return refuseSession(stream, of: tunnel) }
    tunnel.accept(stream, owner: owner)
    findTarget(admission.target.host, for: owner, hub)
  }

  private func refuseSession(_ stream: StreamRef, of tunnel: Tunnel) {
    counters.sessionsRefused += 1
    tunnel.reset(stream)
  }

  private func findTarget(_ host: String, for id: SlotID, _ hub: HubState) {
    if let literal = IPAddress(parsing: host) {
      connectSession(id, to: [SocketAddress(literal, 0)], hub)
    } else if let known = hub.resolved[host], known.staleAt > now {
      connectSession(id, to: known.addresses, hub)
    } else if !lookUp(host, hub, { $0.waitingSessions.append(id) }) {
      connectSession(id, to: [], hub)
    }
  }

  /// Sessions that waited for a name have its addresses: without any they end.
  func targetResolved(_ waiting: [SlotID], _ addresses: [SocketAddress], _ hub: HubState) {
    for id in waiting where sessions.contains(id) && sessions[id].socket < 0 {
      connectSession(id, to: addresses, hub)
    }
  }

  /// Takes the first address that can be had: without a route to its family there is no socket.
  private func connectSession(_ id: SlotID, to addresses: [SocketAddress], _ hub: HubState) {
    let port = sessions[id].targetPort
    for address in addresses {
      let target = SocketAddress(address.ip, port, scope: address.scope)
      guard let socket = try? ring.connectDatagram(to: target) else { continue }
      return sessionConnected(id, socket, hub)
    }
    counters.drops.noTarget += UInt64(hub.heldDatagrams[id]?.sliceCount ?? 0)
    counters.sessionsRefused += 1
    endSession(id, tellsPeer: true)
  }

  private func sessionConnected(_ id: SlotID, _ socket: Socket, _ hub: HubState) {
    sessions.connected(id, by: socket.descriptor)
    ring.set(.receiveBufferBytes(Limits.sessionBufferBytes), on: socket)
    ring.set(.sendBufferBytes(Limits.sessionBufferBytes), on: socket)
    armSession(id)
    if sessions[id].proxyHeader == .first { sendHeader(of: id, on: socket) }
    let session = sessions[id]
    guard var held = hub.heldDatagrams.removeValue(forKey: id) else { return }
    hub.heldCount -= Int(held.sliceCount)
    while let datagram = store.popFirst(from: &held) {
      sendToTarget(store.bytes(datagram), of: session, id)
      store.release(datagram)
    }
  }

  private func armSession(_ id: SlotID) {
    ring.receiveDatagrams(
      on: Socket(descriptor: sessions[id].socket), into: ShardPool.datagramReceive,
      token: OperationToken(.targetDatagram, id).token)
  }

  func rearmSession(_ id: SlotID) {
    if sessions.contains(id), sessions[id].socket >= 0 { armSession(id) }
  }

  // MARK: To the target

  func sendToTarget(_ payload: UnsafeRawBufferPointer, of session: UDPSession, _ id: SlotID) {
    let socket = Socket(descriptor: session.socket)
    if session.isHeaderDue { sendHeader(of: id, on: socket) }
    guard session.proxyHeader == .every else {
      return post(
        UnsafeRawBufferPointer(start: nil, count: 0), payload, of: id, on: socket, to: nil,
        from: nil)
    }
    withHeader(of: session) { post($0, payload, of: id, on: socket, to: nil, from: nil) }
  }

  /// A datagram of its own, in front of the first.
  private func sendHeader(of id: SlotID, on socket: Socket) {
    sessions.setHeaderDue(false, of: id)
    let none = UnsafeRawBufferPointer(start: nil, count: 0)
    withHeader(of: sessions[id]) { post($0, none, of: id, on: socket, to: nil, from: nil) }
  }

  private func withHeader(of session: UDPSession, _ body: (UnsafeRawBufferPointer) -> Void) {
    withUnsafeTemporaryAllocation(byteCount: ProxyHeader.v2BytesMax, alignment: 1) { bytes in
      let count = session.header.writeV2(transport: .datagram, into: bytes)
      body(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
    }
  }

  /// Keeps the first datagrams, small ones, while the target's name is looked up.
  func hold(_ payload: UnsafeRawBufferPointer, for id: SlotID, _ hub: HubState) {
    var held = hub.heldDatagrams[id] ?? SliceQueue()
    guard Int(held.sliceCount) < Limits.datagramsHeldPerSession,
      hub.heldCount < Limits.datagramsHeldMax, payload.count <= Limits.smallDatagramBytes,
      let slice = smallCopy(of: payload)
    else {
      counters.drops.noTarget += 1
      return
    }
    store.append(slice, to: &held, joins: false)
    hub.heldDatagrams[id] = held
    hub.heldCount += 1
  }

  func releaseHeld(of id: SlotID, _ hub: HubState) {
    guard hub.heldCount > 0, var held = hub.heldDatagrams.removeValue(forKey: id) else { return }
    hub.heldCount -= Int(held.sliceCount)
    store.removeAll(from: &held)
  }

  // MARK: From the target

  func targetDatagram(_ id: SlotID, _ completion: Completion) {
    guard sessions.contains(id) else {
      if let slice = completion.slice { store.release(slice) }
      return
    }
    if let slice = completion.slice {
      let socket = Socket(descriptor: sessions[id].socket)
      if let datagram = ring.datagram(in: completion, of: socket) {
        sessions.answer(id, now: now)
        queue(datagram, of: id)
      } else {
        counters.drops.tooLong += 1
      }
      store.release(slice)
    }
    guard !completion.more else { return }
    switch completion.result {
    case -ErrorNumber.cancelled: break
    case -ErrorNumber.noBuffers: starvedReceivers.append(OperationToken(.targetDatagram, id))
    // A narrower path was found: what is sent next is cut to it.
    case -ErrorNumber.messageTooLong: armSession(id)
    case -ErrorNumber.connectionRefused where outlivesRefusal(id): armSession(id)
    default: endSession(id, tellsPeer: true)
    }
  }

  /// Nobody listens at the target. Over frames the edge is told, and its client's next datagram
  /// opens another session. Over QUIC there is no word for it: the session stays for when somebody
  /// does, and that one is told first who the client is.
  func outlivesRefusal(_ id: SlotID) -> Bool {
    let link = sessions[id].link
    guard case .hub = role, links.contains(link), links[link].tls == nil else { return false }
    if sessions[id].proxyHeader == .first { sessions.setHeaderDue(true, of: id) }
    return true
  }
}
