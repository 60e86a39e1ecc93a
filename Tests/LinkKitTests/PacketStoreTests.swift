// The store of packets under way, against a plain queue.

import Testing

@testable import LinkKit

@Suite("Packet store")
struct PacketStoreTests {
  static let seeds: [UInt64] = [1, UInt64.random(in: 0...UInt64.max)]

  @Test("packets come out whole and in order, wherever the ring's end falls", arguments: seeds)
  func oracle(seed: UInt64) {
    var random = SeededRandom(seed)
    var store = PacketStore(capacityBytes: 4096)
    var oracle: [(bytes: [UInt8], departure: UInt64)] = []
    var (number, refusals) = (0, 0)
    for step in 0..<20_000 {
      // Long phases of filling and of emptying, so that both ends are reached.
      let fills = Int.random(in: 0..<10, using: &random) < (step / 50 % 2 == 0 ? 7 : 3)
      if fills {
        let room = Int.random(in: 1...600, using: &random)
        guard let place = store.room(for: room) else {
          refusals += 1
          #expect(!oracle.isEmpty)
          continue
        }
        // A packet that is lost leaves its room unused.
        if Int.random(in: 0..<5, using: &random) == 0 { continue }
        let count = Int.random(in: 1...room, using: &random)
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: number + $0) }
        number += 1
        place.copyMemory(from: bytes, byteCount: count)
        store.append(bytes: count, departure: UInt64(number))
        oracle.append((bytes, UInt64(number)))
      } else if let (bytes, departure) = oracle.first {
        let (found, due) = (Array(store.first), store.firstDeparture)
        #expect(due == departure)
        #expect(found == bytes, "seed \(seed), step \(step)")
        store.removeFirst()
        oracle.removeFirst()
      } else {
        let due = store.firstDeparture
        #expect(due == nil)
      }
      let count = store.count
      #expect(count == oracle.count)
    }
    #expect(number > 5000 && refusals > 100)
  }

  @Test("an empty store has its whole capacity, however it was used")
  func wholeCapacity() throws {
    var store = PacketStore(capacityBytes: 1024)
    for _ in 0..<100 {
      let place = store.room(for: 1000)
      let room = try #require(place)
      room.storeBytes(of: 1, as: UInt8.self)
      store.append(bytes: 900, departure: 1)
      let second = store.room(for: 1000)
      #expect(second == nil)
      store.removeFirst()
    }
  }
}
