// One QUIC link as a tunnel: the verbs and events of `FramedTunnel`, made of native streams and
// datagrams (SPEC 3).

import RIBase
import RICrypto
import RITunnel
import RIWire

/// One end of a link. Made by its `QUICEndpoint`. Sans-I/O.
///
/// Use: as `FramedTunnel`, but for what stands under "the link" below. Output goes by the
/// endpoint's `pollPackets`; whatever a verb queues makes its `hasOutput` true.
///
/// Ownership: slices sent are taken over and kept until the peer has acknowledged them; slices in
/// events are lent until the next `pollEvent` (who keeps one retains it). `end` must be called
/// before the tunnel is dropped.
public final class QUICTunnel {
  public let role: TunnelRole
  /// The engine's name for the link.
  public var owner = SlotID.none

  init(role: TunnelRole) { self.role = role }

  // MARK: The link

  /// The path that is in use.
  public var remote: SocketAddress { SocketAddress(.anyV4, 0) }
  public var local: SocketAddress { SocketAddress(.anyV4, 0) }
  public var isEstablished: Bool { false }
  /// Hub: before this nothing may be opened to a target (0-RTT may be a replay).
  public var isHandshakeConfirmed: Bool { false }
  /// Edge: the hub's key; set once established. Nil on a resumed link, which is the hub's that gave
  /// the ticket.
  public var peerPin: CertificatePin? { nil }
  public var cipherName: String { "" }
  /// Whether the link was opened with a ticket, and whether its 0-RTT data was taken.
  public var isResumed: Bool { false }
  public var isEarlyDataAccepted: Bool { false }
  /// Edge: what opens the next link in 0-RTT, since `.resumable`.
  public var resumption: QUICResumption? { nil }
  /// The smoothed and the least round trip; nil before the first sample.
  public var roundTrip: (smoothed: Interval, least: Interval)? { nil }

  /// Queues raw bytes of the control channel: the EDGE line at the edge, at once after `connect`;
  /// the answer at the hub.
  public func sendControl(_ bytes: [UInt8]) {}

  /// The control channel carries messages from now on: `consumed` bytes of the `.controlBytes`
  /// event just polled were the line, the rest are messages. Called by the edge when it was
  /// accepted, by the hub with (or before) its answer.
  public func beginMessages(consumed: Int) {}

  /// Hub: the edge is who it says. It may open streams and send data from now on; before, it may
  /// send one stream of 64 KiB at most. The edge calls it as well when it is accepted: then the hub
  /// may send datagrams and, with `udpStream`, open streams for them.
  public func admit() {}

  /// Whether both ends have the extension `udpStream`; set before or after `admit`.
  public var usesUDPStreams = false

  /// Edge: goes on from another local address, at once.
  public func migrate(to local: SocketAddress, now: Instant) {}

  /// Changes the keys of both directions (RFC 9001 section 6); false when that is not possible now.
  @discardableResult
  public func updateKeys(now: Instant) -> Bool { false }

  /// Ends the tunnel: releases everything queued, forgets all streams without an event, and tells
  /// the peer by CONNECTION_CLOSE: 0 in order, 2 for an edge that is refused (SPEC 3). What the
  /// control channel has queued goes out first as far as the network takes it at once.
  public func end(applicationError: UInt64 = 0, reason: String = "") {}

  // MARK: Events

  /// The next event, or nil when there is nothing to tell.
  public func pollEvent(now: Instant) -> QUICEvent? { nil }

  /// The bytes of the last opened, sessionOpened, datagram, config, ping, pong, hello or
  /// controlBytes event; valid until the next `pollEvent` or the endpoint's next `receive`.
  public var payload: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

  // MARK: Streams

  /// Edge: opens a stream with its PROXY v1 line, at most 107 bytes. Returns nil when the tunnel
  /// has no place for one more or the hub allows none: the client is to be refused.
  public func open(
    header: UnsafeRawBufferPointer, owner: SlotID, now: Instant
  ) -> StreamRef? {
    nil
  }

  /// Hub: binds the local connection of a stream just opened, or of a session.
  public func accept(_ stream: StreamRef, owner: SlotID) {}

  /// The local connection of a stream, or `.none` when the stream is gone.
  public func owner(of stream: StreamRef) -> SlotID { .none }

  /// Queues data and takes over its reference. A dead or finished stream's is released.
  public func send(_ slice: Slice, on stream: StreamRef) {}

  /// Ends our direction behind the data already queued.
  public func finish(_ stream: StreamRef) {}

  /// Ends the stream at once in both directions and drops its queued data. It is dead.
  public func reset(_ stream: StreamRef) {}

  /// Reports bytes of `.data` events as written to the local socket, so that credit may return.
  public func consumed(_ bytes: Int, on stream: StreamRef, now: Instant) {}

  /// How many bytes may be read from the local socket now. When that is less than `least`, `.room`
  /// will tell when it is not.
  public func sendRoom(_ stream: StreamRef, atLeast least: Int = 1) -> Int { 0 }

  /// What a stream is called on the wire, and the bytes it has moved, both ways; nil when it is
  /// gone.
  public func details(of stream: StreamRef) -> (id: UInt32, bytes: UInt64)? { nil }

  /// Whether what was sent on a stream is being read: it is more than a window and what the kernel
  /// may hold for a client that reads nothing.
  public func isRead(_ stream: StreamRef) -> Bool { false }

  /// The tier that a stream's data goes in.
  public func tier(of stream: StreamRef) -> Tier { .data }

  /// Lends each stream's queue of data that was never sent, to be replaced by one of the same bytes
  /// elsewhere. (What was sent stays where it is until acknowledged.) O(all streams).
  public func replaceQueues(_ body: (inout SliceQueue) -> Void) {}

  // MARK: Sessions

  /// Edge: opens a session with its PROXY v2 header, at most 52 bytes. Returns nil when the tunnel
  /// has no place for one more.
  public func openSession(
    header: UnsafeRawBufferPointer, owner: SlotID, now: Instant
  ) -> StreamRef? {
    nil
  }

  /// Queues one datagram and takes over its reference. False when it was dropped: the session is
  /// dead, its queue is full, or the datagram is too large for the path and for `udpStream`.
  @discardableResult
  public func sendDatagram(
    _ slice: Slice, on session: StreamRef, queueBytesMax: Int = Limits.datagramBytesQueuedMax
  ) -> Bool {
    false
  }

  /// Drops all datagrams that wait, and returns their number. O(all streams).
  public func dropDatagrams() -> Int { 0 }

  /// Payload bytes of datagrams that wait for their turn.
  public var datagramBytesQueued: Int { 0 }

  /// The largest payload that a DATAGRAM takes on this path now; 0 when the peer takes none.
  public var datagramBytesMax: Int { 0 }

  // MARK: Control messages

  /// Hub: queues a PING with at most 64 bytes; dropped and counted when too much waits already.
  public func sendPing(_ payload: UnsafeRawBufferPointer) {}
  /// Edge: queues the answer to a PING.
  public func sendPong(_ payload: UnsafeRawBufferPointer) {}
  /// Hub: queues a CONFIG.
  public func sendConfig(_ payload: [UInt8]) {}
  /// Queues a HELLO.
  public func sendHello(_ payload: [UInt8]) {}

  // MARK: Figures

  /// Whether the endpoint's `pollPackets` may have something of this tunnel.
  public var hasOutput: Bool { false }
  /// Sustained data waits for others to have had their way: poll again a little later.
  public var isHeldBack: Bool { false }
  public var activeStreams: Int { 0 }
  public var streamsHeld: Int { 0 }
  public var activeSessions: Int { 0 }
  public var sessionsHeld: Int { 0 }
  public var sustainedStreams: Int { 0 }
  /// Payload bytes of streams that were never sent.
  public var queuedBytes: QueuedBytes { QueuedBytes() }
  /// Payload bytes of streams that were sent and are not acknowledged; they hold buffers.
  public var unackedBytes: Int { 0 }
  /// UDP payload bytes, both ways.
  public var bytesReceived: UInt64 { 0 }
  public var bytesSent: UInt64 { 0 }
  public var counters: TunnelCounters { TunnelCounters() }
  /// Control messages of unknown type that were passed over.
  public var skippedMessages: UInt64 { 0 }
}
