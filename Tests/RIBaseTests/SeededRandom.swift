// The random source of the property tests, which name its seed when they fail.

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough for tests.
struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }

  mutating func bytes(_ count: Int) -> [UInt8] {
    let words = (0..<(count + 7) / 8).map { _ in next() }
    return words.withUnsafeBytes { Array($0[..<count]) }
  }
}

/// Seeds of a property test: one fixed, so that every run covers the same ground, and one new.
let propertySeeds: [UInt64] = [1, UInt64.random(in: 0...UInt64.max)]
