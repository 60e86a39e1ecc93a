// The PROXY protocol header that carries a client's address (haproxy proxy-protocol.txt): its
// meaning and the text form, version 1. Version 2 is in ProxyHeaderV2.swift.

import RIBase

/// Who connected to whom.
public struct ProxyHeader: Hashable, Sendable {
  /// The longest line of version 1, CRLF included (proxy-protocol.txt 2.1).
  public static let v1BytesMax = Limits.openPayloadBytesMax

  /// The client.
  public var source: SocketAddress
  /// Where it connected to.
  public var destination: SocketAddress

  public init(source: SocketAddress, destination: SocketAddress) {
    self.source = source
    self.destination = destination
  }

  /// Both addresses in one family: an IPv4 address beside an IPv6 one becomes IPv4-mapped.
  var inOneFamily: (source: IPAddress, destination: IPAddress) {
    source.ip.family == destination.ip.family
      ? (source.ip, destination.ip) : (source.ip.mappedToV6, destination.ip.mappedToV6)
  }
}

extension IPAddress {
  /// The IPv4-mapped IPv6 address (RFC 4291 2.5.5.2) of an IPv4 address; any other as it is.
  var mappedToV6: IPAddress {
    family == .v4 ? IPAddress(v6High: 0, low: 0xFFFF << 32 | UInt64(v4)) : self
  }
}

/// Why a PROXY header was refused.
public enum ProxyError: Error, Equatable, Sendable {
  /// Does not begin as a PROXY header does.
  case notProxy
  case tooLong
  /// Ends before it should.
  case truncated
  /// Bytes behind the header's end.
  case trailingBytes
  /// Version 1: neither TCP4 nor TCP6, or not a single space behind it.
  case badProtocol
  /// UNKNOWN, LOCAL or unspecified: there is no client address in it.
  case noAddresses
  /// Not an address of the announced family, or not a single space behind it.
  case badSourceAddress
  case badDestinationAddress
  /// Not a canonical decimal number up to 65535, or not followed as it should be.
  case badSourcePort
  case badDestinationPort
  /// Does not end in exactly CR LF.
  case badLineEnd
  /// Version 2: a version other than 2, an unknown command or family.
  case badVersion
  case badCommand
  case badFamily
  /// Version 2: a stream where datagrams were expected, or the other way round.
  case wrongTransport
}

extension ProxyError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notProxy: "not a PROXY header"
    case .tooLong: "PROXY header is too long"
    case .truncated: "PROXY header is cut short"
    case .trailingBytes: "bytes behind the PROXY header"
    case .badProtocol: "PROXY header names neither TCP4 nor TCP6"
    case .noAddresses: "PROXY header carries no addresses"
    case .badSourceAddress: "PROXY header has a bad source address"
    case .badDestinationAddress: "PROXY header has a bad destination address"
    case .badSourcePort: "PROXY header has a bad source port"
    case .badDestinationPort: "PROXY header has a bad destination port"
    case .badLineEnd: "PROXY header does not end in CR LF"
    case .badVersion: "PROXY header has an unknown version"
    case .badCommand: "PROXY header has an unknown command"
    case .badFamily: "PROXY header has an unknown address family"
    case .wrongTransport: "PROXY header is for the wrong transport"
    }
  }
}

// MARK: Version 1

extension ProxyHeader {
  /// The line of version 1, CRLF included.
  public func encodedV1() -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: Self.v1BytesMax) { buffer, count in
      count = writeV1(into: UnsafeMutableRawBufferPointer(buffer))
    }
  }

  /// Writes the line of version 1 and returns its length. There must be room for `v1BytesMax`.
  /// Never allocates.
  public func writeV1(into bytes: UnsafeMutableRawBufferPointer) -> Int {
    let (from, to) = inOneFamily
    var writer = MessageWriter(bytes)
    writer.append(from.family == .v4 ? "PROXY TCP4 " : "PROXY TCP6 ")
    from.write(to: &writer)
    writer.append(0x20)
    to.write(to: &writer)
    writer.append(0x20)
    writer.append(decimal: UInt32(source.port))
    writer.append(0x20)
    writer.append(decimal: UInt32(destination.port))
    writer.append("\r\n")
    return writer.count
  }

  /// Reads a line of version 1 that takes up all the bytes, CRLF included. Strict: single spaces,
  /// canonical numbers, addresses of the announced family; UNKNOWN is refused. Never allocates.
  public init(parsingV1 bytes: UnsafeRawBufferPointer) throws(ProxyError) {
    guard bytes.count <= Self.v1BytesMax else { throw .tooLong }
    var scanner = ByteScanner(bytes)
    guard scanner.skip("PROXY ") else { throw .notProxy }
    let family: IPAddress.Family
    if scanner.skip("TCP4 ") {
      family = .v4
    } else if scanner.skip("TCP6 ") {
      family = .v6
    } else {
      throw scanner.skip("UNKNOWN") ? .noAddresses : .badProtocol
    }
    guard let from = scanner.address(family) else { throw .badSourceAddress }
    guard let to = scanner.address(family) else { throw .badDestinationAddress }
    guard let fromPort = scanner.decimal(max: 65_535), scanner.skip(0x20) else {
      throw .badSourcePort
    }
    guard let toPort = scanner.decimal(max: 65_535) else { throw .badDestinationPort }
    guard scanner.skip("\r\n") else { throw .badLineEnd }
    guard scanner.isAtEnd else { throw .trailingBytes }
    source = SocketAddress(from, Port(fromPort))
    destination = SocketAddress(to, Port(toPort))
  }
}

extension ByteScanner {
  /// An address of that family and the space behind it.
  fileprivate mutating func address(_ family: IPAddress.Family) -> IPAddress? {
    let text = take { $0 == 0x20 }
    guard let address = IPAddress(parsing: text), address.family == family, skip(0x20) else {
      return nil
    }
    return address
  }
}
