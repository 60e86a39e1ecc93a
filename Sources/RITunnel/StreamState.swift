// What a tunnel knows of one stream. Trivial: buffers are named, never referred to.

import RIBase

/// Names a stream of one tunnel, from open to its last event.
public struct StreamRef: Hashable, Sendable {
  public let slot: SlotID

  /// For whoever makes a tunnel.
  @inlinable
  package init(slot: SlotID) { self.slot = slot }

  /// Names no stream.
  public static let none = StreamRef(slot: .none)
}

/// What a place in a tunnel carries.
enum StreamKind: UInt8 {
  /// A TCP connection: bytes, windows, half-close.
  case stream
  /// A UDP session: datagrams, each a slice of its own in the queue; no windows, one end.
  case session
}

/// How far a stream is.
///
///     open / .opened ──▶ live ── reset, ours or a violation ──▶ resetting ── CLOSE 0x01 sent ──▶ ∅
///                         │
///                         ├──── both directions ended ──▶ closed ── event .closed ──▶ ∅
///                         └──── CLOSE 0x01 received ────▶ closed ── event .reset ───▶ ∅
///
/// Only a live stream takes verbs and frames; the others wait to be told to the peer or to the
/// engine.
enum StreamPhase: UInt8 { case live, resetting, closed }

/// Our direction of a live stream.
///
///     open ── finish ──▶ finishing ── data and CLOSE sent ──▶ finished
enum SendPhase: UInt8 { case open, finishing, finished }

/// The peer's direction of a live stream.
///
///     open ── CLOSE received ──▶ finished
enum ReceivePhase: UInt8 { case open, finished }

struct StreamState {
  let id: UInt32
  let kind: StreamKind
  var phase = StreamPhase.live
  var sending = SendPhase.open
  var receiving = ReceivePhase.open
  var tier = Tier.data
  /// The engine asked for so much room in vain: `.room` is due once there is as much. 0: none.
  var roomWanted: Int32 = 0
  /// Bytes left of its turn.
  var deficitBytes: Int32 = 0

  /// The engine's local connection.
  var owner: SlotID
  var sendWindow: SendWindow
  var receiveWindow: ReceiveWindow
  /// It has become sustained, and that is not told yet.
  var isSustainedUntold = false
  /// How large the peer's window should be (`autoWindow`).
  var tuner: WindowTuner
  var classifier: FlowClassifier
  /// Data that waits for credit and its turn; owned.
  var queue = SliceQueue()
  /// Places in the scheduler's tier, in the list of streams with a CLOSE or credit to send, and in
  /// that of streams with an event to tell.
  var turn = StreamLink()
  var control = StreamLink()
  var event = StreamLink()

  /// `activeStreams` includes this one.
  init(
    id: UInt32, kind: StreamKind, owner: SlotID, windows: WindowLimits, isAuto: Bool,
    activeStreams: Int, now: Instant
  ) {
    self.id = id
    self.kind = kind
    self.owner = owner
    sendWindow =
      isAuto
      ? SendWindow(auto: windows)
      : SendWindow(size: windows.window(activeStreams: activeStreams))
    receiveWindow = ReceiveWindow(limits: windows, isAuto: isAuto)
    tuner = WindowTuner(limits: windows, now: now)
    classifier = FlowClassifier(now: now)
  }

  /// Bytes that may still be queued; negative when more was.
  var roomBytes: Int {
    guard phase == .live, sending == .open else { return 0 }
    return min(Int(sendWindow.credit), Limits.streamQueueBytes) - Int(queue.byteCount)
  }

  /// Whether `.room` is due: enough to be worth a read, or nothing is left to send meanwhile.
  var isRoomDue: Bool {
    guard roomWanted > 0 else { return false }
    if queue.isEmpty { return roomBytes >= min(Int(roomWanted), Limits.roomBytesLeast) }
    return roomBytes >= Int(roomWanted)
      && roomBytes >= min(Limits.roomBytesWorthwhile, Int(sendWindow.size) / 4)
  }

  /// Whether it has data that may be sent.
  var isReady: Bool { !queue.isEmpty && (kind == .session || sendWindow.credit > 0) }

  /// Whether its CLOSE is to be sent: behind its own data, ahead of all other.
  var isCloseDue: Bool { sending == .finishing && queue.isEmpty }
}
