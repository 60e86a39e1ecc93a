// One end of a tunnel with the wire in the test's hands: raw frames in, events and frames out.

import RIBase
import RIWire
import TestRandom

@testable import RITunnel

/// A frame as the test writes and reads it.
struct WireFrame: Equatable, CustomStringConvertible {
  var type: UInt8
  var stream: UInt32
  var payload: [UInt8]

  init(_ type: FrameType, _ stream: UInt32, _ payload: [UInt8] = []) {
    self.type = type.rawValue
    self.stream = stream
    self.payload = payload
  }

  static func credit(_ type: FrameType, _ stream: UInt32, _ bytes: UInt32) -> WireFrame {
    WireFrame(type, stream, (0..<4).map { UInt8(truncatingIfNeeded: bytes >> (24 - 8 * $0)) })
  }

  var bytes: [UInt8] {
    let length = UInt32(payload.count)
    return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: stream >> $0) } + [type]
      + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + payload
  }

  var creditBytes: Int { payload.reduce(0) { $0 << 8 | Int($1) } }

  var description: String { "\(type):\(stream):\(payload.count)" }

  /// Cuts the whole frames off the front of `bytes`.
  static func parse(_ bytes: inout [UInt8]) -> [WireFrame] {
    var frames: [WireFrame] = []
    var at = 0
    while bytes.count - at >= 9 {
      func number(_ range: Range<Int>) -> Int { bytes[range].reduce(0) { $0 << 8 | Int($1) } }
      let length = number(at + 5..<at + 9)
      guard bytes.count - at - 9 >= length else { break }
      var frame = WireFrame(.data, UInt32(number(at..<at + 4)))
      frame.type = bytes[at + 4]
      frame.payload = Array(bytes[at + 9..<at + 9 + length])
      frames.append(frame)
      at += 9 + length
    }
    bytes.removeFirst(at)
    return frames
  }
}

/// An event with its bytes copied out.
enum Seen: Equatable {
  case opened(StreamRef, [UInt8])
  case data(StreamRef, [UInt8])
  case finished(StreamRef)
  case reset(StreamRef)
  case closed(StreamRef)
  case room(StreamRef)
  case sustained(StreamRef)
  case sessionOpened(StreamRef, [UInt8])
  case datagram(StreamRef, [UInt8])
  case sessionClosed(StreamRef)
  case ping([UInt8])
  case pong([UInt8])
  case config([UInt8])
  case hello([UInt8])
  case ended(TunnelError)
}

final class TunnelHarness {
  static let noTime = Instant(nanoseconds: 0)
  var now = noTime

  let store: BufferStore
  let tunnel: FramedTunnel
  let batch: PlaintextBatch
  /// Output that is no whole frame yet.
  var partial: [UInt8] = []

  init(
    _ role: TunnelRole, windows: WindowLimits = .standard, batchBytes: Int = 1 << 20,
    streamsMax: Int = 1024, buffers: Int = 64,
    budget: MemoryBudget = MemoryBudget(bytes: 200 << 20)
  ) {
    store = BufferStore([BufferPoolShape(count: buffers, bytes: 1 << 18)])
    tunnel = FramedTunnel(
      role: role, store: store, now: Self.noTime, windows: windows, budget: budget,
      streamsMax: streamsMax)
    batch = PlaintextBatch(store: store, capacity: batchBytes)
  }

  /// What the pools and queues hold; 0 when nothing leaks.
  var held: Int { store[PoolID(0)].usedCount + store.nodesInUse }

  /// A slice with a reference of its own.
  func slice(_ bytes: [UInt8]) -> Slice {
    guard let buffer = store[PoolID(0)].take() else { fatalError("test pool is empty") }
    var writer = BufferWriter(buffer, in: store)
    bytes.withUnsafeBytes { writer.append($0) }
    return writer.slice
  }

  func receive(_ frames: WireFrame...) -> [Seen] { receive(bytes: frames.flatMap(\.bytes)) }

  func receive(bytes: [UInt8]) -> [Seen] {
    let plaintext = slice(bytes)
    defer { store.release(plaintext) }
    tunnel.receive(plaintext)
    return events()
  }

  func events() -> [Seen] {
    var seen: [Seen] = []
    while let event = tunnel.pollEvent(now: now) {
      let payload = Array(tunnel.payload)
      switch event {
      case .opened(let stream): seen.append(.opened(stream, payload))
      case .data(let stream, let slice): seen.append(.data(stream, Array(store.bytes(slice))))
      case .finished(let stream): seen.append(.finished(stream))
      case .reset(let stream): seen.append(.reset(stream))
      case .closed(let stream): seen.append(.closed(stream))
      case .room(let stream): seen.append(.room(stream))
      case .sustained(let stream): seen.append(.sustained(stream))
      case .sessionOpened(let session): seen.append(.sessionOpened(session, payload))
      case .datagram(let session): seen.append(.datagram(session, payload))
      case .sessionClosed(let session): seen.append(.sessionClosed(session))
      case .ping: seen.append(.ping(payload))
      case .pong: seen.append(.pong(payload))
      case .config: seen.append(.config(payload))
      case .hello: seen.append(.hello(payload))
      case .ended(let error): seen.append(.ended(error))
      }
    }
    return seen
  }

  /// Polls one batch and copies it out.
  func batchBytes(now: Instant? = nil) -> [UInt8] {
    let now = now ?? self.now
    tunnel.pollFrames(into: batch, now: now)
    var bytes: [UInt8] = []
    for i in 0..<batch.pieceCount { bytes += batch.piece(i) }
    batch.clear()
    return bytes
  }

  /// All frames that are ready.
  func frames() -> [WireFrame] {
    var frames: [WireFrame] = []
    while tunnel.hasOutput {
      let bytes = batchBytes()
      guard !bytes.isEmpty else { break }
      partial += bytes
      frames += WireFrame.parse(&partial)
    }
    return frames
  }

  func open(_ header: String = "PROXY\r\n", owner: UInt32 = 1) -> StreamRef {
    let stream = Array(header.utf8).withUnsafeBytes {
      tunnel.open(
        header: $0, owner: SlotID(index: owner, generation: 1), now: now)
    }
    guard let stream else { fatalError("no stream") }
    return stream
  }

  /// Hub: a stream that the peer just opened.
  func opened(_ id: UInt32) -> StreamRef {
    guard case .opened(let stream, _)? = receive(WireFrame(.open, id, [1])).first else {
      fatalError("not opened")
    }
    return stream
  }

  func send(_ bytes: [UInt8], on stream: StreamRef) { tunnel.send(slice(bytes), on: stream) }

  // MARK: Sessions

  /// Edge: a session with this header, or nil.
  func openSession(_ header: [UInt8] = [1, 2], owner: UInt32 = 1) -> StreamRef? {
    header.withUnsafeBytes {
      tunnel.openSession(header: $0, owner: SlotID(index: owner, generation: 1), now: now)
    }
  }

  /// Hub: a session that the peer just opened.
  func sessionOpened(_ id: UInt32) -> StreamRef {
    guard case .sessionOpened(let session, _)? = receive(WireFrame(.udpOpen, id, [1])).first else {
      fatalError("not opened")
    }
    return session
  }

  /// False when it was dropped.
  @discardableResult
  func datagram(_ bytes: [UInt8], on session: StreamRef, queueBytesMax: Int? = nil) -> Bool {
    tunnel.sendDatagram(
      slice(bytes), on: session, queueBytesMax: queueBytesMax ?? Limits.datagramBytesQueuedMax)
  }

  /// Queues a datagram of `count` bytes of a buffer that many share.
  @discardableResult
  func datagram(_ count: Int, of shared: Slice, on session: StreamRef) -> Bool {
    store.retain(shared)
    return tunnel.sendDatagram(
      Slice(buffer: shared.buffer, offset: 0, count: count), on: session)
  }
}
