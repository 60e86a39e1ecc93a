// Differences of port lists, against sets.

import RIBase
import TestRandom
import Testing

@testable import RIControl

@Suite struct ListenerChangesTests {
  @Test func opensWhatIsNewAndClosesWhatIsGone() {
    let changes = listenerChanges(from: [80, 443, 25], to: [443, 8080, 22])
    #expect(changes.open == [22, 8080])
    #expect(changes.close == [25, 80])
  }

  @Test func changesTurnTheOldSetIntoTheNew() {
    let seed = UInt64.random(in: .min ... .max)
    print("seed \(seed)")
    var random = SplitMix64(seed)
    for _ in 0..<500 {
      let old = ports(&random)
      let new = ports(&random)
      let changes = listenerChanges(from: old, to: new)
      #expect(Set(old).isSuperset(of: changes.close))
      #expect(Set(old).isDisjoint(with: changes.open))
      #expect(Set(old).subtracting(changes.close).union(changes.open) == Set(new))
      #expect(changes.open == Set(changes.open).sorted())
      #expect(changes.close == Set(changes.close).sorted())
    }
  }

  private func ports(_ random: inout SplitMix64) -> [Port] {
    (0..<random.next() % 12).map { _ in Port(random.next() % 16 + 1) }
  }
}
