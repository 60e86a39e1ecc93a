// Drives a FrameDecoder over plain bytes cut in any way.

import RIBase

@testable import RIWire

/// One event with its bytes copied out.
enum Decoded: Equatable {
  case data(stream: UInt32, [UInt8])
  case control(FrameType, stream: UInt32, [UInt8])
  case malformed(WireError)
}

struct TestFrame {
  var stream: UInt32
  var type: UInt8
  var payload: [UInt8]

  init(_ stream: UInt32, _ type: UInt8, _ payload: [UInt8] = []) {
    self.stream = stream
    self.type = type
    self.payload = payload
  }

  init(_ stream: UInt32, _ type: FrameType, _ payload: [UInt8] = []) {
    self.init(stream, type.rawValue, payload)
  }

  var bytes: [UInt8] { header(stream, type, length: UInt32(payload.count)) + payload }
}

func header(_ stream: UInt32, _ type: UInt8, length: UInt32) -> [UInt8] {
  [UInt8](unsafeUninitializedCapacity: 9) { buffer, count in
    FrameHeader(stream: stream, type: type, length: length)
      .encode(into: UnsafeMutableRawBufferPointer(buffer))
    count = 9
  }
}

/// A decoder with the one buffer that its input lies in.
struct DecoderDriver: ~Copyable {
  let store = BufferStore([BufferPoolShape(count: 4, bytes: 1 << 16)])
  var decoder: FrameDecoder
  var events: [Decoded] = []

  init(_ sender: Sender) { decoder = FrameDecoder(sender: sender) }

  /// Feeds bytes in pieces of at most 64 KiB, or as `nextSplit` says.
  mutating func feed(_ bytes: [UInt8], nextSplit: () -> Int = { 1 << 16 }) {
    var position = 0
    while position < bytes.count {
      let count = min(max(1, nextSplit()), bytes.count - position, 1 << 16)
      guard let buffer = store[PoolID(0)].take() else { return }
      let slice = Slice(buffer: buffer, offset: 0, count: count)
      store.mutableBytes(slice).copyBytes(from: bytes[position..<position + count])
      position += count
      decoder.receive(slice)
      drain()
      // What was not retained may be overwritten once poll returned nil.
      store.mutableBytes(slice).initializeMemory(as: UInt8.self, repeating: 0xEE)
      store.release(slice)
    }
  }

  private mutating func drain() {
    while let event = decoder.poll(store: store) {
      switch event {
      case .data(let stream, let slice): add(stream, Array(store.bytes(slice)))
      case .control(let type, let stream):
        events.append(.control(type, stream: stream, Array(decoder.controlPayload)))
      case .malformed(let error): events.append(.malformed(error))
      }
    }
  }

  /// Joins pieces: where a frame ends is nothing that a byte stream shows.
  private mutating func add(_ stream: UInt32, _ bytes: [UInt8]) {
    if case .data(stream, let before)? = events.last {
      events[events.count - 1] = .data(stream: stream, before + bytes)
    } else {
      events.append(.data(stream: stream, bytes))
    }
  }
}

/// Decodes all at once.
func decode(_ bytes: [UInt8], from sender: Sender) -> [Decoded] {
  var driver = DecoderDriver(sender)
  driver.feed(bytes)
  return driver.events
}

/// What a decoder must say about known frames, found the plain way.
func expectedEvents(_ frames: [TestFrame]) -> [Decoded] {
  var events: [Decoded] = []
  for frame in frames {
    guard let type = FrameType(rawValue: frame.type) else { continue }
    guard type == .data || type == .dataBack else {
      events.append(.control(type, stream: frame.stream, frame.payload))
      continue
    }
    if frame.payload.isEmpty { continue }
    if case .data(frame.stream, let before)? = events.last {
      events[events.count - 1] = .data(stream: frame.stream, before + frame.payload)
    } else {
      events.append(.data(stream: frame.stream, frame.payload))
    }
  }
  return events
}
