// How many strangers may stand at the door.

import RIBase
import RIWire
import Testing

@testable import RIControl

@Suite struct HandshakeGateTests {
  private func address(_ text: String) throws -> IPAddress {
    try #require(IPAddress(parsing: text))
  }

  @Test func oneSourceCannotTakeAllPlaces() throws {
    var gate = HandshakeGate(max: 4, perSourceMax: 2)
    let first = try address("192.0.2.1")
    let verdicts = [gate.admit(first), gate.admit(first), gate.admit(first)]
    #expect(verdicts == [true, true, false])
    #expect(gate.admit(try address("192.0.2.2")) == true)
    gate.leave(first)
    #expect(gate.admit(first) == true)
  }

  @Test func allSourcesTogetherHaveALimit() throws {
    var gate = HandshakeGate(max: 2, perSourceMax: 2)
    #expect(gate.admit(try address("192.0.2.1")) == true)
    #expect(gate.admit(try address("192.0.2.2")) == true)
    #expect(gate.admit(try address("192.0.2.3")) == false)
    gate.leave(try address("192.0.2.1"))
    #expect(gate.admit(try address("192.0.2.3")) == true)
    #expect(gate.count == 2)
  }

  @Test func ipv6SourceIsItsSlash64() throws {
    var gate = HandshakeGate(max: 10, perSourceMax: 1)
    #expect(gate.admit(try address("2001:db8:0:1::1")) == true)
    #expect(gate.admit(try address("2001:db8:0:1:ffff::2")) == false)
    #expect(gate.admit(try address("2001:db8:0:2::1")) == true)
    gate.leave(try address("2001:db8:0:1::77"))
    #expect(gate.admit(try address("2001:db8:0:1::3")) == true)
  }

  @Test func ipv4AndIPv6SourcesDoNotMeet() throws {
    var gate = HandshakeGate(max: 10, perSourceMax: 1)
    #expect(gate.admit(.anyV4) == true)
    #expect(gate.admit(.anyV6) == true)
  }

  @Test func refusedHandshakesLeaveNothingBehind() throws {
    var gate = HandshakeGate(max: 1, perSourceMax: 1)
    let holder = try address("192.0.2.1")
    #expect(gate.admit(holder) == true)
    for low in 0..<1_000 { #expect(gate.admit(IPAddress(v4: UInt32(low))) == false) }
    gate.leave(holder)
    #expect(gate.count == 0)
    #expect(gate.admit(holder) == true)
  }
}
