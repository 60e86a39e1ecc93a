// UDP at the hub: a connected socket towards the target for each session.

import RIBase
import RIControl
import RIRing
import RITunnel
import RIWire

extension Shard {
  /// A client's first datagram is on its way: `payload` is its header.
  func sessionOpened(_ stream: StreamRef, of tunnel: FramedTunnel, _ link: Link, _ id: SlotID) {
    guard case .hub(let hub) = role, let edge = link.edge, case .running = phase,
      case .success(let admission) = admitSession(
        header: tunnel.payload, edge: edge, settings: hub.settings)
    else {
      counters.sessionsRefused += 1
      tunnel.reset(stream)
      return
    }
    evictSession(for: admission.header.source)
    var session = UDPSession(
      link: id, stream: stream, client: admission.header.source,
      destination: admission.header.destination, now: now)
    session.proxyHeader = admission.target.proxyHeader
    session.targetPort = admission.target.port
    let owner = sessions.open(session)
    tunnel.accept(stream, owner: owner)
    sessionOpened(owner)
    findTarget(admission.target.host, for: owner, hub)
  }

  /// A name that is known goes by what was last known, also while it is looked up anew.
  private func findTarget(_ host: String, for id: SlotID, _ hub: HubState) {
    if let literal = IPAddress(parsing: host) {
      return connectSession(id, to: SocketAddress(literal, sessions[id].targetPort), hub)
    }
    let known = hub.resolved[host]
    if known == nil || known.map({ $0.staleAt <= now }) == true {
      let isAsked = lookUp(host, hub) { $0.waitingSessions.append(id) }
      if !isAsked, known == nil { return endSession(id, tellsPeer: true) }
    }
    if let address = known?.addresses.first {
      connectSession(id, to: SocketAddress(address.ip, sessions[id].targetPort), hub)
    }
  }

  /// Sessions that waited for a name have it, or end. Those that went by an older address stay
  /// there.
  func targetResolved(_ waiting: [SlotID], _ addresses: [SocketAddress], _ hub: HubState) {
    for id in waiting where sessions.contains(id) && sessions[id].socket < 0 {
      guard let first = addresses.first else {
        endSession(id, tellsPeer: true)
        continue
      }
      connectSession(id, to: SocketAddress(first.ip, sessions[id].targetPort), hub)
    }
  }

  private func connectSession(_ id: SlotID, to address: SocketAddress, _ hub: HubState) {
    guard let socket = try? ring.connectDatagram(to: address) else {
      return endSession(id, tellsPeer: true)
    }
    sessions[id].socket = socket.descriptor
    armSession(id)
    if sessions[id].proxyHeader == .first {
      withHeader(of: id) {
        post($0, UnsafeRawBufferPointer(start: nil, count: 0), of: id, on: socket, to: nil, from: nil)
      }
    }
    guard var held = hub.heldDatagrams.removeValue(forKey: id) else { return }
    while let datagram = store.popFirst(from: &held) {
      sendToTarget(store.bytes(datagram), of: id)
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

  func sendToTarget(_ payload: UnsafeRawBufferPointer, of id: SlotID) {
    let socket = Socket(descriptor: sessions[id].socket)
    guard sessions[id].proxyHeader == .every else {
      return post(
        UnsafeRawBufferPointer(start: nil, count: 0), payload, of: id, on: socket, to: nil,
        from: nil)
    }
    withHeader(of: id) { post($0, payload, of: id, on: socket, to: nil, from: nil) }
  }

  private func withHeader(of id: SlotID, _ body: (UnsafeRawBufferPointer) -> Void) {
    withUnsafeTemporaryAllocation(byteCount: ProxyHeader.v2BytesMax, alignment: 1) { bytes in
      let count = sessions[id].header.writeV2(transport: .datagram, into: bytes)
      body(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
    }
  }

  /// Keeps the first datagrams while the target's name is looked up.
  func hold(_ payload: UnsafeRawBufferPointer, for id: SlotID, _ hub: HubState) {
    let pool = store[ShardPool.datagramQueue]
    var held = hub.heldDatagrams[id] ?? SliceQueue()
    guard Int(held.sliceCount) < Limits.datagramsHeldMax, payload.count <= pool.shape.bytes,
      let buffer = pool.take()
    else {
      counters.drops.noTarget += 1
      return
    }
    let slice = Slice(buffer: buffer, offset: 0, count: payload.count)
    store.mutableBytes(slice).copyMemory(from: payload)
    store.append(slice, to: &held, joins: false)
    hub.heldDatagrams[id] = held
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
    default: endSession(id, tellsPeer: true)
    }
  }
}
