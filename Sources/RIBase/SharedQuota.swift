// A number of places that several shards share.

import Synchronization

/// Places taken and given back by any thread, never more than `count` at once. Not for the data
/// path: an atomic that several cores write.
public final class SharedQuota: Sendable {
  public let count: Int
  private let taken = Atomic(0)

  public init(count: Int) {
    precondition(count >= 0)
    self.count = count
  }

  public var takenCount: Int { taken.load(ordering: .relaxed) }
  public var isSpent: Bool { takenCount >= count }

  /// Takes a place; false when there is none.
  public func take() -> Bool {
    guard taken.add(1, ordering: .relaxed).newValue <= count else {
      giveBack()
      return false
    }
    return true
  }

  /// Gives back a place that was taken.
  public func giveBack() { taken.subtract(1, ordering: .relaxed) }
}
