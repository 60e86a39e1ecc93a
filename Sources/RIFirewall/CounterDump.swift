// The counters of the firewall's table, asked of the kernel by netlink (netlink(7),
// linux/netfilter/nf_tables.h). libnftables could list them too, but reads all tables of the
// machine with all their elements first, each time.
//
// ```
//  0               4       6       8               12              16      20
//  ┌───────────────┬───────┬───────┬───────────────┬───────────────┬───────┬──────────────────────┐
//  │ length u32    │ type  │ flags │ sequence      │ port          │ inet… │ attributes           │
//  └───────────────┴───────┴───────┴───────────────┴───────────────┴───────┴──────────────────────┘
//  attribute: length u16 (with these four bytes), type u16, value, padding to a multiple of 4
// ```
// Headers are in the machine's byte order, numbers in attributes are big-endian.

import CNFTables
import Glibc

/// One counter: a name and two numbers.
struct NamedCounter: Equatable {
  var name: String
  var packets: UInt64
  var bytes: UInt64
}

/// A request for all counters of a table, and the reader of what comes back.
struct CounterDump {
  private static let headerBytes = 16
  private static let genericBytes = 4

  private(set) var counters: [NamedCounter] = []
  /// The kernel's tables changed meanwhile: ask again.
  private(set) var isInterrupted = false
  private(set) var isDone = false

  /// Asks for the counters of the table `inet` `table`.
  static func request(table: String) -> [UInt8] {
    var bytes: [UInt8] = []
    append(UInt32(0), to: &bytes)
    append(RI_NFT_GET_OBJECT, to: &bytes)
    append(RI_NLM_REQUEST_DUMP, to: &bytes)
    append(UInt32(1), to: &bytes)
    append(UInt32(0), to: &bytes)
    bytes += [RI_NFPROTO_INET, 0, 0, 0]
    appendAttribute(RI_NFTA_OBJECT_TABLE, Array(table.utf8) + [0], to: &bytes)
    let counter = withUnsafeBytes(of: RI_NFT_OBJECT_COUNTER.bigEndian) { Array($0) }
    appendAttribute(RI_NFTA_OBJECT_TYPE, counter, to: &bytes)
    let length = withUnsafeBytes(of: UInt32(bytes.count)) { Array($0) }
    bytes.replaceSubrange(0..<4, with: length)
    return bytes
  }

  /// Takes one datagram of the kernel: any number of messages. Throws the kernel's refusal.
  mutating func receive(_ bytes: [UInt8]) throws(NFTablesError) {
    var offset = 0
    while !isDone, let length = Self.load(bytes, at: offset, UInt32.self).map({ Int($0) }),
      let type = Self.load(bytes, at: offset + 4, UInt16.self),
      let flags = Self.load(bytes, at: offset + 6, UInt16.self),
      length >= Self.headerBytes, length <= bytes.count - offset
    {
      if flags & RI_NLM_DUMP_INTERRUPTED != 0 { isInterrupted = true }
      let body = offset + Self.headerBytes..<offset + length
      switch type {
      case RI_NLMSG_DONE: isDone = true
      case RI_NLMSG_ERROR:
        isDone = true
        let code = Self.load(bytes, at: body.lowerBound, UInt32.self) ?? 0
        let number = 0 &- Int32(truncatingIfNeeded: code)
        // No such table: no counters.
        if number > 0, number != ENOENT {
          throw NFTablesError("the kernel lists no counters: \(String(cString: strerror(number)))")
        }
      case RI_NFT_NEW_OBJECT:
        if let counter = Self.counter(bytes, body) { counters.append(counter) }
      default: break
      }
      offset += (length + 3) & ~3
    }
  }

  private static func counter(_ bytes: [UInt8], _ body: Range<Int>) -> NamedCounter? {
    guard body.count >= genericBytes else { return nil }
    var name: String?
    var packets: UInt64 = 0
    var octets: UInt64 = 0
    forEachAttribute(bytes, body.lowerBound + genericBytes..<body.upperBound) { type, value in
      switch type {
      case RI_NFTA_OBJECT_NAME:
        name = String(decoding: bytes[value].prefix { $0 != 0 }, as: UTF8.self)
      case RI_NFTA_OBJECT_DATA:
        forEachAttribute(bytes, value) { type, value in
          let number = bytes[value].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
          if type == RI_NFTA_COUNTER_PACKETS { packets = number }
          if type == RI_NFTA_COUNTER_BYTES { octets = number }
        }
      default: break
      }
    }
    return name.map { NamedCounter(name: $0, packets: packets, bytes: octets) }
  }

  private static func forEachAttribute(
    _ bytes: [UInt8], _ range: Range<Int>, _ body: (UInt16, Range<Int>) -> Void
  ) {
    var offset = range.lowerBound
    while offset + 4 <= range.upperBound,
      let length = load(bytes, at: offset, UInt16.self).map({ Int($0) }),
      let type = load(bytes, at: offset + 2, UInt16.self), length >= 4,
      offset + length <= range.upperBound
    {
      body(type & RI_NLA_TYPE_MASK, offset + 4..<offset + length)
      offset += (length + 3) & ~3
    }
  }

  // MARK: Bytes

  private static func load<Integer: FixedWidthInteger & UnsignedInteger>(
    _ bytes: [UInt8], at offset: Int, _: Integer.Type
  ) -> Integer? {
    let size = Integer.bitWidth / 8
    guard offset >= 0, offset + size <= bytes.count else { return nil }
    return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: Integer.self) }
  }

  private static func append<Integer: FixedWidthInteger>(
    _ value: Integer, to bytes: inout [UInt8]
  ) { withUnsafeBytes(of: value) { bytes += $0 } }

  private static func appendAttribute(
    _ type: UInt16, _ value: [UInt8], to bytes: inout [UInt8]
  ) {
    append(UInt16(4 + value.count), to: &bytes)
    append(type, to: &bytes)
    bytes += value
    bytes += [UInt8](repeating: 0, count: -value.count & 3)
  }

  // MARK: The socket

  /// Asks the kernel; answers within milliseconds.
  static func counters(ofTable table: String) throws(NFTablesError) -> [NamedCounter] {
    // A dump that was overtaken by a change is asked for again; changes are rare.
    for _ in 0..<8 {
      let dump = try ask(table)
      if !dump.isInterrupted { return dump.counters }
    }
    throw NFTablesError("nftables changes too fast to be read")
  }

  private static func ask(_ table: String) throws(NFTablesError) -> CounterDump {
    let descriptor = ri_netfilter_socket()
    guard descriptor >= 0 else { throw failure("socket", -descriptor) }
    defer { close(descriptor) }
    var patience = timeval(tv_sec: 5, tv_usec: 0)
    setsockopt(
      descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    let request = request(table: table)
    guard send(descriptor, request, request.count, 0) == request.count else {
      throw failure("send", errno)
    }
    var dump = CounterDump()
    // The kernel fills 32 KiB at most (NLMSG_GOODSIZE is less).
    var buffer = [UInt8](repeating: 0, count: 32_768)
    while !dump.isDone {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      guard count > 0 else {
        if errno == EINTR { continue }
        throw failure("recv", errno)
      }
      try dump.receive(Array(buffer[..<count]))
    }
    return dump
  }

  private static func failure(_ call: String, _ code: Int32) -> NFTablesError {
    NFTablesError("netlink: \(call): \(String(cString: strerror(code)))")
  }
}
