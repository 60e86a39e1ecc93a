// The one door to the kernel: every socket operation, the clock, randomness, DNS and wake-ups.
//
// # The completion contract
//
// 1. An operation is queued by a call that returns at once and is handed to the kernel by the next
//    `wait`. It names a `Token`, which comes back in each of its completions and is not used for
//    another operation until the last of them.
// 2. Every operation ends with exactly one completion whose `more` is false (its *terminal*
//    completion), whatever happens to it: success, error, cancellation, close. `accept` and
//    `receive` may deliver completions with `more` before it.
// 3. `result` is a count of bytes, a descriptor, or a negated errno. A receive of 0 bytes is the
//    peer's end of stream, and terminal. A reset is never reported as one: the receive ends with
//    -ECONNRESET and the send with that or -EPIPE, whichever learns of it first.
// 4. A received buffer belongs to the caller, who releases it to its pool when done. Rings pick
//    buffers only when data has arrived: a receive at rest holds none. When the pool is empty the
//    receive ends with -ENOBUFS (terminal, nothing lost): arm it again once buffers have returned.
//    The `wait` that says so has found the pool empty itself: a buffer that came back before it is
//    used.
// 5. Slices given to `send` stay with the caller, who keeps them alive until the terminal
//    completion.
// 6. `cancel` ends an operation early: its terminal completion carries what had happened by then,
//    or -ECANCELED. Cancelling what has ended is harmless.
// 7. `close` cancels what is pending on the socket, waits for all those terminal completions,
//    closes the descriptor, and only then completes with its own token: after it no completion
//    names an operation of that socket, so its slot can be used again.
// 8. Completions of one socket's receives arrive in the order of the bytes. At most one `receive`
//    and one `send` may be pending on a socket.
// 9. A send that is patient and finds room for all of it at once need not end a `wait`: its
//    completion may come with whatever does, such as the closing of its socket.
// 10. A ring belongs to the thread that calls `wait`; only a `RingWaker` may be used by others.

import RIBase

/// An open socket: a descriptor, or a number the simulated kernel gave.
public struct Socket: Hashable, Sendable {
  public let descriptor: Int32
  public init(descriptor: Int32) { self.descriptor = descriptor }
}

/// What a caller names its operation by. Opaque to the ring; `.max` is reserved for it.
public struct Token: Hashable, Sendable {
  public let rawValue: UInt64
  @inlinable
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// One step of one operation. Trivial.
public struct Completion: Sendable {
  public var token: Token
  /// Bytes, a descriptor, or a negated errno.
  public var result: Int32
  /// Whether the operation goes on; false exactly once.
  public var more: Bool
  /// The received bytes: `offset` 0, `count` = `result`; set for receives with `result` > 0. The
  /// caller owns its reference.
  public var slice: Slice?
}

/// A received datagram, cut out of a completion of `receiveDatagrams`.
public struct Datagram: Sendable {
  public var source: SocketAddress
  /// The address it was sent to (IP_PKTINFO), when the socket reports it; the port is the socket's.
  public var local: IPAddress?
  /// The payload; several datagrams of `segmentBytes` each (the last may be shorter) when the
  /// kernel joined them (UDP_GRO).
  public var payload: Slice
  public var segmentBytes: Int
  /// The two bits of explicit congestion notification (RFC 3168) that it came with, when the socket
  /// reports them (`SocketOption.congestionMarks`), else 0.
  public var congestionMarks: UInt8 = 0
}

/// How a send treats a socket that is full.
public enum SendMode: Sendable {
  /// Send what fits now: completes within the next `wait` with the count, or -EAGAIN.
  case attempt
  /// Send what fits once some fits: completes with a count of at least 1.
  case some
  /// Send everything: completes when the last byte is with the kernel, or on error.
  case all
}

/// How a socket ends.
public enum CloseMode: Sendable {
  /// Unsent bytes are still delivered (FIN). The kernel resets all the same when received bytes
  /// were left unread (RFC 2525, section 2.17).
  case graceful
  /// The peer sees a reset (RST).
  case reset
}

/// What can be set on a socket. Unsupported options are ignored.
public enum SocketOption: Sendable {
  case noDelay(Bool)
  /// TCP_NOTSENT_LOWAT in bytes.
  case notSentLowWater(Int)
  case receiveBufferBytes(Int)
  /// Keeps the kernel from growing a connection's receive buffer (SO_RCVBUF, in bytes), until
  /// `receiveBufferReleased`; where that cannot be taken back (before Linux 5.14) neither acts.
  case receiveBufferHeld(Int)
  case receiveBufferReleased
  case sendBufferBytes(Int)
  /// TCP_CONGESTION.
  case congestionControl(String)
  /// Reports the congestion marks of datagrams (IP_RECVTOS, IPV6_RECVTCLASS).
  case congestionMarks
  /// Sends datagrams whole or not at all, up to what the device takes (IP_PMTUDISC_PROBE): whoever
  /// asks finds out by itself what the path carries.
  case unfragmented
  /// Of the first so many sockets that share this one's port, a packet goes to that which its QUIC
  /// connection id names (RFC 8999): the XOR of the id's first two bytes, modulo their number.
  /// Sockets that come later get nothing; without this all share alike, by addresses and ports.
  case pickedByConnectionID(count: Int)
  /// Takes that back.
  case pickedByAddresses
}

/// A socket call failed.
public struct RingError: Error, Sendable, CustomStringConvertible {
  /// The call, as in its man page: `bind`, `listen`, …
  public var call: String
  /// errno.
  public var code: Int32

  public init(call: String, code: Int32) {
    self.call = call
    self.code = code
  }

  public var description: String { "\(call): \(errnoText(code))" }
}

/// Ends a `wait` from any thread.
public protocol RingWaker: Sendable {
  func wake()
}

/// A queue of socket operations and their completions. See the contract at the top of the file.
public protocol IORing: AnyObject {
  /// `uring`, `epoll` or `simulated`.
  var backendName: String { get }
  /// What the kernel offers and this ring uses, one `name: value` a line, for logs and doctor.
  var features: [String] { get }
  var store: BufferStore { get }

  // MARK: Time and chance

  /// The time at the last `wait` that returned, or at the last `updateNow`.
  var now: Instant { get }
  func updateNow() -> Instant
  /// Seconds since 1970, for reports only.
  var wallClockSeconds: Double { get }
  /// 64 random bits from the system (from the seed in the simulation).
  func random() -> UInt64

  // MARK: Sockets (these act at once)

  /// A listening TCP socket. Port 0 takes a free one (ask `localAddress`). IPv6 sockets take IPv6
  /// only. `reusePort` lets the listeners of several shards share the port.
  func listen(on address: SocketAddress, reusePort: Bool, backlog: Int) throws(RingError) -> Socket
  /// A UDP socket. It reports destination addresses and joins datagrams where the kernel can.
  func bindDatagram(to address: SocketAddress, reusePort: Bool) throws(RingError) -> Socket
  /// An unconnected TCP socket for `connect`.
  func makeStreamSocket(_ family: IPAddress.Family) throws(RingError) -> Socket
  /// A UDP socket connected to `address`, from `source`, which other sockets may be bound to (nil:
  /// any). What comes from there to here is then this socket's, and not theirs.
  func connectDatagram(
    to address: SocketAddress, from source: SocketAddress?
  ) throws(RingError) -> Socket
  func localAddress(of socket: Socket) -> SocketAddress?
  func peerAddress(of socket: Socket) -> SocketAddress?
  /// The shortest time to the peer of a TCP connection and back that the kernel has seen of late;
  /// nil where it is not known.
  func minimumRoundTrip(of socket: Socket) -> Interval?
  func set(_ option: SocketOption, on socket: Socket)
  /// The bytes that a socket's receive and send buffers have, as `receiveBufferBytes` and
  /// `sendBufferBytes` count them; nil where it is not known.
  func bufferBytes(of socket: Socket) -> (receive: Int, send: Int)?
  /// A socket that `receiveDatagrams` can be asked of: it brings something, never mind what,
  /// whenever an address or a route of this machine has changed, and ends with an error when it had
  /// too much to bring.
  func watchAddresses() throws(RingError) -> Socket
  /// Ends the sending direction (FIN after what was sent). For when no send is pending.
  func shutdownSending(_ socket: Socket)

  // MARK: Operations (queued; completed by `wait`)

  /// Completes with a descriptor for each connection until cancelled or failed.
  func accept(on listener: Socket, token: Token)
  func connect(_ socket: Socket, to address: SocketAddress, token: Token)
  /// Receives up to `limitBytes` in all into buffers of `pool`, then ends. It may go past the limit
  /// by less than one buffer.
  func receive(on socket: Socket, into pool: PoolID, limitBytes: Int, token: Token)
  /// Sends the queue's slices from the front (at most `Limits.sendSlicesMax`). The caller drops the
  /// sent bytes from the queue at completion; it may append meanwhile, but not remove. Of one that
  /// `isPatient` he need not hear soon.
  func send(
    _ queue: SliceQueue, on socket: Socket, mode: SendMode, isPatient: Bool, token: Token)
  /// Receives datagrams until cancelled or failed; read each completion by `datagram(in:)`. A
  /// buffer takes 144 bytes besides the payload; a datagram that was cut for want of room reads as
  /// nil.
  func receiveDatagrams(on socket: Socket, into pool: PoolID, token: Token)
  /// Sends one slice as datagrams of `segmentBytes` each (0: one datagram) to `destination` (nil:
  /// the connected peer), from `source` where the socket has several addresses, with
  /// `congestionMarks` (two bits, RFC 3168) in the IP header. Several may be pending. A full socket
  /// may end it with -EAGAIN: then the rest of it is not sent. Where the kernel does not cut
  /// datagrams of this size it may end with -EINVAL, -EMSGSIZE, -EIO or -EOPNOTSUPP: then nothing
  /// of it is sent. A connected socket whose peer's host said that nobody
  /// listens there ends its next operation with -ECONNREFUSED.
  func sendDatagram(
    _ slice: Slice, segmentBytes: Int, on socket: Socket, to destination: SocketAddress?,
    from source: IPAddress?, congestionMarks: UInt8, token: Token)
  /// Completes with 0 at `deadline`, or -ECANCELED.
  func timeout(at deadline: Instant, token: Token)
  /// Looks a host name or address literal up; completes with the number of addresses or a negated
  /// errno (ENOENT: no such name); fetch them by `takeAddresses` before the next `wait`.
  func resolve(host: String, port: Port, token: Token)
  func cancel(_ token: Token)
  func close(_ socket: Socket, mode: CloseMode, token: Token)

  // MARK: Completions

  /// Submits what is queued, then returns all completions that are there, waiting for the first one
  /// until `deadline` (nil: for ever; a time in the past: not at all) or a wake. The memory is
  /// valid until the next `wait`.
  func wait(until deadline: Instant?) -> UnsafeBufferPointer<Completion>
  func datagram(in completion: Completion, of socket: Socket) -> Datagram?
  func takeAddresses(_ token: Token) -> [SocketAddress]
  /// A handle for other threads, usable as long as the ring lives.
  var waker: any RingWaker { get }
}
