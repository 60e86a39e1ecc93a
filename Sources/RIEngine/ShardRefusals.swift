// What a host says that has nobody at a port any more (ICMP port unreachable), and who believes it.
//
// A connected socket hears of it by its next call. An edge's is one. A hub's is for all edges and
// hears nothing, as one forged packet would fail a send to somebody else: an edge that has been
// silent for longer than edges are gets one of its own, until it speaks or is known to be gone.

import RIBase
import RIControl
import RIQUIC
import RIRing

extension Shard {
  /// The other end's host says that nobody listens. Anyone on the way could say so: a link that is
  /// up believes it when it is said again and again and nothing else comes.
  func packetsRefused(_ slot: SlotID) {
    guard packetSockets.contains(slot) else { return }
    packetSockets[slot].refusals += 1
    guard packetSockets[slot].peer != nil, let (link, id) = link(on: slot) else { return }
    if link.phase != .ready || packetSockets[slot].refusals >= Limits.refusalsBelieved {
      endLink(id, .socket(code: ErrorNumber.connectionRefused))
    } else {
      // To be told again at once, or not at all.
      knock(on: slot, of: link)
    }
  }

  /// The link whose packets a connected socket carries.
  private func link(on slot: SlotID) -> (Link, SlotID)? {
    let socket = packetSockets[slot]
    for id in links.ids where links[id].phase != .closing {
      guard case .quic(let quic) = links[id].transport, quic.port == socket.port else { continue }
      if case .hub = role, quic.tunnel.remote != socket.peer { continue }
      return (links[id], id)
    }
    return nil
  }

  /// Hub: gives a link over QUIC that has fallen silent a socket of its own.
  func listenForRefusals(of link: Link) {
    guard case .hub = role, case .quic(let quic) = link.transport,
      packetPorts.contains(quic.port)
    else { return }
    let (local, remote) = (quic.tunnel.local, quic.tunnel.remote)
    var listening = 0
    for slot in packetPorts[quic.port].sockets {
      if packetSockets[slot].peer == remote { return knock(on: slot, of: link) }
      if packetSockets[slot].listensForRefusals { listening += 1 }
    }
    guard listening < Limits.quicListenersForRefusalsMax,
      let socket = try? ring.connectDatagram(to: remote, from: local),
      let slot = openPackets(on: socket, local: local, peer: remote, port: quic.port)
    else { return }
    packetSockets[slot].listensForRefusals = true
    knock(on: slot, of: link)
  }

  /// Sends a byte that is no packet and that whoever is there passes over, whatever the link itself
  /// may send now: after a while without an answer that is little.
  private func knock(on slot: SlotID, of link: Link) {
    guard case .quic(let quic) = link.transport, let buffer = store[ShardPool.packetSend].take()
    else { return }
    let bytes = Slice(buffer: buffer, offset: 0, count: 1)
    store.mutableBytes(bytes)[0] = 0
    send(
      PacketSend(
        socket: slot, bytes: bytes, segmentBytes: 1,
        batch: QUICPacketBatch(
          remote: quic.tunnel.remote, local: quic.tunnel.local, byteCount: 1, segmentBytes: 1,
          ecn: 0)))
  }

  /// Hub: a link is gone from an address.
  func stopListeningForRefusals(of peer: SocketAddress, _ port: SlotID) {
    guard packetPorts.contains(port) else { return }
    for slot in packetPorts[port].sockets
    where packetSockets[slot].listensForRefusals && packetSockets[slot].peer == peer {
      closePackets(slot)
    }
  }
}
