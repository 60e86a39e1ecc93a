// Names of extensions, and what a PING carries.

import RIBase
import Testing

@testable import RIWire

@Suite struct ExtensionsTests {
  @Test func namesAreTheProtocols() {
    #expect(Extensions.all.names == ["autoWindow", "drain", "udpStream"])
    #expect(Extensions.drain.names == ["drain"])
    #expect(Extensions().names.isEmpty)
  }

  @Test func unknownNamesAreLeftOut() {
    #expect(Extensions(names: ["lanes", "drain", "Drain", ""]) == .drain)
    #expect(Extensions(names: ["drain", "autoWindow", "drain"]) == .framed)
    #expect(Extensions(names: ["udpStream", "drain"]) == .quic)
    #expect(Extensions(names: [String]()) == [])
  }

  static let allowed: [(String?, Extensions)] = [
    (nil, .all), ("", .all), ("none", []), ("drain", .drain), ("autoWindow", .autoWindow),
    ("autoWindow,drain", .framed), ("udpStream, drain", .quic),
  ]

  @Test(arguments: allowed) func theVariableRestricts(text: String?, extensions: Extensions) throws
  {
    #expect(try Extensions(allowed: text) == extensions)
  }

  @Test(arguments: ["lanes", "drain,none", "drain;autoWindow", "DRAIN"])
  func unknownNamesInTheVariableAreErrors(text: String) throws {
    let error = #expect(throws: UnknownExtension.self) { try Extensions(allowed: text) }
    #expect(error?.description.contains("REMOTEINGRESS_EXTENSIONS") == true)
  }
}

@Suite struct PingPayloadTests {
  private func read(_ bytes: [UInt8]) -> PingPayload? {
    bytes.withUnsafeBytes { PingPayload(decoding: $0) }
  }

  @Test func bothFormsToTheByte() {
    let ping = PingPayload(sequence: 0x0102, baseRoundTrip: Interval(nanoseconds: 0x0A0B))
    let short: [UInt8] = [0, 0, 0, 0, 0, 0, 1, 2]
    #expect(ping.withBytes(long: false) { Array($0) } == short)
    #expect(ping.withBytes(long: true) { Array($0) } == short + [0, 0, 0, 0, 0, 0, 10, 11])
    #expect(read(short) == PingPayload(sequence: 0x0102))
    #expect(read(short + [0, 0, 0, 0, 0, 0, 10, 11]) == ping)
  }

  @Test func notKnownIsZero() {
    let bytes = PingPayload(sequence: 1).withBytes(long: true) { Array($0) }
    #expect(bytes == [0, 0, 0, 0, 0, 0, 0, 1] + [UInt8](repeating: 0, count: 8))
    #expect(read(bytes) == PingPayload(sequence: 1))
  }

  @Test func whatCannotBeIsNotKnown() {
    let sequence: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 7]
    #expect(read(sequence + [UInt8](repeating: 255, count: 8)) == PingPayload(sequence: 7))
    let longest = UInt64(Limits.silenceTimeout.nanoseconds)
    for (nanoseconds, isTaken) in [(longest, true), (longest + 1, false)] {
      let bytes = withUnsafeBytes(of: nanoseconds.bigEndian) { Array($0) }
      #expect((read(sequence + bytes)?.baseRoundTrip != nil) == isTaken)
    }
  }

  @Test(arguments: [0, 1, 7, 9, 15, 17, 64]) func otherLengthsAreNotOurs(count: Int) {
    #expect(read([UInt8](repeating: 1, count: count)) == nil)
  }
}
