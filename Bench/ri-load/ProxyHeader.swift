// The PROXY protocol, versions 1 and 2, as a target reads it: who the client is that a hub speaks
// for.

import Glibc

/// A header in front of a stream or a datagram (proxy-protocol.txt 2.1, 2.2).
struct ProxyHeader: Equatable {
  /// What the first bytes are.
  enum Parsed: Equatable {
    case header(ProxyHeader)
    /// They begin like a header; more are needed.
    case incomplete
    /// No header, and none will come.
    case absent
    /// They begin like a header and are none.
    case wrong
  }

  /// Nil where the header says that it speaks for nobody (UNKNOWN, LOCAL).
  var source: Endpoint?
  var version: Int
  var byteCount: Int

  private static let signature: [UInt8] = [
    0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
  ]
  private static let word = Array("PROXY ".utf8)
  /// With CR LF (2.1).
  private static let lineBytesMax = 107

  static func parse(_ bytes: some Collection<UInt8>) -> Parsed {
    for mark in [signature, word] {
      let part = mark.prefix(bytes.count)
      guard bytes.starts(with: part) else { continue }
      guard part.count == mark.count else { return .incomplete }
      return mark.count == word.count ? parseLine(Array(bytes)) : parseBinary(Array(bytes))
    }
    return .absent
  }

  private static func parseLine(_ bytes: [UInt8]) -> Parsed {
    let line = bytes.prefix(lineBytesMax)
    guard let end = line.firstIndex(of: UInt8(ascii: "\n")) else {
      return bytes.count < lineBytesMax ? .incomplete : .wrong
    }
    guard end > 0, bytes[end - 1] == UInt8(ascii: "\r") else { return .wrong }
    let words = String(decoding: bytes[..<(end - 1)], as: UTF8.self).split(
      separator: " ", omittingEmptySubsequences: false)
    if words.count >= 2, words[1] == "UNKNOWN" {
      return .header(ProxyHeader(source: nil, version: 1, byteCount: end + 1))
    }
    guard words.count == 6, words[1] == "TCP4" || words[1] == "TCP6",
      let address = parseAddress(String(words[2]), isLong: words[1] == "TCP6"),
      parseAddress(String(words[3]), isLong: words[1] == "TCP6") != nil,
      let port = UInt16(words[4]), UInt16(words[5]) != nil
    else { return .wrong }
    return .header(
      ProxyHeader(
        source: Endpoint(address: address, port: port), version: 1, byteCount: end + 1))
  }

  private static func parseBinary(_ bytes: [UInt8]) -> Parsed {
    guard bytes.count >= 16 else { return .incomplete }
    let (version, command, family) = (bytes[12] >> 4, bytes[12] & 15, bytes[13] >> 4)
    guard version == 2, command <= 1 else { return .wrong }
    let byteCount = 16 + Int(bytes[14]) << 8 + Int(bytes[15])
    guard bytes.count >= byteCount else { return .incomplete }
    let addressBytes = family == 1 ? 4 : family == 2 ? 16 : 0
    guard command == 1, addressBytes > 0 else {
      return .header(ProxyHeader(source: nil, version: 2, byteCount: byteCount))
    }
    guard byteCount >= 16 + 2 * addressBytes + 4 else { return .wrong }
    let ports = 16 + 2 * addressBytes
    return .header(
      ProxyHeader(
        source: Endpoint(
          address: Array(bytes[16..<16 + addressBytes]),
          port: UInt16(bytes[ports]) << 8 | UInt16(bytes[ports + 1])), version: 2,
        byteCount: byteCount))
  }
}

/// The bytes of an address in its usual form; nil for what is none of that family.
private func parseAddress(_ text: String, isLong: Bool) -> [UInt8]? {
  var bytes = [UInt8](repeating: 0, count: isLong ? 16 : 4)
  return inet_pton(isLong ? AF_INET6 : AF_INET, text, &bytes) == 1 ? bytes : nil
}
