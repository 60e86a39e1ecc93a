// UDP at the edge: what clients send to the assigned ports, and what they are answered.

import RIBase
import RIControl
import RIRing
import RITunnel
import RIWire

extension Shard {
  /// A datagram, or several of one client, for a listener.
  func clientDatagram(_ listener: SlotID, _ completion: Completion) {
    guard listeners.contains(listener) else {
      if let slice = completion.slice { store.release(slice) }
      return
    }
    if let slice = completion.slice {
      if listeners[listener].isClosing {
        // Its sessions have ended.
      } else if let datagram = ring.datagram(in: completion, of: listeners[listener].socket) {
        forward(datagram, from: listener)
      } else {
        counters.drops.tooLong += 1
      }
      store.release(slice)
    }
    guard !completion.more else { return }
    listeners[listener].isAccepting = false
    guard !listeners[listener].isClosing else { return }
    switch completion.result {
    case -ErrorNumber.cancelled: break
    case -ErrorNumber.noBuffers:
      starvedReceivers.append(OperationToken(.clientDatagram, listener))
    default: schedule(.accept, listener, at: now + Limits.acceptPause)
    }
  }

  func armDatagrams(_ listener: SlotID) {
    ring.receiveDatagrams(
      on: listeners[listener].socket, into: ShardPool.datagramReceive,
      token: OperationToken(.clientDatagram, listener).token)
  }

  private func forward(_ datagram: Datagram, from listener: SlotID) {
    guard case .edge(let edge) = role else { return }
    if let id = sessions.find(datagram.source, listener: listener) {
      sessions.touch(id, now: now)
      return queue(datagram, of: id)
    }
    guard let link = edge.tunnel, let tunnel = links[link].tunnel, case .running = phase else {
      counters.drops.noTunnel += datagram.count
      return
    }
    guard let id = openSession(datagram, listener, link, tunnel) else {
      counters.drops.noSession += datagram.count
      return
    }
    queue(datagram, of: id)
  }

  private func openSession(
    _ datagram: Datagram, _ listener: SlotID, _ link: SlotID, _ tunnel: Tunnel
  ) -> SlotID? {
    let address = listeners[listener].address
    let destination = SocketAddress(datagram.local ?? address.ip, address.port)
    let header = ProxyHeader(source: datagram.source, destination: destination)
    let stream = withUnsafeTemporaryAllocation(
      byteCount: ProxyHeader.v2BytesMax, alignment: 1
    ) { bytes in
      let count = header.writeV2(transport: .datagram, into: bytes)
      return tunnel.openSession(
        header: UnsafeRawBufferPointer(rebasing: bytes[..<count]), owner: .none, now: now)
    }
    guard let stream else { return nil }
    var session = UDPSession(
      link: link, stream: stream, client: datagram.source, destination: destination, now: now)
    session.listener = listener
    guard let id = admit(session) else {
      tunnel.reset(stream)
      markDirty(link)
      return nil
    }
    tunnel.accept(stream, owner: id)
    return id
  }

  /// Answers a client from the address that it spoke to.
  func sendToClient(_ payload: UnsafeRawBufferPointer, of id: SlotID) {
    let session = sessions[id]
    guard listeners.contains(session.listener), !listeners[session.listener].isClosing else {
      return
    }
    post(
      UnsafeRawBufferPointer(start: nil, count: 0), payload, of: id,
      on: listeners[session.listener].socket, to: session.client, from: session.destination.ip)
  }
}

extension Datagram {
  /// How many the kernel has joined.
  fileprivate var count: UInt64 {
    segmentBytes > 0 ? UInt64((Int(payload.count) + segmentBytes - 1) / segmentBytes) : 1
  }
}
