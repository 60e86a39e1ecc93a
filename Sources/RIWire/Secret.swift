// What an edge proves itself with. It never prints.

import RIBase

/// 1 to 1,024 printable ASCII characters without spaces. Printing, dumping or interpolating one
/// shows nothing of it; only `revealed` and its encoded form do.
public struct Secret: Sendable, CustomStringConvertible, CustomDebugStringConvertible,
  CustomReflectable
{
  private let bytes: [UInt8]

  public init(_ bytes: some Collection<UInt8>) throws(CredentialFault) {
    if let fault = CredentialFault(bytes, bytesMax: Limits.secretBytesMax) {
      throw fault
    }
    self.bytes = Array(bytes)
  }

  public init(_ text: String) throws(CredentialFault) { try self.init(text.utf8) }

  /// The secret itself, for the wire and for files that hold it.
  public var revealed: String { String(decoding: bytes, as: UTF8.self) }

  /// Whether both are the same. Takes a time that depends on the length of `candidate` alone.
  @inline(never)
  public func isEqual(to candidate: Secret) -> Bool {
    var difference = bytes.count ^ candidate.bytes.count
    for (i, byte) in candidate.bytes.enumerated() {
      difference |= Int(bytes[min(i, bytes.count - 1)] ^ byte)
    }
    return difference == 0
  }

  public var description: String { "•••" }
  public var debugDescription: String { "•••" }
  public var customMirror: Mirror { Mirror(self, children: []) }
}

extension Secret: Equatable {
  public static func == (a: Secret, b: Secret) -> Bool { a.isEqual(to: b) }
}

extension Secret: Codable {
  public init(from decoder: any Decoder) throws {
    try self.init(decoder.singleValueContainer().decode(String.self))
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(revealed)
  }
}
