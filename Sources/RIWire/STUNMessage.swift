// STUN (RFC 8489): the binding request, and what may come back for it.
//
// ```
//  0               2               4               8              20
//  ┌───────────────┬───────────────┬───────────────┬───────────────┬──────────────────────────┐
//  │ type          │ length u16    │ magic cookie  │ transaction   │ attributes, length bytes │
//  └───────────────┴───────────────┴───────────────┴───────────────┴──────────────────────────┘
//  attribute: type u16, length u16, value, padding to a multiple of 4
// ```

import RIBase

/// What a response is recognised by: 96 bits that nobody can guess.
public struct STUNTransactionID: Hashable, Sendable {
  fileprivate var high: UInt32
  fileprivate var low: UInt64

  /// `random` gives 64 random bits a call.
  public init(random: () -> UInt64) {
    high = UInt32(truncatingIfNeeded: random())
    low = random()
  }
}

/// What a server made of a binding request.
public enum STUNAnswer: Hashable, Sendable {
  /// Where the request came from, as the server sees it (XOR-MAPPED-ADDRESS).
  case address(SocketAddress)
  /// An error response with its code, 300 to 699.
  case refused(code: Int)
  /// A response from which no address can be taken.
  case unusable(Fault)

  public enum Fault: Hashable, Sendable {
    case noAddress
    case badAttribute(UInt16)
    /// The server wants us to understand something that we do not.
    case unknownAttribute(UInt16)
  }
}

/// The codec of binding requests and responses.
public enum STUNMessage {
  public static let portDefault: Port = 3_478
  public static let headerBytes = 20
  static let magicCookie: UInt32 = 0x2112_A442

  enum Kind {
    static let bindingRequest: UInt16 = 0x0001
    static let bindingSuccess: UInt16 = 0x0101
    static let bindingError: UInt16 = 0x0111
  }

  enum Attribute {
    static let errorCode: UInt16 = 0x0009
    static let xorMappedAddress: UInt16 = 0x0020
    static let fingerprint: UInt16 = 0x8028
    /// Up to here receivers must understand an attribute (RFC 8489 section 14).
    static let requiredMax: UInt16 = 0x7FFF
    /// MAPPED-ADDRESS, RFC 3489's, and those of authentication: nothing that we asked for depends
    /// on them.
    static let passedOver: Set<UInt16> = [
      0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x0006, 0x0007, 0x0008, 0x000A, 0x000B, 0x0014,
      0x0015, 0x001C, 0x001D, 0x001E,
    ]
  }

  /// A binding request. It needs no attribute.
  public static func bindingRequest(_ id: STUNTransactionID) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(headerBytes)
    append(Kind.bindingRequest, to: &bytes)
    append(UInt16(0), to: &bytes)
    append(magicCookie, to: &bytes)
    append(id.high, to: &bytes)
    append(id.low, to: &bytes)
    return bytes
  }

  /// Reads a datagram. nil for whatever is not a well-formed response to the request `id`: it is
  /// to be passed over as if it had not come (section 6.3).
  public static func answer(
    to id: STUNTransactionID, in datagram: UnsafeRawBufferPointer
  ) -> STUNAnswer? {
    let bytes = Array(datagram)
    guard bytes.count >= headerBytes, let kind = integer(bytes, at: 0, UInt16.self),
      kind == Kind.bindingSuccess || kind == Kind.bindingError,
      integer(bytes, at: 2, UInt16.self).map({ Int($0) }) == bytes.count - headerBytes,
      bytes.count % 4 == 0, integer(bytes, at: 4, UInt32.self) == magicCookie,
      integer(bytes, at: 8, UInt32.self) == id.high, integer(bytes, at: 12, UInt64.self) == id.low,
      let attributes = attributes(of: bytes)
    else { return nil }
    return kind == Kind.bindingError
      ? errorAnswer(attributes, bytes) : addressAnswer(attributes, bytes, id)
  }

  // MARK: Attributes

  private struct Value {
    var type: UInt16
    var bytes: Range<Int>
  }

  /// The attributes up to FINGERPRINT, which is the last one; nil when they do not fill the message
  /// or the fingerprint is another message's.
  private static func attributes(of bytes: [UInt8]) -> [Value]? {
    var values: [Value] = []
    var offset = headerBytes
    while offset < bytes.count {
      guard let type = integer(bytes, at: offset, UInt16.self),
        let length = integer(bytes, at: offset + 2, UInt16.self)
      else { return nil }
      let start = offset + 4
      let end = start + Int(length)
      guard end <= bytes.count else { return nil }
      if type == Attribute.fingerprint {
        let expected = checksum(bytes[..<offset]) ^ 0x5354_554E
        return length == 4 && integer(bytes, at: start, UInt32.self) == expected ? values : nil
      }
      values.append(Value(type: type, bytes: start..<end))
      offset = start + (Int(length) + 3) & ~3
    }
    return values
  }

  /// Of attributes of one type the first counts (section 14).
  private static func addressAnswer(
    _ attributes: [Value], _ bytes: [UInt8], _ id: STUNTransactionID
  ) -> STUNAnswer {
    let stranger = attributes.first {
      $0.type <= Attribute.requiredMax && $0.type != Attribute.xorMappedAddress
        && !Attribute.passedOver.contains($0.type)
    }
    if let stranger { return .unusable(.unknownAttribute(stranger.type)) }
    guard let value = attributes.first(where: { $0.type == Attribute.xorMappedAddress }) else {
      return .unusable(.noAddress)
    }
    guard let address = mappedAddress(Array(bytes[value.bytes]), id) else {
      return .unusable(.badAttribute(value.type))
    }
    return .address(address)
  }

  /// XOR-MAPPED-ADDRESS (section 14.2): zero, family, port, address; port and address are XORed
  /// with the cookie, and with the transaction id behind it.
  private static func mappedAddress(_ value: [UInt8], _ id: STUNTransactionID) -> SocketAddress? {
    guard value.count >= 4, let port = integer(value, at: 2, UInt16.self) else { return nil }
    let address: IPAddress
    switch (value[1], value.count) {
    case (1, 8):
      guard let bits = integer(value, at: 4, UInt32.self) else { return nil }
      address = IPAddress(v4: bits ^ magicCookie)
    case (2, 20):
      guard let high = integer(value, at: 4, UInt64.self),
        let low = integer(value, at: 12, UInt64.self)
      else { return nil }
      address = IPAddress(
        v6High: high ^ (UInt64(magicCookie) << 32 | UInt64(id.high)), low: low ^ id.low)
    default: return nil
    }
    return SocketAddress(address, port ^ UInt16(magicCookie >> 16))
  }

  /// ERROR-CODE (section 14.8): 21 bits of nothing, the hundreds in three, the rest in a byte.
  private static func errorAnswer(_ attributes: [Value], _ bytes: [UInt8]) -> STUNAnswer {
    guard let value = attributes.first(where: { $0.type == Attribute.errorCode }),
      value.bytes.count >= 4
    else { return .unusable(.badAttribute(Attribute.errorCode)) }
    let hundreds = Int(bytes[value.bytes.lowerBound + 2] & 7)
    let rest = Int(bytes[value.bytes.lowerBound + 3])
    guard 3...6 ~= hundreds, rest < 100 else {
      return .unusable(.badAttribute(Attribute.errorCode))
    }
    return .refused(code: hundreds * 100 + rest)
  }

  // MARK: Bytes

  /// A big-endian integer, or nil where the bytes end before it does.
  private static func integer<Integer: FixedWidthInteger & UnsignedInteger>(
    _ bytes: [UInt8], at offset: Int, _: Integer.Type
  ) -> Integer? {
    let size = Integer.bitWidth / 8
    guard offset + size <= bytes.count else { return nil }
    return bytes[offset..<offset + size].reduce(0) { $0 << 8 | Integer($1) }
  }

  private static func append<Integer: FixedWidthInteger>(
    _ value: Integer, to bytes: inout [UInt8]
  ) {
    for shift in stride(from: Integer.bitWidth - 8, through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> Integer(shift)))
    }
  }

  /// CRC-32 of ITU-T V.42, as in section 14.7.
  static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(UInt32.max) { remainder, byte in
      (0..<8).reduce(remainder ^ UInt32(byte)) { value, _ in
        value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1
      }
    }
  }
}

extension STUNAnswer.Fault: CustomStringConvertible {
  public var description: String {
    switch self {
    case .noAddress: "a response without XOR-MAPPED-ADDRESS"
    case .badAttribute(let type): "a malformed attribute \(type)"
    case .unknownAttribute(let type): "an unknown attribute \(type)"
    }
  }
}
