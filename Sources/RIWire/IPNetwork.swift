// A range of addresses with a common prefix, as text in CIDR notation (RFC 4632, RFC 4291 2.3).

import RIBase

/// All addresses that share the first `prefixLength` bits of `address`.
public struct IPNetwork: Hashable, Sendable {
  /// The first address: bits behind the prefix are zero.
  public let address: IPAddress
  /// 0 to 32 or 128.
  public let prefixLength: Int

  /// nil when the prefix is longer than the address. Bits behind the prefix are dropped.
  public init?(_ address: IPAddress, prefixLength: Int) {
    let bits = address.family.bitCount
    guard 0...bits ~= prefixLength else { return nil }
    let kept = prefixLength == 0 ? 0 : UInt128.max << UInt128(bits - prefixLength)
    self.address = IPAddress(address.family, bits: address.bits & kept)
    self.prefixLength = prefixLength
  }

  /// Reads an address, or an address with the length of its prefix behind a slash. An IPv4-mapped
  /// IPv6 network (RFC 4291 2.5.5.2) is the IPv4 network: on the wire there is nothing else.
  public init?(parsing text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let address = IPAddress(parsing: String(parts[0])) else { return nil }
    var length = address.family.bitCount
    if parts.count == 2 {
      guard 1...3 ~= parts[1].utf8.count, parts[1].utf8.allSatisfy({ 0x30...0x39 ~= $0 }),
        let number = Int(parts[1])
      else { return nil }
      length = number
    }
    if let mapped = address.mappedV4, 96...128 ~= length {
      self.init(mapped, prefixLength: length - 96)
    } else {
      self.init(address, prefixLength: length)
    }
  }

  public var isSingleAddress: Bool { prefixLength == address.family.bitCount }
}

extension IPNetwork: CustomStringConvertible {
  /// "192.0.2.1", "192.0.2.0/24", "2001:db8::/32".
  public var description: String {
    isSingleAddress ? "\(address)" : "\(address)/\(prefixLength)"
  }
}

extension IPAddress.Family {
  /// The bits of an address: 32 or 128.
  public var bitCount: Int {
    switch self {
    case .v4: 32
    case .v6: 128
    }
  }
}

extension IPAddress {
  /// The IPv4 address that this IPv6 address stands for, if it is IPv4-mapped.
  public var mappedV4: IPAddress? {
    guard family == .v6, high == 0, low >> 32 == 0xFFFF else { return nil }
    return IPAddress(v4: UInt32(truncatingIfNeeded: low))
  }

  /// The address as a number.
  public var bits: UInt128 {
    switch family {
    case .v4: UInt128(v4)
    case .v6: UInt128(high) << 64 | UInt128(low)
    }
  }

  /// The address whose number is `bits`; of an IPv4 address the low 32 count.
  public init(_ family: Family, bits: UInt128) {
    switch family {
    case .v4: self.init(v4: UInt32(truncatingIfNeeded: bits))
    case .v6:
      self.init(
        v6High: UInt64(truncatingIfNeeded: bits >> 64), low: UInt64(truncatingIfNeeded: bits))
    }
  }
}
