// Frames out of plaintext that arrives in any split, without copying what arrives whole.
//
//   header ──▶ data ──▶ header        a piece of payload for each piece of input
//      ├─────▶ gather ─▶ header       the payload once it is whole
//      ├─────▶ skip ──▶ header        an unknown type
//      └─────▶ failed                 for good

import RIBase

/// What a decoder found.
public enum DecodedEvent: Equatable, Sendable {
  /// At least one byte of a DATA or DATA_BACK payload, as it arrived. Not retained: who keeps it
  /// retains it.
  case data(stream: UInt32, Slice)
  /// Any other frame, whole; its payload is `controlPayload`.
  case control(type: FrameType, stream: UInt32)
  /// The last event of all: the tunnel must end.
  case malformed(WireError)
}

/// Decodes the frames that one end of a tunnel sends.
///
/// Ownership: input is borrowed; its buffer must be held until `poll` returned nil. Memory: a frame
/// other than DATA that arrives in pieces is gathered, up to its type's limit and never ahead of
/// the bytes that arrived. An empty DATA frame gives no event.
public struct FrameDecoder: ~Copyable {
  private enum State { case header, data, gather, skip, failed }

  /// More scratch than this is given back after use: above the largest datagram, so that only a
  /// CONFIG or HELLO pays for it.
  private static let scratchBytesKept = 128 * 1024

  private let sender: Sender
  private var state = State.header
  private var input: Slice?

  /// The frame being read, and how many bytes of its payload are still to come.
  private var type = FrameType.data
  private var stream: UInt32 = 0
  private var remaining = 0

  /// The bytes of a split header or payload so far.
  private var scratch: UnsafeMutableRawBufferPointer
  private var gathered = 0

  /// DATA frames with a payload that have begun.
  public private(set) var dataFrames: UInt64 = 0
  /// Frames of unknown type that were passed over.
  public private(set) var skippedFrames: UInt64 = 0
  /// The payload of the last `.control` event; valid until the next `poll` or `receive`.
  public private(set) var controlPayload = UnsafeRawBufferPointer(start: nil, count: 0)

  /// A decoder for the frames that `sender` sends.
  public init(sender: Sender) {
    self.sender = sender
    scratch = .allocate(byteCount: 64, alignment: 8)
  }

  /// Bytes of memory that gathering holds now.
  var gatheredCapacity: Int { scratch.count }

  deinit { scratch.deallocate() }

  /// Gives it the next plaintext, once `poll` has returned nil for the former.
  public mutating func receive(_ slice: Slice) {
    precondition(input == nil, "input before the former was drained")
    if slice.count > 0, state != .failed { input = slice }
  }

  /// The next event, or nil when all input is used up.
  public mutating func poll(store: BufferStore) -> DecodedEvent? {
    controlPayload = UnsafeRawBufferPointer(start: nil, count: 0)
    if gathered == 0 { releaseLargeScratch() }
    while var slice = input {
      let bytes = store.bytes(slice)
      let event: DecodedEvent?
      switch state {
      case .header: event = readHeader(bytes, &slice)
      case .data: event = .data(stream: stream, take(remaining, of: &slice))
      case .gather: event = gather(bytes, &slice)
      case .skip:
        _ = take(remaining, of: &slice)
        event = nil
      case .failed: event = nil
      }
      input = slice.count > 0 && state != .failed ? slice : nil
      if let event { return event }
    }
    return nil
  }

  /// Cuts at most `limit` bytes off the input and counts them off the payload.
  private mutating func take(_ limit: Int, of slice: inout Slice) -> Slice {
    let piece = slice.removePrefix(min(limit, Int(slice.count)))
    remaining -= Int(piece.count)
    if remaining == 0 { state = .header }
    return piece
  }

  // MARK: Header

  private mutating func readHeader(
    _ bytes: UnsafeRawBufferPointer, _ slice: inout Slice
  ) -> DecodedEvent? {
    if gathered == 0, bytes.count >= FrameHeader.byteCount {
      _ = slice.removePrefix(FrameHeader.byteCount)
      return begin(
        FrameHeader(decoding: bytes),
        rest: UnsafeRawBufferPointer(rebasing: bytes[FrameHeader.byteCount...]), &slice)
    }
    let missing = min(FrameHeader.byteCount - gathered, bytes.count)
    keep(bytes, missing)
    _ = slice.removePrefix(missing)
    guard gathered == FrameHeader.byteCount else { return nil }
    gathered = 0
    return begin(
      FrameHeader(decoding: UnsafeRawBufferPointer(scratch)),
      rest: UnsafeRawBufferPointer(rebasing: bytes[missing...]), &slice)
  }

  /// `rest` is the input behind the header: what `slice` names.
  private mutating func begin(
    _ header: FrameHeader, rest: UnsafeRawBufferPointer, _ slice: inout Slice
  ) -> DecodedEvent? {
    remaining = Int(header.length)
    switch judge(header, from: sender) {
    case .malformed(let error):
      state = .failed
      return .malformed(error)
    case .skip:
      skippedFrames &+= 1
      if remaining > 0 { state = .skip }
      return nil
    case .frame(let type):
      self.type = type
      stream = header.stream
      if type.isData {
        guard remaining > 0 else { return nil }
        dataFrames &+= 1
        state = .data
        return rest.isEmpty ? nil : .data(stream: stream, take(remaining, of: &slice))
      }
      guard rest.count >= remaining else {
        state = .gather
        return nil
      }
      controlPayload = UnsafeRawBufferPointer(rebasing: rest[..<remaining])
      _ = slice.removePrefix(remaining)
      return .control(type: type, stream: stream)
    }
  }

  // MARK: Gathering

  private mutating func gather(
    _ bytes: UnsafeRawBufferPointer, _ slice: inout Slice
  ) -> DecodedEvent? {
    let count = min(remaining, bytes.count)
    keep(bytes, count)
    _ = take(count, of: &slice)
    guard remaining == 0 else { return nil }
    controlPayload = UnsafeRawBufferPointer(rebasing: scratch[..<gathered])
    gathered = 0
    return .control(type: type, stream: stream)
  }

  /// Copies the first `count` bytes of the input behind what was gathered before. A copy that is
  /// left: a frame that is not DATA must be whole to be understood.
  private mutating func keep(_ bytes: UnsafeRawBufferPointer, _ count: Int) {
    if gathered + count > scratch.count {
      // Twice what has arrived, but no more than the frame: a peer that announces much and sends
      // little costs little.
      let bound = gathered + max(count, remaining)
      grow(to: min(bound, 2 * (gathered + count)))
    }
    // SAFETY: scratch was just made to hold gathered + count bytes; count <= bytes.count.
    scratch[gathered..<gathered + count].copyBytes(from: bytes[..<count])
    gathered += count
  }

  private mutating func grow(to capacity: Int) {
    let grown = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 8)
    // SAFETY: gathered <= the old capacity < capacity; the old memory is not referred to again,
    // as controlPayload was cleared when this poll began.
    grown.copyMemory(from: UnsafeRawBufferPointer(rebasing: scratch[..<gathered]))
    scratch.deallocate()
    scratch = grown
  }

  private mutating func releaseLargeScratch() {
    guard scratch.count > Self.scratchBytesKept else { return }
    scratch.deallocate()
    scratch = .allocate(byteCount: 64, alignment: 8)
  }
}
