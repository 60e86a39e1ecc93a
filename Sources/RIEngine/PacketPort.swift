// UDP sockets that carry tunnels over QUIC, and the endpoint behind them.

import RIBase
import RIQUIC
import RIRing

/// A QUIC endpoint and its sockets: a hub's shard has one, an edge one for each link. One object a
/// port, owned by its shard.
final class PacketPort {
  let endpoint: QUICEndpoint
  /// Slots of `Shard.packetSockets`: a hub's for IPv4 and IPv6; an edge's one, more while it moves.
  @exclusivity(unchecked) var sockets: [SlotID] = []
  /// Its link is gone: it closes when its last packets have left.
  @exclusivity(unchecked) var isClosing = false

  init(_ endpoint: QUICEndpoint) { self.endpoint = endpoint }
}

/// One of its sockets. Trivial.
struct PacketSocket {
  let socket: Socket
  /// Where it is bound; a hub's address may be the wildcard.
  let local: SocketAddress
  /// The one peer that it is connected to: an edge's hub; an edge whose hub drains, or has not
  /// heard of it for a while.
  let peer: SocketAddress?
  let port: SlotID
  /// Batches that it may be sending at once.
  let pendingMax: Int
  /// Batches that it is sending.
  var pending = 0
  var isReceiving = false
  var isClosing = false
  /// Whether the kernel cuts batches into packets (UDP_SEGMENT).
  var cutsSegments = true
  /// How often in a row nobody has listened at the other end.
  var refusals = 0
  /// It is there to hear that nobody listens, until somebody does.
  var listensForRefusals = false
}

/// A batch that a socket is sending, or one of its packets.
struct PacketSend {
  let socket: SlotID
  /// With a reference.
  let bytes: Slice
  let segmentBytes: Int
  let batch: QUICPacketBatch
}

/// Packets of a client that wait for their turn, as they cost a handshake.
struct WaitingPackets {
  let bytes: [UInt8]
  let segmentBytes: Int
  let remote: SocketAddress
  let local: SocketAddress
  let congestionMarks: UInt8
  let port: SlotID
}

/// Packets that another shard's socket has received.
struct ForeignPackets: Sendable {
  let bytes: [UInt8]
  let segmentBytes: Int
  let remote: SocketAddress
  let local: SocketAddress
  let congestionMarks: UInt8
}
