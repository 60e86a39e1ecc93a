// What can go wrong in the simulated network, and how often.

import RIBase

/// The behaviour of the simulated network. Probabilities are 0 to 1 and drawn from the kernel's
/// seed, so a run repeats exactly.
public struct SimulatedFaults: Sendable {
  /// One-way delay of a segment or datagram between two hosts, unless they have a path of their
  /// own, and within one.
  public var delay: ClosedRange<Interval>
  /// A send takes a random part of what would fit.
  public var shortSend = 0.0
  /// A receive brings a random part of what is there.
  public var shortReceive = 0.0
  /// A segment in flight turns into a reset of its connection, seen by both ends.
  public var reset = 0.0
  /// An application notices data that arrived only `stallTime` later.
  public var stall = 0.0
  public var stallTime = Interval.milliseconds(100)
  public var datagramLoss = 0.0
  /// A datagram arrives twice.
  public var datagramDuplicate = 0.0
  /// A datagram takes up to eight times the longest delay, so that later ones overtake it.
  public var datagramReorder = 0.0
  /// A ring that `takesFaults` hands out a part of its completions; the rest come with its next
  /// turn, and tell then of how things were before it.
  public var partialReap = 0.0
  /// The same: a receive that is cancelled, or whose socket is closed, has brought what was there.
  public var lateCancel = 0.0
  /// A lookup of a name takes up to `lookupTime`.
  public var slowLookup = 0.0
  public var lookupTime = Interval.seconds(5)
  /// Sends of several datagrams in one, longer than `above` each, fail with errno `code`.
  public var segmentRefusal: (above: Int, code: Int32)?

  public init(
    delay: ClosedRange<Interval> = Interval.microseconds(10)...Interval.microseconds(10)
  ) {
    precondition(delay.lowerBound >= .zero)
    self.delay = delay
  }

  /// A prompt network without faults.
  public static let none = SimulatedFaults()

  /// Everything that may happen to a correct peer in a bad network, resets excepted.
  public static let harsh: SimulatedFaults = {
    var faults = SimulatedFaults(delay: .microseconds(10)...Interval.milliseconds(60))
    faults.shortSend = 0.2
    faults.shortReceive = 0.3
    faults.stall = 0.02
    faults.datagramLoss = 0.05
    faults.datagramDuplicate = 0.01
    faults.datagramReorder = 0.05
    return faults
  }()
}

/// How often the simulated network has shown each of its faults.
public struct SimulatedTally: Sendable {
  public var shortSends = 0
  public var shortReceives = 0
  public var stalls = 0
  /// Receives that ended for want of a buffer.
  public var poolsEmpty = 0
  /// Sockets that were not made or accepted for want of a descriptor.
  public var descriptorsRefused = 0
  public var partialReaps = 0
  /// Cancelled receives that brought something all the same.
  public var lateReceives = 0
  public var slowLookups = 0
  public var clockJumps = 0
}

/// xoshiro256** (Blackman and Vigna, 2018), seeded by SplitMix64.
struct SeededRandom: Sendable {
  private var s: (UInt64, UInt64, UInt64, UInt64)

  init(seed: UInt64) {
    var state = seed
    func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
    s = (next(), next(), next(), next())
  }

  mutating func next() -> UInt64 {
    let x = s.1 &* 5
    let result = (x << 7 | x >> 57) &* 9
    let t = s.1 << 17
    s.2 ^= s.0
    s.3 ^= s.1
    s.1 ^= s.2
    s.0 ^= s.3
    s.2 ^= t
    s.3 = s.3 << 45 | s.3 >> 19
    return result
  }

  /// 0 to `bound` - 1; the bias is below 2^-40 for bounds that the simulation uses.
  mutating func below(_ bound: Int) -> Int {
    Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// True with probability `p`. Draws nothing for 0.
  mutating func chance(_ p: Double) -> Bool {
    p > 0 && Double(next() >> 11) * 0x1p-53 < p
  }
}
