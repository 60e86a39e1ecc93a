// Addresses as text, against tables and against the C library.

import Glibc
import RIBase
import TestRandom
import Testing

@testable import RIWire

@Suite struct AddressTextTests {
  /// Text that must be read, and how it is written again.
  static let readable: [(String, String)] = [
    ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("192.0.2.1", "192.0.2.1"),
    ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:DB8::1", "2001:db8::1"),
    ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
    // RFC 5952 4.2.2: one zero group is not shortened. 4.2.3: the longest run, the first of equals.
    ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
    ("0:0:1::", "0:0:1::"), ("1:0:0:0:0:0:0:0", "1::"),
    ("::ffff:192.0.2.1", "::ffff:192.0.2.1"), ("::FFFF:c000:0201", "::ffff:192.0.2.1"),
    ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"), ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    ("abcd:ef01:2345:6789:abcd:ef01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"),
  ]

  @Test(arguments: readable) func readsAndWritesCanonically(text: String, canonical: String) {
    #expect(IPAddress(parsing: text)?.description == canonical)
  }

  static let unreadable = [
    "", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.04", "1..2.3", ".1.2.3.4",
    "1.2.3.4.", "1.2.3.4 ", " 1.2.3.4", "+1.2.3.4", "1.2.3.-4", "0x1.2.3.4", "1.2.3.4\0",
    "999999999999999999999.1.1.1", ":", ":::", "1:", ":1", "1:::2", "1::2::3", "::1::",
    "12345::", "::g", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
    "::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "::1.2.3", "::1.2.3.4.5", "1.2.3.4::", "::1.2.3.4:5",
    "1:2:3:4:5:6:7:1.2.3.4", "[::1]", "fe80::1%eth0", "::ffff:01.2.3.4", "::٣",
    "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
  ]

  @Test(arguments: unreadable) func refusesAnythingElse(text: String) {
    #expect(IPAddress(parsing: text) == nil)
  }

  @Test(arguments: propertySeeds) func v6AgreesWithTheCLibrary(seed: UInt64) {
    var random = SplitMix64(seed)
    for _ in 0..<2_000 {
      // Many zero groups, so that runs of all lengths occur.
      var groups = (0..<8).map { _ in random.below(2) == 0 ? 0 : UInt16(random.below(0x10000)) }
      if random.below(4) == 0 { groups.replaceSubrange(0..<6, with: [0, 0, 0, 0, 0, 0xFFFF]) }
      let high = groups[..<4].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
      let low = groups[4...].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
      let address = IPAddress(v6High: high, low: low)
      #expect(IPAddress(parsing: address.description) == address, "seed \(seed)")
      #expect(Oracle.read(address.description) == address, "seed \(seed)")
      // The C library also writes the long outdated IPv4-compatible form ::1.2.3.4.
      if high == 0, low >> 32 == 0 { continue }
      #expect(address.description == Oracle.writeV6(address), "seed \(seed)")
    }
  }

  @Test(arguments: propertySeeds) func brokenTextIsReadAsTheCLibraryReadsIt(seed: UInt64) {
    var random = SplitMix64(seed)
    let alphabet = Array("0123456789abcF:::...".utf8)
    for _ in 0..<5_000 {
      let (seedText, _) = Self.readable[random.below(Self.readable.count)]
      var bytes = random.mutate(Array(seedText.utf8))
      if random.below(2) == 0 {
        bytes = bytes.map { random.below(6) == 0 ? alphabet[random.below(alphabet.count)] : $0 }
      }
      if bytes.contains(0) { continue }
      let text = String(decoding: bytes, as: UTF8.self)
      #expect(IPAddress(parsing: text) == Oracle.read(text), "seed \(seed), \(text)")
    }
  }

  @Test func socketAddressesShowTheirPort() {
    #expect(SocketAddress(.loopbackV4, 80).description == "127.0.0.1:80")
    #expect(SocketAddress(.loopbackV6, 65_535).description == "[::1]:65535")
    #expect(SocketAddress(.loopbackV6, 1, scope: 3).description == "[::1%3]:1")
  }
}

/// The C library's own reader and writer.
private enum Oracle {
  static func read(_ text: String) -> IPAddress? {
    var v4 = in_addr()
    if inet_pton(AF_INET, text, &v4) == 1 { return IPAddress(v4: UInt32(bigEndian: v4.s_addr)) }
    var v6 = in6_addr()
    guard inet_pton(AF_INET6, text, &v6) == 1 else { return nil }
    return withUnsafeBytes(of: v6) {
      IPAddress(
        v6High: UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
        low: UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }
  }

  static func writeV6(_ address: IPAddress) -> String? {
    let words = [address.high.bigEndian, address.low.bigEndian]
    var text = [CChar](repeating: 0, count: 64)
    guard inet_ntop(AF_INET6, words, &text, 64) != nil else { return nil }
    return text.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } }
  }
}
