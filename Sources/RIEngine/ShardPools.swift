// The buffer pools of a shard: who owns how many buffers, and why they have the sizes they have.

import RIBase
import RIQUIC

/// Ids and shapes of a shard's pools. Memory is touched when first used only.
enum ShardPool {
  /// Client and target sockets that send little: one multishot receive each draws on these.
  static let small = PoolID(0)
  /// Client and target sockets in bulk: several buffers a receive. Apart from `small`, so that
  /// elephants cannot starve the rest.
  static let bulk = PoolID(1)
  /// Tunnel sockets: a single large receive is what makes bulk cheap. The headroom takes the
  /// unfinished record that the former receive ended with.
  static let tunnelReceive = PoolID(2)
  /// Sealed records on their way into a tunnel socket: one a tunnel that has something to send.
  static let tunnelSend = PoolID(3)
  /// Unfinished records between two receives: one a tunnel at most.
  static let carry = PoolID(4)
  /// Bytes for client and target sockets that took less than they were given; the memory budget.
  static let stash = PoolID(5)
  /// Received datagrams, each in one piece: the largest (or as much as the kernel joins) with what
  /// the kernel says of it in front. Only what arrives is touched.
  static let datagramReceive = PoolID(6)
  /// Datagrams on their way to sockets, packed during a tick.
  static let datagramSend = PoolID(7)
  /// Small datagrams that wait: for their link, or for their target's address.
  static let datagramQueue = PoolID(8)

  /// What operators see them by, in the order of their ids.
  static let names = [
    "small", "bulk", "tunnelReceive", "tunnelSend", "carry", "stash", "datagramReceive",
    "datagramSend", "datagramQueue", "packetReceive", "packetSend", "quicReceive", "quicHold",
    "header",
  ]
  /// Received packets: as many as the kernel joins, with what it says of them in front.
  static let packetReceive = PoolID(9)
  /// Packets on their way to sockets: what one call takes.
  static let packetSend = PoolID(10)
  /// What received packets carried, opened: the data of a receive lies together.
  static let quicReceive = PoolID(11)
  /// Small pieces of what was sent over QUIC, until it is acknowledged.
  static let quicHold = PoolID(12)
  /// PROXY headers that wait for their target's connection: a burst of new streams must not take
  /// the memory of those that are stalled.
  static let header = PoolID(13)
  static let quic = QUICPools(receive: quicReceive, hold: quicHold)

  /// A TLS record at its longest: header, 2^14 bytes and expansion (RFC 8446 section 5.2).
  static let recordBytesMax = 5 + 16_384 + 256

  static let stashBufferBytes = 16 * 1024
  /// Plaintext that is sealed into one `tunnelSend` buffer.
  static let batchBytes = 224 * 1024

  static func shapes(memoryBudgetBytes: Int) -> [BufferPoolShape] {
    [
      BufferPoolShape(count: 1024, bytes: 8 * 1024),
      // Over QUIC what was sent keeps its buffers until it is acknowledged.
      BufferPoolShape(count: 512, bytes: 64 * 1024),
      BufferPoolShape(count: 8, bytes: 256 * 1024, headroomBytes: 17 * 1024),
      BufferPoolShape(count: 512, bytes: 256 * 1024),
      BufferPoolShape(count: Limits.tunnelsMax, bytes: 17 * 1024),
      BufferPoolShape(
        count: max(64, memoryBudgetBytes / stashBufferBytes), bytes: stashBufferBytes),
      BufferPoolShape(count: 512, bytes: 65 * 1024, lentMax: 128),
      BufferPoolShape(count: 64, bytes: 128 * 1024),
      BufferPoolShape(count: 8192, bytes: Limits.smallDatagramBytes),
      BufferPoolShape(count: 64, bytes: 65 * 1024),
      BufferPoolShape(count: 128, bytes: 64 * 1024),
      BufferPoolShape(count: 64, bytes: 256 * 1024),
      BufferPoolShape(count: 1024, bytes: 32 * 1024),
      BufferPoolShape(count: 16 * 1024, bytes: 256),
    ]
  }
}
