// What a link is told in JSON.

import FoundationEssentials
import Testing

@testable import LinkKit

@Suite("Setup")
struct LinkSetupTests {
  static func decode(_ json: String) throws -> LinkSetup {
    try JSONDecoder().decode(LinkSetup.self, from: Data(json.utf8))
  }

  @Test("absent keys have their defaults")
  func defaults() throws {
    #expect(try Self.decode("{}") == LinkSetup())
    var wanted = LinkSetup()
    wanted.conditions.lossShare = 0.5
    wanted.congestion = "bbr"
    #expect(
      try Self.decode(#"{"conditions": {"lossShare": 0.5}, "congestion": "bbr"}"#) == wanted)
  }

  @Test("what was written is read again")
  func roundTrip() throws {
    var setup = LinkSetup()
    setup.mtu = 9000
    setup.isOffloaded = true
    setup.tcpBufferBytes = 1 << 20
    setup.conditions.seed = 7
    setup.conditions.reorderShare = 0.25
    setup.conditions.jitterNanoseconds = 5
    let json = String(decoding: try JSONEncoder().encode(setup), as: UTF8.self)
    #expect(try Self.decode(json) == setup)
  }

  @Test("text from a setup cannot become words of a command")
  func words() {
    var setup = LinkSetup()
    setup.congestion = "cubic mtu 68"
    #expect(throws: LinkError.self) { try setup.check() }
    setup.congestion = "bbr\nlink"
    #expect(throws: LinkError.self) { try setup.check() }
  }
}
