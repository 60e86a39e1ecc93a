// What a link knows of one stream or session. Trivial, but for a session's header: buffers are
// named, never referred to.

import RIBase
import RITunnel

/// What a place in a link's table carries.
enum QUICStreamKind: UInt8 {
  /// A TCP connection: a bidirectional stream.
  case stream
  /// A UDP session: DATAGRAM frames; ngtcp2 knows nothing of it.
  case session
  /// One large datagram on its way in or out: a unidirectional stream.
  case largeIn, largeOut
}

/// How far a stream is.
///
///     opened ──▶ live ── reset here ───────────────────────▶ dead ── closed below ──▶ ∅
///                 │                                           ▲
///                 └── reset or closed below ──▶ ending ── told┘
///
/// "Below" is ngtcp2, whose stream lives until both directions are acknowledged. Only a live stream
/// takes verbs.
enum QUICStreamPhase: UInt8 { case live, ending, dead }

/// Our direction.
///
///     open ── finish ──▶ finishing ── FIN written ──▶ finished
enum QUICSendPhase: UInt8 { case open, finishing, finished }

struct QUICStream {
  /// On the wire: a stream's or a session's id.
  let id: Int64
  let kind: QUICStreamKind
  var phase = QUICStreamPhase.live
  var sending = QUICSendPhase.open
  var tier = Tier.data
  /// The engine knows it (a hub's has a whole header), and it counts among the active ones.
  var isOpened = false
  var isActive = false
  /// The peer has ended its direction.
  var isReceiveFinished = false
  /// ngtcp2 has closed it, or never had it.
  var isClosedBelow = false
  /// The peer has reset it; what came before is told no more.
  var isReset = false
  /// It waits for the peer's credit.
  var isBlocked = false
  /// The peer has given credit: what is sent is being read.
  var isCredited = false
  var isRoomQueued = false
  /// A session's open is to be sent whether data follows or not.
  var isOpenWanted = false
  /// It is listed among those that wait for the link's acknowledgements.
  var isStarved = false
  /// The engine asked for so much room in vain; 0: it did not.
  var roomWanted: Int32 = 0
  /// Bytes left of its turn.
  var deficitBytes: Int32 = 0

  var owner: SlotID
  /// Data never sent, and data sent that is not acknowledged; both owned.
  var queue = SliceQueue()
  var unacked = SliceQueue()
  var receiveWindow: ReceiveWindow
  var tuner: WindowTuner
  var classifier: FlowClassifier
  /// A header that is not complete, a session's open, or a large datagram.
  var bytes = HeldBytes()
  /// How much of a large datagram was sent.
  var largeSentBytes: Int32 = 0
  /// When a session's last datagram came back, and when its open was last sent.
  var answeredAt: Instant?
  var openSentAt: Instant?
  /// Its place in line.
  var turn = TurnLink()

  init(id: Int64, kind: QUICStreamKind, owner: SlotID, windows: WindowLimits, now: Instant) {
    self.id = id
    self.kind = kind
    self.owner = owner
    receiveWindow = ReceiveWindow(limits: windows, isAuto: true)
    tuner = WindowTuner(limits: windows, now: now)
    classifier = FlowClassifier(now: now)
  }

  var hasDataToSend: Bool {
    switch kind {
    case .stream:
      !isBlocked && (!queue.isEmpty || sending == .finishing)
    case .session: !queue.isEmpty || isOpenWanted
    case .largeIn: false
    case .largeOut: !isBlocked && sending == .finishing
    }
  }
}

/// A stream's place in a line.
struct TurnLink {
  var next = SlotID.none
  var previous = SlotID.none
  var isLinked = false
}

/// Streams in line for their turn, first in first out. O(1) for every operation.
struct TurnList {
  private(set) var first = SlotID.none
  private var last = SlotID.none

  var isEmpty: Bool { first == .none }

  /// Appends a stream unless it is in a line already.
  mutating func append(_ slot: SlotID, in streams: Slab<QUICStream>) {
    guard !streams[slot].turn.isLinked else { return }
    streams[slot].turn = TurnLink(next: .none, previous: last, isLinked: true)
    if last == .none { first = slot } else { streams[last].turn.next = slot }
    last = slot
  }

  /// Removes a stream, which is in this line if in any.
  mutating func remove(_ slot: SlotID, in streams: Slab<QUICStream>) {
    let link = streams[slot].turn
    guard link.isLinked else { return }
    if link.previous == .none {
      first = link.next
    } else {
      streams[link.previous].turn.next = link.next
    }
    if link.next == .none {
      last = link.previous
    } else {
      streams[link.next].turn.previous = link.previous
    }
    streams[slot].turn = TurnLink()
  }
}

/// Bytes of its own that a stream holds for a while. Not copied with the value: `free` once.
struct HeldBytes {
  // SAFETY: `capacity` bytes, allocated in `reserve`, freed by the owner through `free`.
  private var start: UnsafeMutableRawPointer?
  private(set) var count = 0
  private var capacity = 0

  var isEmpty: Bool { count == 0 }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }

  /// Appends bytes; `limit` is the most that will ever be.
  mutating func append(_ more: UnsafeRawBufferPointer, limit: Int) {
    precondition(count + more.count <= limit)
    guard more.count > 0 else { return }
    if count + more.count > capacity { grow(to: min(limit, max(2 * capacity, count + more.count))) }
    if let start {
      UnsafeMutableRawBufferPointer(start: start + count, count: more.count).copyMemory(from: more)
    }
    count += more.count
  }

  private mutating func grow(to larger: Int) {
    let grown = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 8)
    if let start {
      grown.copyMemory(from: start, byteCount: count)
      start.deallocate()
    }
    start = grown
    capacity = larger
  }

  mutating func free() {
    start?.deallocate()
    self = HeldBytes()
  }
}
