// The middle and the spread of a few repeats.

/// What repeats of one measurement say.
public struct Repeats: Codable, Sendable {
  public var median: Double
  /// (largest - smallest) / median; 0 for a single one.
  public var spread: Double

  /// Nil for no values.
  public init?(_ values: [Double]) {
    let sorted = values.sorted()
    guard let first = sorted.first, let last = sorted.last else { return nil }
    let middle = sorted.count / 2
    median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    spread = median == 0 ? 0 : (last - first) / median
  }
}
