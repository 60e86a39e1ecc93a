// The pattern notices what a relay could do wrong.

import Glibc
import Testing

@testable import LoadKit

@Suite("Pattern")
struct PatternTests {
  let pattern = Pattern()

  func stream(from offset: UInt64, count: Int) -> [UInt8] {
    (0..<count).map { pattern.bytes(at: offset + UInt64($0)).pointee }
  }

  func matches(_ bytes: [UInt8], at offset: UInt64) -> Bool {
    bytes.withUnsafeBytes {
      guard let start = $0.baseAddress else { return true }
      return pattern.matches(start, count: bytes.count, at: offset)
    }
  }

  @Test("the stream matches itself at any offset and length")
  func matchesItself() {
    for offset in [0, 1, 65_530, 65_537, 1_000_003] as [UInt64] {
      for count in [1, 63, 64, 65, 1000, 70_000] {
        #expect(matches(stream(from: offset, count: count), at: offset))
      }
    }
  }

  @Test("a shift by any power of two shows", arguments: 0..<24)
  func shifts(bits: Int) {
    #expect(!matches(stream(from: 5 + 1 << UInt64(bits), count: 256), at: 5))
  }

  @Test("a byte lost in the middle shows at the end")
  func loss() {
    var bytes = stream(from: 0, count: 4097)
    bytes.remove(at: 2000)
    #expect(!matches(bytes, at: 0))
  }

  @Test("what is sent is the stream, across the period's end")
  func sending() throws {
    var ends: [Int32] = [0, 0]
    try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
    defer { ends.forEach { close($0) } }
    let start: UInt64 = 65_000
    // The other end is not read meanwhile: only what fits the socket may be sent.
    #expect(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0)
    let sent = pattern.send(on: ends[0], from: start)
    try #require(sent > 1000)
    var received = [UInt8](repeating: 0, count: sent)
    #expect(recv(ends[1], &received, sent, Int32(MSG_WAITALL)) == sent)
    #expect(received == stream(from: start, count: sent))
  }
}
