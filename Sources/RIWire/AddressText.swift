// Addresses as text: IPv4 in dotted decimal, IPv6 read as RFC 4291 2.2 and written as RFC 5952.

import RIBase

extension IPAddress {
  /// The longest text of an address.
  public static let textBytesMax = 45

  /// Reads an address that takes up the whole text: "192.0.2.1" without leading zeros, or any form
  /// of RFC 4291 2.2. No zone, no brackets.
  public init?(parsing text: String) {
    var text = text
    guard let address = text.withUTF8({ IPAddress(parsing: UnsafeRawBufferPointer($0)) }) else {
      return nil
    }
    self = address
  }

  /// The same from bytes. Never allocates.
  public init?(parsing bytes: UnsafeRawBufferPointer) {
    guard bytes.count <= Self.textBytesMax else { return nil }
    var scanner = ByteScanner(bytes)
    let address = bytes.contains(0x3A) ? Self.v6(&scanner) : Self.v4(&scanner)
    guard let address, scanner.isAtEnd else { return nil }
    self = address
  }

  private static func v4(_ scanner: inout ByteScanner) -> IPAddress? {
    var value: UInt32 = 0
    for i in 0..<4 {
      if i > 0, !scanner.skip(0x2E) { return nil }
      guard let part = scanner.decimal(max: 255) else { return nil }
      value = value << 8 | part
    }
    return IPAddress(v4: value)
  }

  private static func v6(_ scanner: inout ByteScanner) -> IPAddress? {
    var groups: UInt128 = 0
    var count = 0
    // How many groups stand in front of "::".
    var gap: Int? = scanner.skip("::") ? 0 : nil
    while !scanner.isAtEnd {
      var tail = scanner
      if let group = group(&scanner), scanner.peek != 0x2E {
        groups = groups << 16 | UInt128(group)
        count += 1
      } else {
        // The last two groups may be an IPv4 address.
        guard let address = v4(&tail), tail.isAtEnd else { return nil }
        groups = groups << 32 | UInt128(address.v4)
        count += 2
        scanner = tail
      }
      guard count <= 8 else { return nil }
      if scanner.isAtEnd { break }
      guard scanner.skip(0x3A) else { return nil }
      if scanner.skip(0x3A) {
        guard gap == nil else { return nil }
        gap = count
      } else if scanner.isAtEnd {
        return nil
      }
    }
    if let gap {
      // "::" stands for at least one group.
      guard count < 8 else { return nil }
      let backBits = 16 * (count - gap)
      let back = groups & ((UInt128(1) << backBits) - 1)
      groups = (groups >> backBits) << (128 - 16 * gap) | back
    } else if count != 8 {
      return nil
    }
    return IPAddress(
      v6High: UInt64(truncatingIfNeeded: groups >> 64), low: UInt64(truncatingIfNeeded: groups))
  }

  /// One to four hexadecimal digits.
  private static func group(_ scanner: inout ByteScanner) -> UInt16? {
    var value: UInt16 = 0
    var digits = 0
    while let byte = scanner.peek, let digit = ByteScanner.hexDigit(byte) {
      guard digits < 4 else { return nil }
      value = value << 4 | UInt16(digit)
      digits += 1
      _ = scanner.next()
    }
    return digits > 0 ? value : nil
  }

  // MARK: Writing

  /// Writes the text and returns its length. There must be room for `textBytesMax`. Never
  /// allocates.
  public func writeText(into bytes: UnsafeMutableRawBufferPointer) -> Int {
    var writer = MessageWriter(bytes)
    write(to: &writer)
    return writer.count
  }

  func write(to writer: inout MessageWriter) {
    switch family {
    case .v4: Self.writeV4(v4, to: &writer)
    case .v6 where high == 0 && low >> 32 == 0xFFFF:
      // RFC 5952 5: an IPv4-mapped address shows its IPv4 part.
      writer.append("::ffff:")
      Self.writeV4(UInt32(truncatingIfNeeded: low), to: &writer)
    case .v6: writeV6(to: &writer)
    }
  }

  private static func writeV4(_ address: UInt32, to writer: inout MessageWriter) {
    for i in 0..<4 {
      if i > 0 { writer.append(0x2E) }
      writer.append(decimal: address >> UInt32(24 - 8 * i) & 0xFF)
    }
  }

  private func writeV6(to writer: inout MessageWriter) {
    let zeros = longestZeroRun()
    var i = 0
    while i < 8 {
      if i == zeros.lowerBound, !zeros.isEmpty {
        writer.append("::")
        i = zeros.upperBound
        continue
      }
      if i > 0, i != zeros.upperBound || zeros.isEmpty { writer.append(0x3A) }
      writer.append(hex: group(i))
      i += 1
    }
  }

  private func group(_ i: Int) -> UInt16 {
    UInt16(truncatingIfNeeded: (i < 4 ? high : low) >> UInt64(48 - 16 * (i % 4)))
  }

  /// RFC 5952 4.2: "::" takes the longest run of two or more zero groups, the first of equals.
  private func longestZeroRun() -> Range<Int> {
    var longest = 0..<0
    var start = 0
    for i in 0...8 {
      if i < 8, group(i) == 0 { continue }
      if i - start > max(longest.count, 1) { longest = start..<i }
      start = i + 1
    }
    return longest
  }
}

/// A cursor that writes a message into memory that must be large enough; traps where it is not.
struct MessageWriter {
  private let bytes: UnsafeMutableRawBufferPointer
  private(set) var count = 0

  init(_ bytes: UnsafeMutableRawBufferPointer) { self.bytes = bytes }

  mutating func append(_ byte: UInt8) {
    precondition(count < bytes.count)
    // SAFETY: count was just checked against the bytes.
    bytes[count] = byte
    count += 1
  }

  mutating func append(_ text: StaticString) {
    text.withUTF8Buffer { for byte in $0 { append(byte) } }
  }

  mutating func append(decimal value: UInt32) {
    var divisor: UInt32 = 1
    while value / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
      append(0x30 + UInt8(value / divisor % 10))
      divisor /= 10
    }
  }

  mutating func append(hex value: UInt16) {
    var shift = value > 0xFFF ? 12 : value > 0xFF ? 8 : value > 0xF ? 4 : 0
    while shift >= 0 {
      let digit = UInt8(value >> UInt16(shift) & 0xF)
      append(digit < 10 ? 0x30 + digit : 0x61 + digit - 10)
      shift -= 4
    }
  }
}

extension IPAddress: CustomStringConvertible {
  public var description: String {
    String(unsafeUninitializedCapacity: Self.textBytesMax) {
      writeText(into: UnsafeMutableRawBufferPointer($0))
    }
  }
}

extension SocketAddress: CustomStringConvertible {
  /// "192.0.2.1:80", "[2001:db8::1]:80", "[fe80::1%2]:80".
  public var description: String {
    switch ip.family {
    case .v4: "\(ip):\(port)"
    case .v6: scope == 0 ? "[\(ip)]:\(port)" : "[\(ip)%\(scope)]:\(port)"
    }
  }
}
