// PROXY headers of both versions: what is written, what is read, what is refused.

import RIBase
import TestRandom
import Testing

@testable import RIWire

private func parseV1(_ text: String) throws -> ProxyHeader {
  try parseV1(Array(text.utf8))
}

private func parseV1(_ bytes: [UInt8]) throws -> ProxyHeader {
  try bytes.withUnsafeBytes { try ProxyHeader(parsingV1: $0) }
}

private func parseV2(
  _ bytes: [UInt8], _ transport: ProxyHeader.Transport = .datagram
) throws -> ProxyHeader {
  try bytes.withUnsafeBytes { try ProxyHeader(parsingV2: $0, transport: transport) }
}

private func randomHeader(_ random: inout SplitMix64) -> ProxyHeader {
  func address(_ isV4: Bool) -> SocketAddress {
    let ip =
      isV4
      ? IPAddress(v4: UInt32(truncatingIfNeeded: random.next()))
      : IPAddress(v6High: random.next(), low: random.next())
    return SocketAddress(ip, Port(truncatingIfNeeded: random.next()))
  }
  let isV4 = random.below(2) == 0
  return ProxyHeader(source: address(isV4), destination: address(isV4))
}

private let v4Header = ProxyHeader(
  source: SocketAddress(IPAddress(v4: 0xC000_0201), 56_324),
  destination: SocketAddress(IPAddress(v4: 0xC633_6402), 443))
private let v6Header = ProxyHeader(
  source: SocketAddress(IPAddress(v6High: 0x2001_0DB8_0000_0000, low: 1), 1),
  destination: SocketAddress(.loopbackV6, 65_535))

@Suite struct ProxyV1Tests {
  @Test func writesTheLine() {
    #expect(v4Header.encodedV1() == Array("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n".utf8))
    #expect(v6Header.encodedV1() == Array("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n".utf8))
  }

  @Test func addressesOfTwoFamiliesAreWrittenInOne() throws {
    let header = ProxyHeader(source: v4Header.source, destination: v6Header.destination)
    let line = "PROXY TCP6 ::ffff:192.0.2.1 ::1 56324 65535\r\n"
    #expect(header.encodedV1() == Array(line.utf8))
    #expect(try parseV1(line).destination == v6Header.destination)
  }

  @Test func theLongestLineFits() throws {
    let longest = SocketAddress(IPAddress(v6High: .max, low: .max), .max)
    let header = ProxyHeader(source: longest, destination: longest)
    #expect(header.encodedV1().count <= ProxyHeader.v1BytesMax)
    #expect(try parseV1(header.encodedV1()) == header)
  }

  @Test(arguments: propertySeeds) func readsWhatItWrites(seed: UInt64) throws {
    var random = SplitMix64(seed)
    for _ in 0..<1_000 {
      let header = randomHeader(&random)
      #expect(try parseV1(header.encodedV1()) == header, "seed \(seed)")
    }
  }

  static let refused: [(String, ProxyError)] = [
    ("", .notProxy), ("PROXY", .notProxy), ("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", .notProxy),
    (" PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", .notProxy), ("GET / HTTP/1.1\r\n", .notProxy),
    ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", .badProtocol),
    ("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", .badProtocol),
    ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", .badProtocol),
    ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", .badProtocol), ("PROXY \r\n", .badProtocol),
    ("PROXY UNKNOWN\r\n", .noAddresses),
    ("PROXY UNKNOWN 1.2.3.4 1.2.3.4 1 2\r\n", .noAddresses),
    ("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", .badSourceAddress),
    ("PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", .badSourceAddress),
    ("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", .badSourceAddress),
    ("PROXY TCP4 ::1 1.2.3.4 1 2\r\n", .badSourceAddress),
    ("PROXY TCP4 1.2.3.4\r\n", .badSourceAddress),
    ("PROXY TCP4 1.2.3.4 ::1 1 2\r\n", .badDestinationAddress),
    ("PROXY TCP6 ::1 1.2.3.4 1 2\r\n", .badDestinationAddress),
    ("PROXY TCP6 1.2.3.4 ::1 1 2\r\n", .badSourceAddress),
    ("PROXY TCP6 ::1%lo ::1 1 2\r\n", .badSourceAddress),
    ("PROXY TCP4 1.2.3.4\t1.2.3.4 1 2\r\n", .badSourceAddress),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", .badSourcePort),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", .badSourcePort),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", .badSourcePort),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", .badSourcePort),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 99999999999999999999 2\r\n", .badSourcePort),
    ("PROXY TCP4 1.2.3.4 1.2.3.4  1 2\r\n", .badSourcePort),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", .badSourcePort),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", .badDestinationPort),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", .badDestinationPort),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n", .badDestinationPort),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1 0x2\r\n", .badLineEnd),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2", .badLineEnd),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", .badLineEnd),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r", .badLineEnd),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", .badLineEnd),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n\r\n", .trailingBytes),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nPROXY TCP4 9.9.9.9 1.2.3.4 1 2\r\n", .trailingBytes),
    ("PROXY TCP4 " + String(repeating: "1", count: 100) + "\r\n", .tooLong),
  ]

  @Test(arguments: refused) func refusesWithItsName(text: String, error: ProxyError) {
    #expect(throws: error) { try parseV1(text) }
  }

  @Test func acceptsPortZeroAsTheProtocolDoes() throws {
    #expect(try parseV1("PROXY TCP4 1.2.3.4 1.2.3.4 0 0\r\n").source.port == 0)
  }

  @Test(arguments: propertySeeds) func whatIsReadFromBrokenLinesIsCanonical(seed: UInt64) {
    var random = SplitMix64(seed)
    for _ in 0..<3_000 {
      let bytes = random.mutate(randomHeader(&random).encodedV1())
      guard let header = try? parseV1(bytes), header.source.ip.family == .v4 else { continue }
      #expect(header.encodedV1() == bytes, "seed \(seed)")
    }
  }
}

@Suite struct ProxyV2Tests {
  static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

  @Test func writesTheHeader() {
    let addresses: [UInt8] = [192, 0, 2, 1, 198, 51, 100, 2, 0xDC, 0x04, 0x01, 0xBB]
    #expect(
      v4Header.encodedV2(transport: .datagram)
        == Self.signature + [0x21, 0x12, 0, 12] + addresses)
    #expect(
      v4Header.encodedV2(transport: .stream) == Self.signature + [0x21, 0x11, 0, 12] + addresses)
    let v6 = v6Header.encodedV2(transport: .datagram)
    #expect(Array(v6[12..<16]) == [0x21, 0x22, 0, 36])
    #expect(v6.count == ProxyHeader.v2BytesMax)
  }

  @Test(arguments: propertySeeds) func readsWhatItWritesAndPassesOverTLVs(seed: UInt64) throws {
    var random = SplitMix64(seed)
    for _ in 0..<500 {
      let header = randomHeader(&random)
      let transport: ProxyHeader.Transport = random.below(2) == 0 ? .stream : .datagram
      var bytes = header.encodedV2(transport: transport)
      #expect(try parseV2(bytes, transport) == header, "seed \(seed)")
      // Random bytes as TLVs: their lengths point anywhere.
      let extra = random.bytes(random.below(600))
      let length = bytes.count - 16 + extra.count
      bytes[14] = UInt8(length >> 8)
      bytes[15] = UInt8(length & 0xFF)
      #expect(try parseV2(bytes + extra, transport) == header, "seed \(seed)")
    }
  }

  static let refused: [([UInt8], ProxyError)] = [
    ([], .notProxy), (Array(signature.dropLast()), .notProxy), (signature, .truncated),
    (signature + [0x21, 0x12, 0], .truncated),
    (signature + [0x11, 0x12, 0, 0], .badVersion), (signature + [0x31, 0x12, 0, 0], .badVersion),
    (signature + [0x20, 0x00, 0, 0], .noAddresses), (signature + [0x20, 0x12, 0, 0], .noAddresses),
    (signature + [0x21, 0x00, 0, 0], .noAddresses), (signature + [0x22, 0x12, 0, 0], .badCommand),
    (signature + [0x21, 0x31, 0, 0], .badFamily), (signature + [0x21, 0x02, 0, 0], .badFamily),
    (signature + [0x21, 0x11, 0, 0], .wrongTransport),
    (signature + [0x21, 0x10, 0, 0], .wrongTransport),
    (signature + [0x21, 0x13, 0, 0], .wrongTransport),
    (signature + [0x21, 0x12, 0, 12], .truncated),
    (signature + [0x21, 0x12, 0xFF, 0xFF] + [UInt8](repeating: 0, count: 40), .truncated),
    (signature + [0x21, 0x12, 0, 11] + [UInt8](repeating: 0, count: 11), .truncated),
    (signature + [0x21, 0x22, 0, 35] + [UInt8](repeating: 0, count: 35), .truncated),
    (signature + [0x21, 0x12, 0, 12] + [UInt8](repeating: 0, count: 13), .trailingBytes),
  ]

  @Test(arguments: refused) func refusesWithItsName(bytes: [UInt8], error: ProxyError) {
    #expect(throws: error) { try parseV2(bytes) }
  }

  @Test(arguments: propertySeeds) func brokenHeadersNeverTrap(seed: UInt64) {
    var random = SplitMix64(seed)
    var read = 0
    for _ in 0..<3_000 {
      let bytes = random.mutate(randomHeader(&random).encodedV2(transport: .datagram))
      if (try? parseV2(bytes)) != nil { read += 1 }
    }
    #expect(read > 0 && read < 3_000, "seed \(seed)")
  }
}
