// A hub's tunnels over QUIC: the UDP port beside the TCP port, and edges that come.

import RIBase
import RIControl
import RIQUIC
import RIRing
import RITunnel

extension Shard {
  /// Opens the tunnel port over UDP, where each address of it has TCP. A port that another process
  /// has costs QUIC, not the hub.
  func startHubPackets(_ hub: HubState) throws(RingError) {
    guard let quic = hub.quic, let tunnelPort, index < hub.shardCount,
      hub.shardCount <= Int(UInt8.max)
    else { return }
    let endpoint = QUICEndpoint(
      server: quic, store: store, pools: ShardPool.quic, budget: budget, shard: UInt8(index),
      shards: UInt8(hub.shardCount))
    guard let id = packetPorts.insert(PacketPort(endpoint)) else { return }
    do throws(RingError) {
      for var address in hub.tunnelAddresses {
        address.port = tunnelPort
        try openHubPackets(on: address, id, shards: hub.shardCount)
      }
    } catch {
      closePort(id)
      throw error
    }
    hub.packetPort = id
  }

  /// A port that is free for UDP, where any will do for TCP as well; 0 when it does not matter.
  func freePacketPort(on address: SocketAddress, _ hub: HubState) -> Port {
    guard hub.quic != nil, let socket = try? ring.bindDatagram(to: address, reusePort: true) else {
      return 0
    }
    defer { discard(socket, .graceful) }
    return ring.localAddress(of: socket)?.port ?? 0
  }

  /// A packet goes to its link's shard, also when its sender has moved, and to no other process
  /// that opens the port while we are there.
  private func openHubPackets(
    on address: SocketAddress, _ id: SlotID, shards: Int
  ) throws(RingError) {
    do throws(RingError) {
      let socket = try ring.bindDatagram(to: address, reusePort: true)
      ring.set(.pickedByConnectionID(count: shards), on: socket)
      _ = openPackets(on: socket, local: address, peer: nil, port: id)
    } catch {
      guard isWithoutFamily(address, error) else { throw error }
    }
  }

  /// An edge has begun a link.
  func admitLink(_ tunnel: QUICTunnel, _ port: SlotID) -> (Link, SlotID)? {
    guard case .hub(let hub) = role, case .running = phase, hub.gate.admit(tunnel.remote.ip) else {
      counters.handshakesRefused += 1
      tunnel.end()
      return nil
    }
    let offer = hub.offer.intersection(.quic)
    let link = Link(
      .quic(QUICTransport(tunnel, port: port)), peer: tunnel.remote, phase: .handshaking,
      handshake: .hub(HubHandshake(offering: offer)), offer: offer)
    link.beganAt = now
    guard let id = links.insert(link) else {
      hub.gate.leave(link.peer.ip)
      tunnel.end()
      return nil
    }
    tunnel.owner = id
    link.timer = schedule(.link, id, at: now + Limits.handshakeTimeout)
    return (link, id)
  }

  /// Leaves the port to the process that comes next, as for TCP: the links that there are get
  /// sockets of their own, connected, which the kernel prefers for their packets.
  func stopAdmittingPackets() {
    guard case .hub(let hub) = role, let id = hub.packetPort, packetPorts.contains(id) else {
      return
    }
    let shared = packetPorts[id].sockets
    for link in links.ids where links[link].phase == .ready {
      guard case .quic(let quic) = links[link].transport else { continue }
      let (local, remote) = (quic.tunnel.local, quic.tunnel.remote)
      guard let socket = try? ring.connectDatagram(to: remote, from: local) else { continue }
      _ = openPackets(on: socket, local: local, peer: remote, port: id)
    }
    // Handshakes under way are those of edges that come too late.
    for link in links.ids where links[link].phase != .ready {
      if case .quic = links[link].transport { endLink(link, .stopping) }
    }
    waitingPackets = []
    flushPackets()
    for slot in shared {
      ring.set(.pickedByAddresses, on: packetSockets[slot].socket)
      closePackets(slot)
    }
  }

  /// Whether a socket is still open that takes new edges.
  var isAdmittingPackets: Bool {
    packetSockets.ids.contains { packetSockets[$0].peer == nil }
  }
}
