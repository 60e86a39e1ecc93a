// The control channel: lines first, then messages (SPEC 3).

import CNGTCP2
import RIBase
import RITunnel
import RIWire

/// The first stream that the client opens.
struct ControlChannel {
  /// -1 until it is open.
  var id: Int64 = -1
  var output = ControlBlocks()
  /// It waits for the peer's credit.
  var isBlocked = false
  var carriesMessages = false
  /// The peer has ended its direction, which it must not.
  var isFinished = false
  var decoder = ControlMessageDecoder(sender: .edge)
  /// Received and not told yet.
  var lines: [UInt8] = []
  /// A CONFIG behind all that waits; a newer one replaces it.
  var config: [UInt8]?

  /// Whether there is something to send.
  var isWaiting: Bool { output.unsentBytes > 0 || config != nil }
}

extension QUICTunnel {
  // MARK: Sending

  /// Queues raw bytes of the control channel: the EDGE line at the edge, at once after `connect`;
  /// the answer at the hub.
  public func sendControl(_ bytes: [UInt8]) {
    guard endReason == nil else { return }
    bytes.withUnsafeBytes { control.output.append($0) }
    openControl()
    endpoint.markDirty(self)
  }

  /// Hub: queues a PING with at most 64 bytes; dropped and counted when too much waits already.
  public func sendPing(_ payload: UnsafeRawBufferPointer) {
    precondition(role == .hub && payload.count <= Limits.pingPayloadBytesMax)
    if !sendMessage(.ping, payload) { counters.probesDropped &+= 1 }
  }

  /// Edge: queues the answer to a PING; dropped and counted when too many wait already.
  public func sendPong(_ payload: UnsafeRawBufferPointer) {
    precondition(role == .edge && payload.count <= Limits.pingPayloadBytesMax)
    let messageBytesMax = ControlMessage.headerBytes + Limits.pingPayloadBytesMax
    guard control.output.unsentBytes < Limits.pongsQueuedMax * messageBytesMax,
      sendMessage(.pong, payload)
    else {
      counters.probesDropped &+= 1
      return
    }
  }

  /// Edge: queues a HELLO; dropped and counted when too much waits already.
  public func sendHello(_ payload: [UInt8]) {
    precondition(role == .edge && payload.count <= Limits.helloPayloadBytesMax)
    if !payload.withUnsafeBytes({ sendMessage(.hello, $0) }) { counters.hellosDropped &+= 1 }
  }

  /// Hub: queues a CONFIG, which replaces one that waits.
  public func sendConfig(_ payload: [UInt8]) {
    precondition(role == .hub && payload.count <= Limits.configPayloadBytesMax)
    guard endReason == nil else { return }
    control.config = payload.withUnsafeBytes { ControlMessage.encoded(.config, $0) }
    endpoint.markDirty(self)
  }

  private func sendMessage(_ type: FrameType, _ payload: UnsafeRawBufferPointer) -> Bool {
    guard endReason == nil, control.output.byteCount < Limits.controlQueueBytes else {
      return endReason != nil
    }
    ControlMessage.encoded(type, payload).withUnsafeBytes { control.output.append($0) }
    counters.controlFramesSent &+= 1
    counters.controlBytesSent &+= UInt64(payload.count)
    endpoint.markDirty(self)
    return true
  }

  /// Edge: opens the channel's stream, as soon as there is something to say and the handshake, or
  /// 0-RTT, allows it.
  func openControl() {
    guard let link, role == .edge, control.id < 0, endReason == nil, control.output.unsentBytes > 0,
      isEstablished || quic_link_has_early_data(link)
    else { return }
    var id: Int64 = -1
    guard quic_link_open_bidi(link, &id, 0) == 0 else { return }
    control.id = id
    endpoint.markDirty(self)
  }

  // MARK: Receiving

  /// The control channel carries messages from now on: `consumed` bytes of the `.controlBytes`
  /// event just polled were the line, the rest are messages. Called by the edge when it was
  /// accepted, by the hub with (or before) its answer.
  public func beginMessages(consumed: Int) {
    guard !control.carriesMessages else { return }
    control.carriesMessages = true
    let lines = lends == .control ? lentControl.bytes : UnsafeRawBufferPointer(start: nil, count: 0)
    control.decoder.receive(UnsafeRawBufferPointer(rebasing: lines[min(consumed, lines.count)...]))
    control.lines.withUnsafeBytes { control.decoder.receive($0) }
    control.lines = []
    endpoint.markReady(self)
  }

  func controlData(_ bytes: UnsafeRawBufferPointer, isLast: Bool) {
    if control.carriesMessages {
      control.decoder.receive(bytes)
    } else {
      control.lines.append(contentsOf: bytes)
    }
    if let link, bytes.count > 0 {
      // Lines and messages are bounded by their own limits, not by the window.
      quic_link_extend_stream(link, control.id, UInt64(bytes.count))
    }
    endpoint.markReady(self)
    // Neither end may end this stream while the link lives.
    if isLast { control.isFinished = true }
  }

  /// The next line or message; at the hub not before the handshake is confirmed.
  func pollControl() -> QUICEvent? {
    guard isEstablished else { return nil }
    if !control.carriesMessages {
      guard !control.lines.isEmpty else { return endOfControl() }
      lend(control.lines)
      control.lines = []
      return .controlBytes
    }
    while let event = control.decoder.poll() {
      switch event {
      case .malformed(let error):
        refuse(.malformed(error))
        return nil
      case .message(let type):
        counters.controlFramesReceived &+= 1
        counters.controlBytesReceived &+= UInt64(control.decoder.payload.count)
        lend(control.decoder.payload)
        switch type {
        case .config: return .tunnel(.config)
        case .ping: return .tunnel(.ping)
        case .pong: return .tunnel(.pong)
        case .hello: return .tunnel(.hello)
        default: preconditionFailure("the decoder knows no other message")
        }
      }
    }
    return endOfControl()
  }

  /// The bytes of a line or message: the last event's payload.
  var controlPayload: UnsafeRawBufferPointer { lentControl.bytes }

  private func lend(_ bytes: [UInt8]) {
    lentControl.free()
    bytes.withUnsafeBytes { lentControl.append($0, limit: $0.count) }
    lends = .control
  }

  private func endOfControl() -> QUICEvent? {
    if control.isFinished { refuse(.streamMisuse) }
    return nil
  }

  /// Control messages of unknown type that were passed over.
  public var skippedMessages: UInt64 { control.decoder.skippedMessages }
}
