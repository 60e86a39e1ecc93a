// A local socket that a stream of a tunnel is tied to: a client's at the edge, the target's at the
// hub.

import RIBase
import RIRing
import RITunnel

/// One client or target connection. Trivial: it lives in the shard's slab.
///
/// ```
///             connected                 peer's EOF: localFinished
///  connecting ─────────▶ open ─────────────────────────────────────▶ ┐ both: closing ─▶ slot free
///       │                  └─ tunnel finished, queue sent: remoteFinished ▶ ┘
///       └─ refused, timed out, reset on either side ─────────────────▶ closing ─▶ slot free
/// ```
struct Connection {
  var socket: Socket
  var link: SlotID
  var stream: StreamRef
  /// Bytes for the socket that are in flight or copied aside.
  var outgoing = SliceQueue()
  /// Bytes for the socket that arrived in this tick and still lie in the tunnel's receive buffer.
  var arriving = SliceQueue()
  /// The bytes of the send under way.
  var sendingBytes: Int32 = 0
  /// Bytes of the PROXY header at the front of `outgoing` (hub): they count for no window.
  var headerBytes: Int32 = 0
  /// When the socket last took bytes, or was found full; at first when its stream opened (hub).
  var progressAt = Instant(nanoseconds: 0)
  /// The deadline for the target to answer (hub).
  var timer: TimerID?
  var targetPort: Port = 0
  /// Receives into the bulk pool, one after the other, that brought little.
  var littleReceives: UInt8 = 0
  var flags: Flags = []

  struct Flags: OptionSet {
    let rawValue: UInt16
    /// The socket is connected (always true at the edge).
    static let connected = Flags(rawValue: 1 << 0)
    static let receiving = Flags(rawValue: 1 << 1)
    static let sending = Flags(rawValue: 1 << 2)
    /// The socket took less than it was given: bytes for it are copied aside until it is empty.
    static let blocked = Flags(rawValue: 1 << 3)
    /// The peer has ended its direction (EOF was read).
    static let localFinished = Flags(rawValue: 1 << 4)
    /// The tunnel has ended its direction; shut down once `outgoing` is empty.
    static let remoteFinished = Flags(rawValue: 1 << 5)
    static let shutdownDone = Flags(rawValue: 1 << 6)
    static let closing = Flags(rawValue: 1 << 7)
    /// Receives draw on the bulk pool.
    static let bulk = Flags(rawValue: 1 << 8)
    /// Listed in the shard's `pendingSends`.
    static let sendPending = Flags(rawValue: 1 << 9)
    /// Listed in the shard's `pendingReceives`.
    static let receivePending = Flags(rawValue: 1 << 10)
    /// The stream has ended for the tunnel: its reference must not be used any more.
    static let streamGone = Flags(rawValue: 1 << 11)
    /// Waits in its link's line to be read.
    static let inLine = Flags(rawValue: 1 << 12)
    /// The target's socket keeps its small receive buffer, as its client may read nothing (hub).
    static let held = Flags(rawValue: 1 << 13)
  }

  init(socket: Socket, link: SlotID, stream: StreamRef) {
    self.socket = socket
    self.link = link
    self.stream = stream
  }
}

extension Connection {
  /// Whether its stream has ended in both directions: what still waits for the socket needs no
  /// tunnel.
  var isOver: Bool { flags.isSuperset(of: [.streamGone, .localFinished, .remoteFinished]) }
}

extension Socket {
  /// No socket yet: the target's name is still looked up.
  static let none = Socket(descriptor: -1)
}
