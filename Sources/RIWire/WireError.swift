// Why a tunnel's bytes were refused: one case for each rule of SPEC 2.2.

/// A broken rule of the frame protocol; it ends the tunnel. Trivial, so that carrying one costs the
/// data path nothing.
public enum WireError: Error, Equatable, Sendable {
  case frameTooLong(type: FrameType, length: UInt32, limit: Int)
  case unknownFrameTooLong(type: UInt8, length: UInt32)
  case wrongDirection(FrameType)
  case streamFrameOnStreamZero(FrameType)
  case controlFrameOnStream(FrameType)
  case badWindowUpdate(length: UInt32)
  /// OPEN or UDP_OPEN of an id that is in use.
  case duplicateOpen(stream: UInt32)
  case badConfig(MessageFault)
  case badHello(MessageFault)
  /// A first HELLO behind an OPEN: its extensions would change streams that exist.
  case lateHello
}

/// What is wrong with a JSON message.
public enum MessageFault: Error, Equatable, Sendable {
  case notJSON
  case notAnObject
  /// Arrays and objects inside each other deeper than `JSONValue.depthMax`.
  case tooDeep
  case wrongType(MessageField)
  case outOfRange(MessageField)
}

/// A field of a JSON message that the protocol knows.
public enum MessageField: String, Sendable {
  case listenPorts, listenPortsUdp, stunIntervalSecs, firewallConfig, error, extensions, version
  case draining
}

extension WireError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .frameTooLong(let type, let length, let limit):
      "\(type) frame of \(length) bytes, at most \(limit) are allowed"
    case .unknownFrameTooLong(let type, let length):
      "frame of unknown type \(type) with \(length) bytes is too long to skip"
    case .wrongDirection(let type): "\(type) frame in the wrong direction"
    case .streamFrameOnStreamZero(let type): "\(type) frame on stream 0"
    case .controlFrameOnStream(let type): "\(type) frame on a stream other than 0"
    case .badWindowUpdate(let length): "window update of \(length) bytes instead of 4"
    case .duplicateOpen(let stream): "open of stream \(stream), which is in use"
    case .badConfig(let fault): "config \(fault)"
    case .badHello(let fault): "hello \(fault)"
    case .lateHello: "hello behind the first open"
    }
  }
}

extension MessageFault: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notJSON: "is not JSON"
    case .notAnObject: "is not a JSON object"
    case .tooDeep: "is nested too deeply"
    case .wrongType(let field): "has a \(field.rawValue) of the wrong type"
    case .outOfRange(let field): "has a \(field.rawValue) out of range"
    }
  }
}
