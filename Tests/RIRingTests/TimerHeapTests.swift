// TimerHeap and TokenTable against plain models.

import RIBase
import Testing

@testable import RIRing

@Suite struct TimerHeapTests {
  @Test(arguments: [UInt64](1...10))
  func popsWhatASortedListWould(_ seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var heap = TimerHeap()
    var model: [(deadline: Instant, order: Int, token: Token, slot: UInt32)] = []
    var now = Instant(nanoseconds: 0)
    for i in 0..<20_000 {
      switch random.below(5) {
      case 0, 1, 2:
        let deadline = now + Interval(nanoseconds: Int64(random.below(400)))
        let token = Token(UInt64(i))
        model.append((deadline, i, token, heap.insert(deadline, token)))
      case 3 where !model.isEmpty:
        let victim = model.remove(at: random.below(model.count))
        heap.remove(victim.slot)
      default:
        now = now + Interval(nanoseconds: Int64(random.below(30)))
        while let token = heap.pop(at: now) {
          let first = model.min { ($0.deadline, $0.order) < ($1.deadline, $1.order) }
          #expect(first?.token == token, "seed \(seed)")
          model.removeAll { $0.token == token }
        }
        #expect(model.allSatisfy { $0.deadline > now }, "seed \(seed)")
      }
      if heap.count != model.count { Issue.record("seed \(seed): \(heap.count) timers") }
    }
    #expect(heap.first == model.map(\.deadline).min())
  }
}

@Suite struct TokenTableTests {
  @Test(arguments: [UInt64](1...10))
  func findsWhatADictionaryWould(_ seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var table = TokenTable()
    var model: [UInt64: UInt64] = [:]
    for i in 0..<30_000 {
      // Tokens of both shapes that engines use: counters, and fields in the high bits.
      let token = UInt64(random.below(700)) << (random.chance(0.5) ? 40 : 0)
      if model[token] == nil, random.chance(0.6) {
        table.insert(Token(token), UInt64(i))
        model[token] = UInt64(i)
      } else if random.chance(0.7) {
        table.remove(Token(token))
        model[token] = nil
      }
      if table.find(Token(token)) != model[token] { Issue.record("seed \(seed), step \(i)") }
    }
    #expect(table.count == model.count)
    for (token, value) in model { #expect(table.find(Token(token)) == value, "seed \(seed)") }
  }
}
