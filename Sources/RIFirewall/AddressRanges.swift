// Networks as the ranges of addresses that they cover together.

import RIBase
import RIWire

/// Addresses from `first` to `last`, of one family.
struct AddressRange: Hashable {
  var first: UInt128
  var last: UInt128

  init(_ network: IPNetwork) {
    let hostBits = network.address.family.bitCount - network.prefixLength
    first = network.address.bits
    last = first | (hostBits == 128 ? .max : (1 << UInt128(hostBits)) - 1)
  }

  /// The ranges that cover exactly what the networks of `family` cover, in order and with a gap
  /// between each two. nftables refuses intervals that overlap, and its own merging of them takes
  /// longer than all the rest.
  static func covering(_ networks: [IPNetwork], _ family: IPAddress.Family) -> [AddressRange] {
    var ranges = networks.lazy.filter { $0.address.family == family }.map(AddressRange.init)
      .sorted { $0.first < $1.first }
    var kept = 0
    for i in ranges.indices.dropFirst() {
      let range = ranges[i]
      let end = ranges[kept].last
      if range.first <= end || range.first - 1 == end {
        ranges[kept].last = max(end, range.last)
      } else {
        kept += 1
        ranges[kept] = range
      }
    }
    ranges.removeLast(max(0, ranges.count - kept - 1))
    return ranges
  }

  /// The range as an element of a set: an address, a prefix where it is one, else both its ends.
  func text(_ family: IPAddress.Family) -> String {
    let start = IPAddress(family, bits: first)
    if first == last { return "\(start)" }
    // A prefix covers 2^n addresses and begins at a multiple of that: first and last differ in
    // exactly their n low bits, all zero in the one and all one in the other.
    let varying = first ^ last
    if varying & (varying &+ 1) == 0, first & varying == 0 {
      let hostBits = UInt128.bitWidth - varying.leadingZeroBitCount
      return "\(start)/\(family.bitCount - hostBits)"
    }
    return "\(start)-\(IPAddress(family, bits: last))"
  }
}
