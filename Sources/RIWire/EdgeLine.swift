// The line that an edge introduces itself with (SPEC 2.1).

import RIBase

/// `EDGE <id> <secret>`: who the edge is, and its proof.
public struct EdgeLine: Equatable, Sendable {
  /// 1 to 128 printable ASCII characters without spaces.
  public let edgeID: String
  public let secret: Secret

  public init(edgeID: String, secret: Secret) throws(HandshakeError) {
    if let fault = CredentialFault(edgeID.utf8, bytesMax: Limits.edgeIDBytesMax) {
      throw .badEdgeID(fault)
    }
    self.edgeID = edgeID
    self.secret = secret
  }

  /// Reads a line without its newline.
  public init(parsing line: some Collection<UInt8>) throws(HandshakeError) {
    guard line.count <= Limits.handshakeLineBytesMax else { throw .lineTooLong }
    let fields = line.split(separator: 0x20, maxSplits: 2, omittingEmptySubsequences: false)
    guard fields.count == 3, fields[0].elementsEqual("EDGE".utf8) else { throw .notEdgeLine }
    // The id first, so that a bad one is named before the secret is looked at.
    if let fault = CredentialFault(fields[1], bytesMax: Limits.edgeIDBytesMax) {
      throw .badEdgeID(fault)
    }
    edgeID = String(decoding: fields[1], as: UTF8.self)
    do throws(CredentialFault) {
      secret = try Secret(fields[2])
    } catch {
      throw .badSecret(error)
    }
  }

  /// The line with its newline. It holds the secret.
  public func encoded() -> [UInt8] { Array("EDGE \(edgeID) \(secret.revealed)\n".utf8) }
}

/// Why a handshake failed. Never holds a part of the line, so never a secret.
public enum HandshakeError: Error, Equatable, Sendable {
  case lineTooLong
  /// Not `EDGE`, one space, an id, one space and a secret.
  case notEdgeLine
  case badEdgeID(CredentialFault)
  case badSecret(CredentialFault)
}

/// What is wrong with an id or a secret.
public enum CredentialFault: Error, Equatable, Sendable {
  case empty
  case tooLong(limit: Int)
  /// A byte that is not one of 0x21 to 0x7E: printable ASCII without the space.
  case notPrintable

  /// nil when nothing is.
  public init?(_ text: some Collection<UInt8>, bytesMax: Int) {
    if text.isEmpty {
      self = .empty
    } else if text.count > bytesMax {
      self = .tooLong(limit: bytesMax)
    } else if !text.allSatisfy({ (0x21...0x7E).contains($0) }) {
      self = .notPrintable
    } else {
      return nil
    }
  }
}

extension HandshakeError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .lineTooLong: "handshake line is too long"
    case .notEdgeLine: "not an EDGE line"
    case .badEdgeID(let fault): "edge id \(fault)"
    case .badSecret(let fault): "secret \(fault)"
    }
  }
}

extension CredentialFault: CustomStringConvertible {
  public var description: String {
    switch self {
    case .empty: "is empty"
    case .tooLong(let limit): "is longer than \(limit) bytes"
    case .notPrintable: "has characters other than printable ASCII without spaces"
    }
  }
}
