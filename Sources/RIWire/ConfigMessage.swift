// The JSON messages of the handshake: the hub's CONFIG and the edge's HELLO (SPEC 2.1, 5).

import RIBase

/// What a hub tells an edge to do. Sent as the answer to the EDGE line and in CONFIG frames, each
/// replacing the one before it.
public struct EdgeConfigMessage: Hashable, Sendable {
  public static let stunIntervalSecsDefault = 300

  /// 1 to 65,535 each, none twice.
  public var listenPorts: [Port]
  /// 1 to 65,535 each, none twice.
  public var listenPortsUdp: [Port]
  /// 0 turns STUN off. Up to 2^31 - 1.
  public var stunIntervalSecs: Int
  /// Carried unread: a bad one must not keep the ports from being applied.
  public var firewallConfig: JSONValue?
  /// The hub refused; all else is empty then.
  public var error: String?
  /// What the hub offers (SPEC 5).
  public var extensions: [String]
  /// The hub is about to stop (extension `drain`).
  public var draining: Bool

  public init(
    listenPorts: [Port] = [], listenPortsUdp: [Port] = [],
    stunIntervalSecs: Int = stunIntervalSecsDefault, firewallConfig: JSONValue? = nil,
    error: String? = nil, extensions: [String] = [], draining: Bool = false
  ) {
    self.listenPorts = listenPorts
    self.listenPortsUdp = listenPortsUdp
    self.stunIntervalSecs = stunIntervalSecs
    self.firewallConfig = firewallConfig
    self.error = error
    self.extensions = extensions
    self.draining = draining
  }

  /// The answer to an edge whose id or secret is wrong.
  public static let unauthorized = EdgeConfigMessage(error: "unauthorized")

  /// Reads a JSON object. A field that is absent or null has its default, an unknown one is
  /// ignored, a port named twice counts once. Throws `.badConfig`.
  public init(parsing bytes: some Collection<UInt8>) throws(WireError) {
    do throws(MessageFault) {
      let message = try MessageReader(bytes)
      listenPorts = try message.ports(.listenPorts)
      listenPortsUdp = try message.ports(.listenPortsUdp)
      stunIntervalSecs =
        try message.integer(.stunIntervalSecs, in: 0...Int(Int32.max))
        ?? Self.stunIntervalSecsDefault
      firewallConfig = message[.firewallConfig]
      error = try message.string(.error)
      extensions = try message.strings(.extensions)
      draining = try message.bool(.draining)
    } catch {
      throw .badConfig(error)
    }
  }

  /// The message as the payload of a CONFIG frame.
  public func encodedFramePayload() -> [UInt8] {
    var bytes: [UInt8] = []
    if let error {
      JSONValue.write([("error", .string(error))], to: &bytes)
      return bytes
    }
    var members: [(key: String, value: JSONValue)] = [
      ("listenPorts", .array(listenPorts.map { .integer(Int($0)) })),
      ("listenPortsUdp", .array(listenPortsUdp.map { .integer(Int($0)) })),
      ("stunIntervalSecs", .integer(stunIntervalSecs)),
    ]
    if let firewallConfig { members.append(("firewallConfig", firewallConfig)) }
    if !extensions.isEmpty {
      members.append(("extensions", .array(extensions.map { .string($0) })))
    }
    if draining { members.append(("draining", .bool(true))) }
    JSONValue.write(members, to: &bytes)
    return bytes
  }

  /// The message as the line that answers an EDGE line, with its newline.
  public func encodedLine() -> [UInt8] { encodedFramePayload() + [0x0A] }
}

/// What an edge answers to a hub that offers extensions, and says again when it drains.
public struct HelloMessage: Hashable, Sendable {
  public var extensions: [String]
  public var version: String?
  /// The edge is about to stop (extension `drain`).
  public var draining: Bool

  public init(extensions: [String], version: String? = nil, draining: Bool = false) {
    self.extensions = extensions
    self.version = version
    self.draining = draining
  }

  /// Reads a JSON object; absent, null and unknown fields as in CONFIG. Throws `.badHello`.
  public init(parsing bytes: some Collection<UInt8>) throws(WireError) {
    do throws(MessageFault) {
      let message = try MessageReader(bytes)
      extensions = try message.strings(.extensions)
      version = try message.string(.version)
      draining = try message.bool(.draining)
    } catch {
      throw .badHello(error)
    }
  }

  /// The message as the payload of a HELLO frame.
  public func encodedFramePayload() -> [UInt8] {
    var members: [(key: String, value: JSONValue)] = [
      ("extensions", .array(extensions.map { .string($0) }))
    ]
    if let version { members.append(("version", .string(version))) }
    if draining { members.append(("draining", .bool(true))) }
    var bytes: [UInt8] = []
    JSONValue.write(members, to: &bytes)
    return bytes
  }
}

/// The fields of a message, each checked as it is asked for.
private struct MessageReader {
  private let members: [String: JSONValue]

  init(_ bytes: some Collection<UInt8>) throws(MessageFault) {
    guard let members = try JSONValue(parsing: bytes).asObject else { throw .notAnObject }
    self.members = members
  }

  /// The field, or nil when it is absent or null.
  subscript(field: MessageField) -> JSONValue? {
    let value = members[field.rawValue]
    return value == .null ? nil : value
  }

  func string(_ field: MessageField) throws(MessageFault) -> String? {
    guard let value = self[field] else { return nil }
    guard let text = value.asString else { throw .wrongType(field) }
    return text
  }

  /// Absent means false.
  func bool(_ field: MessageField) throws(MessageFault) -> Bool {
    switch self[field] {
    case .bool(let value): return value
    case nil: return false
    default: throw .wrongType(field)
    }
  }

  func integer(
    _ field: MessageField, in range: ClosedRange<Int>
  ) throws(MessageFault) -> Int? {
    guard let value = self[field] else { return nil }
    return try check(value, field, in: range)
  }

  func ports(_ field: MessageField) throws(MessageFault) -> [Port] {
    var ports: [Port] = []
    var known: Set<Port> = []
    for value in try array(field) {
      let port = Port(try check(value, field, in: 1...65_535))
      if known.insert(port).inserted { ports.append(port) }
    }
    return ports
  }

  func strings(_ field: MessageField) throws(MessageFault) -> [String] {
    var strings: [String] = []
    for value in try array(field) {
      guard let text = value.asString else { throw .wrongType(field) }
      strings.append(text)
    }
    return strings
  }

  private func array(_ field: MessageField) throws(MessageFault) -> [JSONValue] {
    guard let value = self[field] else { return [] }
    guard let values = value.asArray else { throw .wrongType(field) }
    return values
  }

  private func check(
    _ value: JSONValue, _ field: MessageField, in range: ClosedRange<Int>
  ) throws(MessageFault) -> Int {
    switch value {
    case .integer, .number: break
    default: throw .wrongType(field)
    }
    guard let number = value.asInteger, range.contains(number) else { throw .outOfRange(field) }
    return number
  }
}
