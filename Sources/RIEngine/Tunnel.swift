// The one idea of a tunnel that roles and relay know (DESIGN section 3): verbs go in, events are
// polled out. What carries it is a closed enum, so that each call costs a test of one bit and no
// existential.

import RIBase
import RIQUIC
import RITunnel

/// A tunnel of either transport. Each method is that of the same name of both. Events are polled
/// from each in its own way (ShardInbound, ShardQUIC), and so are their ends.
enum Tunnel {
  case framed(FramedTunnel)
  case quic(QUICTunnel)

  /// What it is made of, where that matters.
  var framed: FramedTunnel? {
    switch self {
    case .framed(let tunnel): tunnel
    case .quic: nil
    }
  }
}

// MARK: Verbs

extension Tunnel {
  @inline(__always)
  func open(header: UnsafeRawBufferPointer, owner: SlotID, now: Instant) -> StreamRef? {
    switch self {
    case .framed(let tunnel): tunnel.open(header: header, owner: owner, now: now)
    case .quic(let tunnel): tunnel.open(header: header, owner: owner, now: now)
    }
  }

  @inline(__always)
  func openSession(header: UnsafeRawBufferPointer, owner: SlotID, now: Instant) -> StreamRef? {
    switch self {
    case .framed(let tunnel): tunnel.openSession(header: header, owner: owner, now: now)
    case .quic(let tunnel): tunnel.openSession(header: header, owner: owner, now: now)
    }
  }

  @inline(__always)
  func accept(_ stream: StreamRef, owner: SlotID) {
    switch self {
    case .framed(let tunnel): tunnel.accept(stream, owner: owner)
    case .quic(let tunnel): tunnel.accept(stream, owner: owner)
    }
  }

  @inline(__always)
  func send(_ slice: Slice, on stream: StreamRef) {
    switch self {
    case .framed(let tunnel): tunnel.send(slice, on: stream)
    case .quic(let tunnel): tunnel.send(slice, on: stream)
    }
  }

  @inline(__always)
  func finish(_ stream: StreamRef) {
    switch self {
    case .framed(let tunnel): tunnel.finish(stream)
    case .quic(let tunnel): tunnel.finish(stream)
    }
  }

  @inline(__always)
  func reset(_ stream: StreamRef) {
    switch self {
    case .framed(let tunnel): tunnel.reset(stream)
    case .quic(let tunnel): tunnel.reset(stream)
    }
  }

  @inline(__always)
  func consumed(_ bytes: Int, on stream: StreamRef, now: Instant) {
    switch self {
    case .framed(let tunnel): tunnel.consumed(bytes, on: stream, now: now)
    case .quic(let tunnel): tunnel.consumed(bytes, on: stream, now: now)
    }
  }

  @inline(__always)
  func sendRoom(_ stream: StreamRef, atLeast least: Int) -> Int {
    switch self {
    case .framed(let tunnel): tunnel.sendRoom(stream, atLeast: least)
    case .quic(let tunnel): tunnel.sendRoom(stream, atLeast: least)
    }
  }

  @inline(__always)
  func hasQueued(_ stream: StreamRef) -> Bool {
    switch self {
    case .framed(let tunnel): tunnel.hasQueued(stream)
    case .quic(let tunnel): tunnel.hasQueued(stream)
    }
  }

  @inline(__always)
  func sendDatagram(_ slice: Slice, on session: StreamRef, queueBytesMax: Int) -> Bool {
    switch self {
    case .framed(let tunnel):
      tunnel.sendDatagram(slice, on: session, queueBytesMax: queueBytesMax)
    case .quic(let tunnel):
      tunnel.sendDatagram(slice, on: session, queueBytesMax: queueBytesMax)
    }
  }

  func dropDatagrams() -> Int {
    switch self {
    case .framed(let tunnel): tunnel.dropDatagrams()
    case .quic(let tunnel): tunnel.dropDatagrams()
    }
  }

  func replaceQueues(_ body: (inout SliceQueue) -> Void) {
    switch self {
    case .framed(let tunnel): tunnel.replaceQueues(body)
    case .quic(let tunnel): tunnel.replaceQueues(body)
    }
  }

  func sendPing(_ payload: UnsafeRawBufferPointer) {
    switch self {
    case .framed(let tunnel): tunnel.sendPing(payload)
    case .quic(let tunnel): tunnel.sendPing(payload)
    }
  }

  func sendPong(_ payload: UnsafeRawBufferPointer) {
    switch self {
    case .framed(let tunnel): tunnel.sendPong(payload)
    case .quic(let tunnel): tunnel.sendPong(payload)
    }
  }

  func sendConfig(_ payload: [UInt8]) {
    switch self {
    case .framed(let tunnel): tunnel.sendConfig(payload)
    case .quic(let tunnel): tunnel.sendConfig(payload)
    }
  }

  func sendHello(_ payload: [UInt8]) {
    switch self {
    case .framed(let tunnel): tunnel.sendHello(payload)
    case .quic(let tunnel): tunnel.sendHello(payload)
    }
  }
}

// MARK: Events and getters

extension Tunnel {
  /// Of the event just polled.
  @inline(__always)
  var payload: UnsafeRawBufferPointer {
    switch self {
    case .framed(let tunnel): tunnel.payload
    case .quic(let tunnel): tunnel.payload
    }
  }

  @inline(__always)
  func owner(of stream: StreamRef) -> SlotID {
    switch self {
    case .framed(let tunnel): tunnel.owner(of: stream)
    case .quic(let tunnel): tunnel.owner(of: stream)
    }
  }

  @inline(__always)
  func tier(of stream: StreamRef) -> Tier {
    switch self {
    case .framed(let tunnel): tunnel.tier(of: stream)
    case .quic(let tunnel): tunnel.tier(of: stream)
    }
  }

  @inline(__always)
  func isRead(_ stream: StreamRef) -> Bool {
    switch self {
    case .framed(let tunnel): tunnel.isRead(stream)
    case .quic(let tunnel): tunnel.isRead(stream)
    }
  }

  func details(of stream: StreamRef) -> (id: UInt32, bytes: UInt64)? {
    switch self {
    case .framed(let tunnel): tunnel.details(of: stream)
    case .quic(let tunnel): tunnel.details(of: stream)
    }
  }

  /// Whether it has something to send, or may have.
  @inline(__always)
  var hasOutput: Bool {
    switch self {
    case .framed(let tunnel): tunnel.hasOutput
    case .quic(let tunnel): tunnel.hasOutput
    }
  }

  @inline(__always)
  var queuedBytes: QueuedBytes {
    switch self {
    case .framed(let tunnel): tunnel.queuedBytes
    case .quic(let tunnel): tunnel.queuedBytes
    }
  }

  var datagramBytesQueued: Int {
    switch self {
    case .framed(let tunnel): tunnel.datagramBytesQueued
    case .quic(let tunnel): tunnel.datagramBytesQueued
    }
  }

  var streamsHeld: Int {
    switch self {
    case .framed(let tunnel): tunnel.streamsHeld
    case .quic(let tunnel): tunnel.streamsHeld
    }
  }

  var sessionsHeld: Int {
    switch self {
    case .framed(let tunnel): tunnel.sessionsHeld
    case .quic(let tunnel): tunnel.sessionsHeld
    }
  }

  var activeStreams: Int {
    switch self {
    case .framed(let tunnel): tunnel.activeStreams
    case .quic(let tunnel): tunnel.activeStreams
    }
  }

  var activeSessions: Int {
    switch self {
    case .framed(let tunnel): tunnel.activeSessions
    case .quic(let tunnel): tunnel.activeSessions
    }
  }

  var sustainedStreams: Int {
    switch self {
    case .framed(let tunnel): tunnel.sustainedStreams
    case .quic(let tunnel): tunnel.sustainedStreams
    }
  }

  var totals: TunnelCounters {
    switch self {
    case .framed(let tunnel): tunnel.totals
    case .quic(let tunnel): tunnel.totals
    }
  }

  var controlBytesQueued: Int {
    switch self {
    case .framed(let tunnel): tunnel.controlBytesQueued
    case .quic(let tunnel): tunnel.controlBytesQueued
    }
  }

  var windowUse: WindowUse {
    switch self {
    case .framed(let tunnel): tunnel.windowUse
    case .quic(let tunnel): tunnel.windowUse
    }
  }

  var counters: TunnelCounters {
    switch self {
    case .framed(let tunnel): tunnel.counters
    case .quic(let tunnel): tunnel.counters
    }
  }
}
