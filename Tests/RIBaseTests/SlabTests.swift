// The slab against a dictionary.

import TestRandom
import Testing

@testable import RIBase

@Suite struct SlabTests {
  @Test(arguments: propertySeeds) func agreesWithADictionary(seed: UInt64) {
    var random = SplitMix64(seed)
    let capacity = 700
    let slab = Slab<Int>(capacity: capacity)
    var oracle: [SlotID: Int] = [:]
    var gone: [SlotID] = []
    for i in 0..<20_000 {
      switch random.below(5) {
      case 0, 1:
        let id = slab.insert(i)
        #expect((id == nil) == (oracle.count == capacity), "seed \(seed)")
        if let id {
          #expect(oracle[id] == nil)
          oracle[id] = i
        }
      case 2:
        // Now and then most at once, so that it runs full and empty.
        for _ in 0..<(random.below(200) == 0 ? 600 : 1) {
          guard let id = oracle.keys.first else { continue }
          #expect(slab.remove(id) == oracle[id], "seed \(seed)")
          oracle[id] = nil
          gone.append(id)
        }
      case 3:
        guard let (id, value) = oracle.first else { continue }
        #expect(slab[id] == value, "seed \(seed)")
        slab[id] += 1
        oracle[id] = value + 1
      default:
        guard let id = gone.randomElement(using: &random) else { continue }
        #expect(!slab.contains(id) && slab.remove(id) == nil, "seed \(seed)")
      }
      #expect(slab.count == oracle.count, "seed \(seed)")
    }
    #expect(Set(slab.ids) == Set(oracle.keys), "seed \(seed)")
    #expect(slab.slotsEverUsed <= capacity)
  }

  @Test func namesThatWereNeverGivenFindNothing() {
    let slab = Slab<Int>(capacity: 4)
    #expect(!slab.contains(.none))
    _ = slab.insert(1)
    for id in [
      SlotID.none, SlotID(index: 0, generation: 0), SlotID(index: 0, generation: 2),
      SlotID(index: 1, generation: 1), SlotID(index: 4, generation: 1),
    ] { #expect(!slab.contains(id)) }
    #expect(slab.id(at: -1) == nil && slab.id(at: 3) == nil && slab.id(at: 1_000) == nil)
  }

  @Test func elementsStayWhereTheyAre() throws {
    let slab = Slab<Int>(capacity: 10_000)
    let first = try #require(slab.insert(1))
    let before = slab.address(first)
    for i in 0..<9_999 { _ = slab.insert(i) }
    #expect(slab.address(first) == before)
  }

  @Test func releasesWhatItHolds() {
    final class Token {}
    weak var kept: Token?
    weak var removed: Token?
    do {
      let slab = Slab<Token>(capacity: 8)
      let first = Token()
      let second = Token()
      kept = first
      removed = second
      _ = slab.insert(first)
      if let id = slab.insert(second) { slab.remove(id) }
    }
    #expect(kept == nil && removed == nil)
  }

  @Test func aWalkGoesAsFarAsSlotsWereUsed() throws {
    let slab = Slab<Int>(capacity: 1_000)
    #expect(slab.slotsEverUsed == 0)
    let first = try #require(slab.insert(1))
    #expect(slab.insert(2) != nil)
    #expect(slab.slotsEverUsed == 2)
    slab.remove(first)
    #expect(slab.insert(3) != nil)
    #expect(slab.slotsEverUsed == 2)
  }

  @Test func aStaleNameCannotBeUsed() async {
    await #expect(processExitsWith: .failure) {
      let slab = Slab<Int>(capacity: 8)
      guard let id = slab.insert(1) else { return }
      slab.remove(id)
      _ = slab.insert(2)
      slab[id] = 3
    }
  }
}
