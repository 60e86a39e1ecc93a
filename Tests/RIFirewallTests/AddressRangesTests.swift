// Networks as ranges, against plain counting.

import RIBase
import RIWire
import TestRandom
import Testing

@testable import RIFirewall

@Suite struct AddressRangesTests {
  private func texts(_ networks: [String], _ family: IPAddress.Family) -> [String] {
    AddressRange.covering(networks.compactMap { IPNetwork(parsing: $0) }, family)
      .map { $0.text(family) }
  }

  @Test func overlapsAndNeighboursBecomeOne() {
    #expect(texts(["10.0.0.0/9", "10.128.0.0/9", "2001:db8::/32"], .v4) == ["10.0.0.0/8"])
    #expect(texts(["10.0.0.9", "10.0.0.0/8", "10.0.0.9"], .v4) == ["10.0.0.0/8"])
    #expect(texts(["10.0.0.1", "10.0.0.2", "10.0.0.3"], .v4) == ["10.0.0.1-10.0.0.3"])
    #expect(texts(["10.0.0.3", "10.0.0.1"], .v4) == ["10.0.0.1", "10.0.0.3"])
    #expect(texts(["0.0.0.0/0", "255.255.255.255"], .v4) == ["0.0.0.0/0"])
    #expect(texts(["::/0", "ffff::"], .v6) == ["::/0"])
    #expect(texts(["8000::/1", "::/1", "10.0.0.0/8"], .v6) == ["::/0"])
    #expect(texts(["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::"], .v6).count == 2)
    #expect(texts([], .v4) == [])
  }

  /// In a space of 256 addresses every one can be asked for.
  @Test(arguments: propertySeeds)
  func rangesCoverWhatTheNetworksCover(seed: UInt64) {
    var random = SplitMix64(seed)
    for family in [IPAddress.Family.v4, .v6] {
      let base = IPAddress(parsing: family == .v4 ? "192.0.2.0" : "2001:db8::")?.bits ?? 0
      for _ in 0..<200 {
        let networks = (0..<random.below(40)).compactMap { _ in
          IPNetwork(
            IPAddress(family, bits: base + UInt128(random.below(256))),
            prefixLength: family.bitCount - random.below(7))
        }
        let ranges = AddressRange.covering(networks, family)
        for offset in 0..<UInt128(256) {
          let bits = base + offset
          let expected = networks.contains {
            let range = AddressRange($0)
            return range.first <= bits && bits <= range.last
          }
          #expect(ranges.contains { $0.first <= bits && bits <= $0.last } == expected, "\(seed)")
        }
        for (a, b) in zip(ranges, ranges.dropFirst()) {
          #expect(a.last < b.first - 1, "a gap between each two; seed \(seed)")
        }
      }
    }
  }
}
