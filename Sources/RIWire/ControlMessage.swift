// The messages of QUIC's control channel (SPEC 3): `[type: u8][length: u32][payload]`, with the
// types and limits that CONFIG, PING, PONG and HELLO have as frames.

import RIBase

/// Encodes control messages.
public enum ControlMessage {
  public static let headerBytes = 5

  /// Header and payload. `type` is one that belongs to no stream.
  public static func encoded(_ type: FrameType, _ payload: UnsafeRawBufferPointer) -> [UInt8] {
    precondition(!type.isStreamFrame && payload.count <= type.payloadBytesMax)
    var message: [UInt8] = []
    message.reserveCapacity(headerBytes + payload.count)
    message.append(type.rawValue)
    withUnsafeBytes(of: UInt32(payload.count).bigEndian) { message.append(contentsOf: $0) }
    message.append(contentsOf: payload)
    return message
  }
}

/// Decodes the control messages that one end sends, from bytes in any split. Holds the bytes of one
/// unfinished message at most, and never ahead of what arrived. Allocates: messages are rare.
public struct ControlMessageDecoder {
  public enum Event: Equatable, Sendable {
    /// A message, whole; `payload` is its.
    case message(FrameType)
    /// The last event of all: the tunnel must end.
    case malformed(WireError)
  }

  private let sender: Sender
  private var bytes: [UInt8] = []
  private var position = 0
  /// Payload bytes of an unknown message still to be passed over.
  private var skipping = 0
  private var hasFailed = false

  /// Messages of unknown type that were passed over.
  public private(set) var skippedMessages: UInt64 = 0
  /// The payload of the last message.
  public private(set) var payload: [UInt8] = []

  public init(sender: Sender) { self.sender = sender }

  /// Takes the next bytes of the channel. Call `poll` until nil after each.
  public mutating func receive(_ more: UnsafeRawBufferPointer) {
    guard !hasFailed else { return }
    var more = more
    if skipping > 0 {
      let skipped = min(skipping, more.count)
      skipping -= skipped
      more = UnsafeRawBufferPointer(rebasing: more[skipped...])
    }
    bytes.append(contentsOf: more)
  }

  /// The next event, or nil when a whole message is not there.
  public mutating func poll() -> Event? {
    payload.removeAll(keepingCapacity: payload.capacity <= 4_096)
    while !hasFailed, bytes.count - position >= ControlMessage.headerBytes {
      let type = bytes[position]
      let length = bytes[position + 1..<position + ControlMessage.headerBytes]
        .reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      switch judge(FrameHeader(stream: 0, type: type, length: length), from: sender) {
      case .malformed(let error):
        hasFailed = true
        (bytes, position) = ([], 0)
        return .malformed(error)
      case .skip:
        skippedMessages &+= 1
        position += ControlMessage.headerBytes
        let there = min(Int(length), bytes.count - position)
        position += there
        skipping = Int(length) - there
      case .frame(let type):
        let start = position + ControlMessage.headerBytes
        guard bytes.count - start >= Int(length) else { return nil }
        payload.append(contentsOf: bytes[start..<start + Int(length)])
        position = start + Int(length)
        return .message(type)
      }
    }
    compact()
    return nil
  }

  private mutating func compact() {
    guard position > 0 else { return }
    if position == bytes.count {
      bytes.removeAll(keepingCapacity: bytes.capacity <= 4_096)
    } else {
      bytes.removeSubrange(..<position)
    }
    position = 0
  }
}
