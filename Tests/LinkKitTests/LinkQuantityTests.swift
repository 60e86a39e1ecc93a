// How quantities are written.

import Testing

@testable import LinkKit

@Suite("Quantities")
struct LinkQuantityTests {
  @Test("units are what they say")
  func units() {
    #expect(LinkQuantity.rate("1gbit") == 1_000_000_000)
    #expect(LinkQuantity.rate("2.5gbit") == 2_500_000_000)
    #expect(LinkQuantity.rate("9600bit") == 9600)
    #expect(LinkQuantity.duration("40ms") == 40_000_000)
    #expect(LinkQuantity.duration("1.5s") == 1_500_000_000)
    #expect(LinkQuantity.duration("250us") == 250_000)
    #expect(LinkQuantity.share("1%") == 0.01)
    #expect(LinkQuantity.share("0.1%").map { ($0 - 0.001).magnitude < 1e-12 } == true)
    #expect(LinkQuantity.size("4MB") == 4_194_304)
    #expect(LinkQuantity.size("1500B") == 1500)
    #expect(LinkQuantity.rate("0") == 0)
  }

  @Test(
    "what is no quantity is refused",
    arguments: [
      "", "1", "gbit", "-1gbit", "1 gbit", "1gbit ", "1e3gbit", "1Gbit", "1..2gbit", "nan",
    ])
  func refused(text: String) {
    #expect(LinkQuantity.rate(text) == nil)
  }

  @Test("a number too large to be meant is refused")
  func tooLarge() {
    #expect(LinkQuantity.rate("99999999999999999999gbit") == nil)
    #expect(LinkQuantity.size("99999999999GB") == nil)
  }
}
