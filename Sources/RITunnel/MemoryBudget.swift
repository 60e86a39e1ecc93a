// What all tunnels of a shard may grow to together, and how near they are to it (SPEC 2.4).

import RIBase

/// How much of the memory for stalled streams is in use.
public enum MemoryPressure: String, Sendable, Codable {
  case none
  /// Half of it: windows grow no more and go back to their floor.
  case high
  /// Three quarters: windows shrink below their floor.
  case critical
}

/// The memory budget of one shard. Its tunnels ask before a window grows; the shard says how much
/// of the budget is in use. Not safe for use by two threads.
public final class MemoryBudget {
  public let bytes: Int
  /// What windows have been granted beyond the floor of `autoWindow`.
  @exclusivity(unchecked) public package(set) var grownBytes = 0
  @exclusivity(unchecked) public private(set) var pressure = MemoryPressure.none

  public init(bytes: Int) { self.bytes = bytes }

  /// Takes note of the bytes held for streams whose socket does not take them.
  public func setHeld(_ held: Int) {
    pressure =
      held >= bytes - bytes / 4 ? .critical : held >= bytes / 2 ? .high : .none
  }

  /// Whether a window may grow by so many bytes. Half of the budget is for growth, so that those
  /// who grew and then stall leave the other half to everyone else.
  package func mayGrow(by count: Int) -> Bool {
    pressure == .none && grownBytes + count <= bytes / 2
  }
}
