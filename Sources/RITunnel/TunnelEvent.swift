// What a tunnel tells the engine, and what it counts.

import RIBase
import RIWire

/// Which end of a tunnel this is.
public enum TunnelRole: Sendable {
  case edge, hub

  var peer: Sender { self == .edge ? .hub : .edge }
}

/// What happened in a tunnel. A stream that an event calls dead takes no more verbs (they do
/// nothing) and has no more events; its `owner(of:)` can be asked until the next `pollEvent`.
public enum TunnelEvent: Equatable, Sendable {
  /// Hub: a client connected. `payload` is its header, not checked yet. Answer by `accept` or
  /// `reset` before the next `pollEvent`.
  case opened(StreamRef)
  /// Bytes of the peer, within their credit. The slice lies in the plaintext given to `receive` and
  /// is not retained: who keeps it retains it. Each byte is to be reported by `consumed`.
  case data(StreamRef, Slice)
  /// The peer ended its direction; no more data follows.
  case finished(StreamRef)
  /// The peer reset the stream, or broke a rule that resets it. The stream is dead.
  case reset(StreamRef)
  /// Both directions have ended and our CLOSE is with the transport. The stream is dead.
  case closed(StreamRef)
  /// `sendRoom`, which was asked for in vain, is worth asking for again.
  case room(StreamRef)
  /// The stream is a sustained flow from now on (SPEC 2.5).
  case sustained(StreamRef)
  /// Hub: a client's first datagram. `payload` is the session's header, not checked yet. Answer by
  /// `accept` or `reset` before the next `pollEvent`.
  case sessionOpened(StreamRef)
  /// A datagram, whole; `payload` is it.
  case datagram(StreamRef)
  /// The peer ended the session. It is dead.
  case sessionClosed(StreamRef)
  /// Control messages; `payload` is theirs.
  case ping, pong, config, hello
  /// The last event: the link is to be closed for this reason.
  case ended(TunnelError)
}

/// Why a tunnel ended itself.
public enum TunnelError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The peer broke a rule of SPEC 2.2.
  case malformed(WireError)
  /// The peer opens streams beyond the limit and does not read that they are refused.
  case refusalsUnread

  public var description: String {
    switch self {
    case .malformed(let error): "malformed: \(error)"
    case .refusalsUnread: "streams beyond the limit, and their refusals are not read"
    }
  }
}

/// What a tunnel has counted since it began. Bytes are payload. DATA of sustained streams counts
/// among the data, too; datagrams count apart.
public struct TunnelCounters: Codable, Equatable, Sendable {
  public var controlFramesSent: UInt64 = 0
  public var controlBytesSent: UInt64 = 0
  public var dataFramesSent: UInt64 = 0
  /// Payload of DATA frames.
  public var dataBytesSent: UInt64 = 0
  public var sustainedFramesSent: UInt64 = 0
  public var sustainedBytesSent: UInt64 = 0
  public var controlFramesReceived: UInt64 = 0
  public var controlBytesReceived: UInt64 = 0
  public var dataFramesReceived: UInt64 = 0
  public var dataBytesReceived: UInt64 = 0
  public var sustainedFramesReceived: UInt64 = 0
  public var sustainedBytesReceived: UInt64 = 0
  public var streamsOpened: UInt64 = 0
  /// Streams that became sustained flows.
  public var streamsSustained: UInt64 = 0
  /// Streams of the peer beyond the table's limit.
  public var streamsRefused: UInt64 = 0
  /// Streams reset because the peer sent after its CLOSE.
  public var dataAfterClose: UInt64 = 0
  /// Streams reset because the peer sent more than its credit.
  public var creditOverdrawn: UInt64 = 0
  /// Frames, or pieces of DATA frames, of streams that are no more.
  public var framesDropped: UInt64 = 0
  public var sessionsOpened: UInt64 = 0
  public var datagramsSent: UInt64 = 0
  public var datagramBytesSent: UInt64 = 0
  public var datagramsReceived: UInt64 = 0
  public var datagramBytesReceived: UInt64 = 0
  /// Datagrams that found their session's or their tunnel's queue full.
  public var datagramsDropped: UInt64 = 0
  /// PING and PONG not queued because too many wait already.
  public var probesDropped: UInt64 = 0
  /// HELLO not queued because too much waits already.
  public var hellosDropped: UInt64 = 0
  /// Frames of unknown type that were passed over.
  public var framesSkipped: UInt64 = 0

  public init() {}
}
