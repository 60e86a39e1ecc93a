// Durations as a result says them: the usual percentiles, and the points of the whole curve.

/// Durations in microseconds.
public struct Latency: Codable, Sendable {
  public var p50, p95, p99, p999, max: Double
  /// How many were timed, and the durations at `curveFractions`; absent in older results.
  public var count: UInt64?
  public var curve: [Double]?

  public init(_ histogram: Histogram) {
    func microseconds(_ fraction: Double) -> Double {
      Double(histogram.value(at: fraction)) / 1e3
    }
    p50 = microseconds(0.5)
    p95 = microseconds(0.95)
    p99 = microseconds(0.99)
    p999 = microseconds(0.999)
    max = Double(histogram.maximum) / 1e3
    count = histogram.total
    curve = Self.curveFractions.map(microseconds)
  }

  /// 0 to 1 - 10^-5: four points for each halving of what is left, so that the tail has as many as
  /// the middle.
  public static let curveFractions: [Double] = {
    var fractions = [0.0]
    var left = 1.0
    while left > 1e-5 {
      for quarter in 1...4 { fractions.append(1 - left * (1 - Double(quarter) / 8)) }
      left /= 2
    }
    return fractions
  }()
}
