// What a comparison of two reports says.

import Testing

@testable import ri_bench

@Suite("Comparison")
struct ComparisonTests {
  private func verdict(
    _ quantity: Quantity, _ old: [Double], _ new: [Double]
  ) throws -> Comparison.Verdict {
    Comparison.Row(
      old: try #require(Measure("c", .oursUring, quantity, old)),
      new: try #require(Measure("c", .oursUring, quantity, new))
    ).verdict
  }

  @Test("better and worse only where all rounds of the one lie beyond all of the other")
  func verdicts() throws {
    #expect(try verdict(.throughput, [9, 10, 11], [12, 13, 14]) == .better)
    #expect(try verdict(.cpuPerByte, [9, 10, 11], [12, 13, 14]) == .worse)
    #expect(try verdict(.tail, [12, 13, 14], [9, 10, 11]) == .better)
    #expect(try verdict(.rate, [12, 13, 14], [9, 10, 11]) == .worse)
    #expect(try verdict(.rate, [9, 10, 12], [11, 13, 14]) == .within)
    #expect(try verdict(.rate, [9, 10], [11, 13, 14]) == .unknown)
  }

  @Test("figures that only one of the two has are left out, and another machine is said")
  func pairs() throws {
    let old = try Fixture.report()
    var new = try Fixture.report(factor: 2)
    new.loads.removeAll { $0.name == "crr-32" }
    let comparison = Comparison(of: new, with: old)
    #expect(!comparison.rows.contains { $0.new.name == "crr-32" })
    let bulk = try #require(
      comparison.rows.first {
        $0.new.name == "bulk-down-16" && $0.new.system == "ours-uring"
          && $0.new.quantity == .throughput
      })
    #expect(bulk.verdict == .better && (bulk.ratio - 2).magnitude < 0.01)
    #expect(comparison.rows.contains { $0.new.system == "roofline" && $0.verdict == .within })
    #expect(comparison.warning == nil)
    new.machine.cores = 64
    #expect(Comparison(of: new, with: old).text().contains("another machine"))
  }
}
