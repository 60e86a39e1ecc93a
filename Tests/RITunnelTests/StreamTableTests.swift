// Stream ids: the table that finds a stream by its id, and how an end of a tunnel gives them out.

import RIBase
import TestRandom
import Testing

@testable import RITunnel

@Suite struct StreamTableTests {
  @Test func findsWhatADictionaryFindsThroughRandomInsertsAndRemovals() {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SplitMix64(seed)
    var table = StreamTable(seed: random.next())
    var model: [UInt32: SlotID] = [:]
    for step in 0..<40_000 {
      // Few different ids, so that they collide, go and come back.
      let id = UInt32.random(in: 1...2_000, using: &random) &* 0x0100_0001
      if let slot = model[id] {
        #expect(table.find(id) == slot)
        if random.chance(60) {
          table.remove(id)
          model[id] = nil
        }
      } else {
        #expect(table.find(id) == nil)
        let slot = SlotID(index: UInt32(step), generation: 1)
        table.insert(id, slot)
        model[id] = slot
      }
    }
    #expect(table.count == model.count)
    for (id, slot) in model { #expect(table.find(id) == slot) }
  }

  @Test func removingAnUnknownIdChangesNothing() {
    var table = StreamTable(seed: 1)
    table.insert(5, SlotID(index: 1, generation: 1))
    table.remove(6)
    table.remove(0)
    #expect(table.count == 1)
    #expect(table.find(5) == SlotID(index: 1, generation: 1))
    #expect(table.find(0) == nil)
  }

  @Test func streamStateStaysSmall() {
    #expect(MemoryLayout<StreamState>.stride <= 176)
  }

  @Test func idsStartAtOneAndTheWrapSkipsZeroAndLiveIds() {
    let edge = TunnelHarness(.edge)
    _ = edge.open()
    _ = edge.open()
    edge.tunnel.nextStreamID = .max
    _ = edge.open()
    _ = edge.open()
    #expect(edge.frames().map(\.stream) == [1, 2, .max, 3])
    edge.tunnel.end()
  }

  @Test func anIdIsNotUsedAgainAfterItsStreamEnded() {
    let edge = TunnelHarness(.edge)
    edge.tunnel.reset(edge.open())
    #expect(edge.frames().map(\.stream) == [1, 1])
    _ = edge.open()
    #expect(edge.frames().map(\.stream) == [2])
    edge.tunnel.end()
  }
}
