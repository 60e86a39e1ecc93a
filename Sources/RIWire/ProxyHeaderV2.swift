// The binary form of the PROXY protocol header, version 2 (proxy-protocol.txt 2.2):
// [signature: 12][version 2 | command][family | transport][length: u16][addresses][TLVs].

import RIBase

extension ProxyHeader {
  /// The longest header that we write: fixed part, two IPv6 addresses, two ports.
  public static let v2BytesMax = 52

  /// What the connection carries; the raw value is its place in the header.
  public enum Transport: UInt8, Sendable {
    case stream = 1
    case datagram = 2
  }

  private static let v2Signature: StaticString = "\r\n\r\n\0\r\nQUIT\n"
  private static let v2FixedBytes = 16

  /// Whether bytes begin with the signature of version 2.
  static func hasV2Signature(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var scanner = ByteScanner(bytes)
    return scanner.skip(v2Signature)
  }

  /// The header, without TLVs.
  public func encodedV2(transport: Transport) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: Self.v2BytesMax) { buffer, count in
      count = writeV2(transport: transport, into: UnsafeMutableRawBufferPointer(buffer))
    }
  }

  /// Writes the header, without TLVs, and returns its length. There must be room for
  /// `v2BytesMax`. Never allocates.
  public func writeV2(transport: Transport, into bytes: UnsafeMutableRawBufferPointer) -> Int {
    let (from, to) = inOneFamily
    let isV4 = from.family == .v4
    var writer = MessageWriter(bytes)
    writer.append(Self.v2Signature)
    writer.append(0x21)
    writer.append((isV4 ? 0x10 : 0x20) | transport.rawValue)
    writer.append(bigEndian: isV4 ? 12 : 36, byteCount: 2)
    writer.append(binary: from)
    writer.append(binary: to)
    writer.append(bigEndian: UInt64(source.port), byteCount: 2)
    writer.append(bigEndian: UInt64(destination.port), byteCount: 2)
    return writer.count
  }

  /// Reads a header of version 2 that takes up all the bytes and is for that transport. TLVs are
  /// passed over unread, whatever they hold. Never allocates.
  public init(
    parsingV2 bytes: UnsafeRawBufferPointer, transport: Transport
  ) throws(ProxyError) {
    var scanner = ByteScanner(bytes)
    guard scanner.skip(Self.v2Signature) else { throw .notProxy }
    guard let command = scanner.next(), let kind = scanner.next(),
      let length = scanner.bigEndian(byteCount: 2)
    else { throw .truncated }
    guard command >> 4 == 2 else { throw .badVersion }
    let end = Self.v2FixedBytes + Int(length)
    guard bytes.count >= end else { throw .truncated }
    guard bytes.count == end else { throw .trailingBytes }
    switch command & 0xF {
    case 0: throw .noAddresses
    case 1: break
    default: throw .badCommand
    }
    guard kind != 0 else { throw .noAddresses }
    let family: IPAddress.Family
    switch kind >> 4 {
    case 1: family = .v4
    case 2: family = .v6
    default: throw .badFamily
    }
    guard kind & 0xF == transport.rawValue else { throw .wrongTransport }
    guard let from = scanner.binaryAddress(family), let to = scanner.binaryAddress(family),
      let fromPort = scanner.bigEndian(byteCount: 2), let toPort = scanner.bigEndian(byteCount: 2)
    else { throw .truncated }
    source = SocketAddress(from, Port(truncatingIfNeeded: fromPort))
    destination = SocketAddress(to, Port(truncatingIfNeeded: toPort))
  }
}

extension MessageWriter {
  /// The low `byteCount` bytes of the value, the most significant first. 1 to 8.
  fileprivate mutating func append(bigEndian value: UInt64, byteCount: Int) {
    for i in (0..<byteCount).reversed() {
      append(UInt8(truncatingIfNeeded: value >> UInt64(8 * i)))
    }
  }

  fileprivate mutating func append(binary address: IPAddress) {
    switch address.family {
    case .v4: append(bigEndian: UInt64(address.v4), byteCount: 4)
    case .v6:
      append(bigEndian: address.high, byteCount: 8)
      append(bigEndian: address.low, byteCount: 8)
    }
  }
}

extension ByteScanner {
  /// An unsigned number in network order, 1 to 8 bytes.
  fileprivate mutating func bigEndian(byteCount: Int) -> UInt64? {
    var value: UInt64 = 0
    for _ in 0..<byteCount {
      guard let byte = next() else { return nil }
      value = value << 8 | UInt64(byte)
    }
    return value
  }

  fileprivate mutating func binaryAddress(_ family: IPAddress.Family) -> IPAddress? {
    switch family {
    case .v4: return bigEndian(byteCount: 4).map { IPAddress(v4: UInt32(truncatingIfNeeded: $0)) }
    case .v6:
      guard let high = bigEndian(byteCount: 8), let low = bigEndian(byteCount: 8) else {
        return nil
      }
      return IPAddress(v6High: high, low: low)
    }
  }
}
