// All that an edge needs to find and trust its hub, as one string to paste (SPEC 6).

import RIBase

/// Where the hub is, who the edge is, and how it knows the hub.
///
/// Encoded: base64url without padding of a JSON object with the keys h (host), p (port), e (edge
/// id), s (secret) and, when there is a pin, f, in this order.
public struct ConnectionToken: Equatable, Sendable {
  /// Longer ones are refused unread: the largest valid token is far below.
  public static let bytesMax = 8_192

  /// A host name or address: 1 to 253 printable ASCII characters without spaces.
  public let host: String
  /// 1 to 65,535.
  public let port: Port
  public let edgeID: String
  public let secret: Secret
  /// The pin of the hub's certificate as text. Its form is checked by who uses it.
  public let hubPin: String?

  public init(
    host: String, port: Port, edgeID: String, secret: Secret, hubPin: String? = nil
  ) throws(TokenError) {
    if let fault = CredentialFault(host.utf8, bytesMax: 253) { throw .badHost(fault) }
    guard port > 0 else { throw .portOutOfRange }
    if let fault = CredentialFault(edgeID.utf8, bytesMax: Limits.edgeIDBytesMax) {
      throw .badEdgeID(fault)
    }
    if let hubPin, let fault = CredentialFault(hubPin.utf8, bytesMax: 253) {
      throw .badPin(fault)
    }
    self.host = host
    self.port = port
    self.edgeID = edgeID
    self.secret = secret
    self.hubPin = hubPin
  }

  /// Reads a token. White space around it and unknown keys are ignored.
  public init(decoding text: String) throws(TokenError) {
    let trimmed = text.utf8.trimmed
    guard !trimmed.isEmpty else { throw .empty }
    guard trimmed.count <= Self.bytesMax else { throw .tooLong }
    guard let json = Base64URL.decode(trimmed) else { throw .notBase64URL }
    let members: [String: JSONValue]
    do throws(MessageFault) {
      guard let object = try JSONValue(parsing: json).asObject else { throw .notAnObject }
      members = object
    } catch {
      throw .notJSON(error)
    }
    let host = try Self.string(.host, in: members)
    let port = try Self.port(in: members)
    let edgeID = try Self.string(.edgeID, in: members)
    let secretText = try Self.string(.secret, in: members)
    let secret: Secret
    do throws(CredentialFault) {
      secret = try Secret(secretText)
    } catch {
      throw .badSecret(error)
    }
    let hasPin = members[TokenKey.hubPin.rawValue].map { $0 != .null } ?? false
    try self.init(
      host: host, port: port, edgeID: edgeID, secret: secret,
      hubPin: hasPin ? Self.string(.hubPin, in: members) : nil)
  }

  /// The token as one string. It holds the secret.
  public func encoded() -> String {
    var members: [(key: TokenKey, value: JSONValue)] = [
      (.host, .string(host)), (.port, .integer(Int(port))), (.edgeID, .string(edgeID)),
      (.secret, .string(secret.revealed)),
    ]
    if let hubPin { members.append((.hubPin, .string(hubPin))) }
    var json: [UInt8] = []
    JSONValue.write(members.map { ($0.key.rawValue, $0.value) }, to: &json)
    return Base64URL.encode(json)
  }

  private static func string(
    _ key: TokenKey, in members: [String: JSONValue]
  ) throws(TokenError) -> String {
    guard let value = members[key.rawValue] else { throw .missingKey(key) }
    guard let text = value.asString else { throw .wrongType(key) }
    return text
  }

  private static func port(in members: [String: JSONValue]) throws(TokenError) -> Port {
    guard let value = members[TokenKey.port.rawValue] else { throw .missingKey(.port) }
    switch value {
    case .integer, .number: break
    default: throw .wrongType(.port)
    }
    guard let number = value.asInteger, let port = Port(exactly: number), port > 0 else {
      throw .portOutOfRange
    }
    return port
  }
}

/// A key of a token's JSON object.
public enum TokenKey: String, Sendable {
  case host = "h"
  case port = "p"
  case edgeID = "e"
  case secret = "s"
  case hubPin = "f"
}

/// Why a token was refused. Never holds a part of the token.
public enum TokenError: Error, Equatable, Sendable {
  case empty
  case tooLong
  case notBase64URL
  case notJSON(MessageFault)
  case missingKey(TokenKey)
  case wrongType(TokenKey)
  case portOutOfRange
  case badHost(CredentialFault)
  case badEdgeID(CredentialFault)
  case badSecret(CredentialFault)
  case badPin(CredentialFault)
}

extension TokenError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .empty: "token is empty"
    case .tooLong: "token is longer than \(ConnectionToken.bytesMax) characters"
    case .notBase64URL: "token is not base64url without padding"
    case .notJSON(let fault): "token \(fault)"
    case .missingKey(let key): "token lacks the key \"\(key.rawValue)\" (\(key))"
    case .wrongType(let key): "token has a \"\(key.rawValue)\" (\(key)) of the wrong type"
    case .portOutOfRange: "token has a \"p\" (port) that is not 1 to 65535"
    case .badHost(let fault): "token has a \"h\" (host) that \(fault)"
    case .badEdgeID(let fault): "token has an \"e\" (edgeID) that \(fault)"
    case .badSecret(let fault): "token has a \"s\" (secret) that \(fault)"
    case .badPin(let fault): "token has a \"f\" (hubPin) that \(fault)"
    }
  }
}

extension String.UTF8View {
  /// Without the ASCII white space at both ends.
  fileprivate var trimmed: Substring.UTF8View {
    let isSpace = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
    var rest = self[...]
    while let first = rest.first, isSpace(first) { rest.removeFirst() }
    while let last = rest.last, isSpace(last) { rest.removeLast() }
    return rest
  }
}
