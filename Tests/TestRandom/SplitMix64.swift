// The random source of all property tests. Each names its seed when it fails.

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough for tests.
public struct SplitMix64: RandomNumberGenerator, Sendable {
  public let seed: UInt64
  @usableFromInline
  var state: UInt64

  public init(_ seed: UInt64 = .random(in: 0 ... .max)) {
    self.seed = seed
    state = seed
  }

  @inlinable
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// A number in 0..<bound.
  public mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }

  /// True in so many of a hundred cases.
  public mutating func chance(_ percent: Double) -> Bool {
    Double.random(in: 0..<100, using: &self) < percent
  }

  public mutating func bytes(_ count: Int) -> [UInt8] {
    let words = (0..<(count + 7) / 8).map { _ in next() }
    return words.withUnsafeBytes { Array($0[..<count]) }
  }

  /// Breaks one to four places: a byte changed, removed, doubled or put in, or the end cut off.
  public mutating func mutate(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    for _ in 0...below(4) {
      guard !bytes.isEmpty else { return [UInt8(truncatingIfNeeded: next())] }
      let i = below(bytes.count)
      switch below(6) {
      case 0: bytes[i] = UInt8(truncatingIfNeeded: next())
      case 1: bytes[i] ^= 1 << UInt8(below(8))
      case 2: bytes.remove(at: i)
      case 3: bytes.insert(bytes[i], at: i)
      case 4: bytes.insert(UInt8(truncatingIfNeeded: next()), at: i)
      default: bytes.removeLast(below(bytes.count))
      }
    }
    return bytes
  }
}

/// Seeds of a property test: one fixed, so that every run covers the same ground, and one new.
public let propertySeeds: [UInt64] = [1, UInt64.random(in: 0...UInt64.max)]
