// What client and target say to each other in front of the load: the client what it wants, the
// target who the client is to it; and behind an upload, what arrived.

import LoadKit

/// The first 32 bytes of a connection, in big-endian order: mark, mode, 3 zeros, offset, total
/// bytes, 8 zeros.
struct Request: Equatable {
  enum Mode: UInt8 { case echo = 1, download, upload }

  static let byteCount = 32
  private static let mark: [UInt8] = Array("RILD".utf8)

  var mode: Mode
  /// Where in the pattern the connection's bytes begin: bytes of another connection show.
  var offset: UInt64
  /// Where a download ends; 0: never.
  var totalBytes: UInt64 = 0

  init(_ mode: Mode, offset: UInt64, totalBytes: UInt64 = 0) {
    self.mode = mode
    self.offset = offset
    self.totalBytes = totalBytes
  }

  /// Nil for bytes that are no request.
  init?(_ bytes: some Collection<UInt8>) {
    let bytes = Array(bytes)
    guard bytes.count == Self.byteCount, bytes.starts(with: Self.mark),
      let mode = Mode(rawValue: bytes[4]), (bytes[5..<8] + bytes[24...]).allSatisfy({ $0 == 0 })
    else { return nil }
    self.init(
      mode, offset: bigEndianNumber(bytes[8..<16]), totalBytes: bigEndianNumber(bytes[16..<24]))
  }

  /// What the target says back of it.
  var check: UInt64 { offset &+ totalBytes }

  var bytes: [UInt8] {
    Self.mark + [mode.rawValue, 0, 0, 0] + bigEndian(offset) + bigEndian(totalBytes)
      + bigEndian(UInt64(0))
  }
}

/// The target's answer to a request, 32 bytes: mark, family (4, 6), 1 where a PROXY header said the
/// address, port, address (4 bytes or 16, and zeros), and the request's numbers, so that a request
/// that was changed on the way shows.
struct Reply: Equatable {
  static let byteCount = 32
  private static let mark: [UInt8] = Array("RILR".utf8)

  /// The client, as the target knows it.
  var client: Endpoint
  var isFromHeader: Bool
  /// Offset and total bytes of the request, added.
  var requested: UInt64

  init(client: Endpoint, isFromHeader: Bool, to request: Request) {
    self.client = client
    self.isFromHeader = isFromHeader
    requested = request.check
  }

  init?(_ bytes: some Collection<UInt8>) {
    let bytes = Array(bytes)
    guard bytes.count == Self.byteCount, bytes.starts(with: Self.mark), bytes[5] <= 1,
      bytes[4] == 4 || bytes[4] == 6
    else { return nil }
    let length = bytes[4] == 4 ? 4 : 16
    client = Endpoint(
      address: Array(bytes[8..<8 + length]), port: UInt16(bigEndianNumber(bytes[6..<8])))
    isFromHeader = bytes[5] == 1
    requested = bigEndianNumber(bytes[24...])
    guard bytes[(8 + length)..<24].allSatisfy({ $0 == 0 }) else { return nil }
  }

  var bytes: [UInt8] {
    let fixed =
      Self.mark + [client.address.count == 4 ? 4 : 6, isFromHeader ? 1 : 0]
      + bigEndian(client.port) + client.address
    return fixed + [UInt8](repeating: 0, count: 24 - fixed.count) + bigEndian(requested)
  }
}

/// What the target says at the end of an upload, 16 bytes: bytes received, and 1 where they were
/// wrong.
struct Receipt: Equatable {
  static let byteCount = 16

  var bytesReceived: UInt64
  var isWrong: Bool

  init(bytesReceived: UInt64, isWrong: Bool) {
    self.bytesReceived = bytesReceived
    self.isWrong = isWrong
  }

  init?(_ bytes: some Collection<UInt8>) {
    let bytes = Array(bytes)
    guard bytes.count == Self.byteCount, bigEndianNumber(bytes[8...]) <= 1 else { return nil }
    bytesReceived = bigEndianNumber(bytes[..<8])
    isWrong = bigEndianNumber(bytes[8...]) == 1
  }

  var bytes: [UInt8] { bigEndian(bytesReceived) + bigEndian(UInt64(isWrong ? 1 : 0)) }
}

/// What stands in front of each datagram: mark, session, number. What follows is the pattern at a
/// place that both say.
struct DatagramHeader: Equatable {
  static let byteCount = 16
  private static let mark: UInt32 = 0x5249_4C44

  var session: UInt32
  var number: UInt64

  init(session: UInt32, number: UInt64) {
    self.session = session
    self.number = number
  }

  init?(_ bytes: some Collection<UInt8>) {
    let bytes = Array(bytes.prefix(Self.byteCount))
    guard bytes.count == Self.byteCount, bigEndianNumber(bytes[..<4]) == UInt64(Self.mark) else {
      return nil
    }
    session = UInt32(bigEndianNumber(bytes[4..<8]))
    number = bigEndianNumber(bytes[8...])
  }

  var bytes: [UInt8] { bigEndian(Self.mark) + bigEndian(session) + bigEndian(number) }
  var patternOffset: UInt64 { number &* 31 &+ UInt64(session) &* 8191 }
}

private func bigEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

private func bigEndianNumber(_ bytes: some Sequence<UInt8>) -> UInt64 {
  bytes.reduce(0) { $0 << 8 | UInt64($1) }
}
