// The frames of SPEC 2.2: their types, their header, and the rules that a header must obey.

import RIBase

/// What a frame carries.
public enum FrameType: UInt8, Sendable, CaseIterable {
  case open = 0x01
  case data = 0x02
  case close = 0x03
  case dataBack = 0x04
  case closeBack = 0x05
  case config = 0x06
  case ping = 0x07
  case pong = 0x08
  case windowUpdate = 0x09
  case windowUpdateBack = 0x0A
  case udpOpen = 0x0B
  case udpData = 0x0C
  case udpDataBack = 0x0D
  case udpClose = 0x0E
  case hello = 0x10

  public enum Direction: Sendable { case edgeToHub, hubToEdge, either }

  /// Who may send it.
  @inlinable
  public var direction: Direction {
    switch self {
    case .open, .data, .close, .pong, .windowUpdate, .udpOpen, .udpData, .hello: .edgeToHub
    case .dataBack, .closeBack, .config, .ping, .windowUpdateBack, .udpDataBack: .hubToEdge
    case .udpClose: .either
    }
  }

  /// Whether it belongs to a stream or session (id > 0) and not to the tunnel (id 0).
  @inlinable
  public var isStreamFrame: Bool {
    switch self {
    case .config, .ping, .pong, .hello: false
    default: true
    }
  }

  /// Whether its payload is a part of a byte stream, handed on as it arrives.
  @inlinable
  public var isData: Bool { self == .data || self == .dataBack }

  /// The longest payload that a receiver takes.
  @inlinable
  public var payloadBytesMax: Int {
    switch self {
    case .data, .dataBack: Limits.dataPayloadBytesMax
    case .udpData, .udpDataBack: Limits.udpPayloadBytesMax
    case .windowUpdate, .windowUpdateBack: 4
    case .open: Limits.openPayloadBytesMax
    case .close, .closeBack: Limits.closePayloadBytesMax
    case .config: Limits.configPayloadBytesMax
    case .ping, .pong: Limits.pingPayloadBytesMax
    case .udpOpen: Limits.udpOpenPayloadBytesMax
    case .udpClose: 0
    case .hello: Limits.helloPayloadBytesMax
    }
  }
}

/// The end of a tunnel that sends.
public enum Sender: Sendable {
  case edge, hub

  @inlinable
  func may(_ direction: FrameType.Direction) -> Bool {
    switch direction {
    case .edgeToHub: self == .edge
    case .hubToEdge: self == .hub
    case .either: true
    }
  }
}

/// What precedes each payload, in network order: `[stream: u32][type: u8][length: u32]`.
public struct FrameHeader: Equatable, Sendable {
  public static let byteCount = Limits.frameHeaderBytes

  public var stream: UInt32
  /// A `FrameType`'s raw value, or one that we do not know.
  public var type: UInt8
  /// Bytes of payload behind the header.
  public var length: UInt32

  @inlinable
  public init(stream: UInt32, type: UInt8, length: UInt32) {
    self.stream = stream
    self.type = type
    self.length = length
  }

  /// `length` is 0 to 2^32 - 1.
  @inlinable
  public init(stream: UInt32, type: FrameType, length: Int) {
    self.init(stream: stream, type: type.rawValue, length: UInt32(length))
  }

  /// Reads the first 9 bytes. Traps when there are fewer.
  @inlinable
  public init(decoding bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count >= 9)
    // SAFETY: offsets 0 to 8 lie inside the bytes, as was just checked; loads need no alignment.
    stream = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self))
    type = bytes[4]
    length = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 5, as: UInt32.self))
  }

  /// Writes the first 9 bytes. Traps when there is room for fewer.
  @inlinable
  public func encode(into bytes: UnsafeMutableRawBufferPointer) {
    precondition(bytes.count >= 9)
    // SAFETY: offsets 0 to 8 lie inside the bytes, as was just checked.
    bytes.storeBytes(of: stream.bigEndian, toByteOffset: 0, as: UInt32.self)
    bytes[4] = type
    bytes.storeBytes(of: length.bigEndian, toByteOffset: 5, as: UInt32.self)
  }
}

/// What SPEC 2.2 says about a header.
public enum FrameVerdict: Equatable, Sendable {
  case frame(FrameType)
  /// An unknown type: its payload is passed over.
  case skip
  case malformed(WireError)
}

/// Checks type, direction, stream id and length of a frame that `sender` sent. Never allocates.
public func judge(_ header: FrameHeader, from sender: Sender) -> FrameVerdict {
  guard let type = FrameType(rawValue: header.type) else {
    return Int(header.length) <= Limits.unknownPayloadBytesMax
      ? .skip : .malformed(.unknownFrameTooLong(type: header.type, length: header.length))
  }
  guard sender.may(type.direction) else { return .malformed(.wrongDirection(type)) }
  guard (header.stream != 0) == type.isStreamFrame else {
    return .malformed(
      type.isStreamFrame ? .streamFrameOnStreamZero(type) : .controlFrameOnStream(type))
  }
  if type == .windowUpdate || type == .windowUpdateBack {
    return header.length == 4 ? .frame(type) : .malformed(.badWindowUpdate(length: header.length))
  }
  guard Int(header.length) <= type.payloadBytesMax else {
    return .malformed(
      .frameTooLong(type: type, length: header.length, limit: type.payloadBytesMax))
  }
  return .frame(type)
}
