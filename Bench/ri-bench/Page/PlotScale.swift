// Axes: values to places, and the round numbers that are written at them.

import Glibc
import LoadKit

/// A linear or logarithmic axis over a range of pixels.
struct PlotScale {
  var isLogarithmic: Bool
  var values: ClosedRange<Double>
  var pixels: (from: Double, to: Double)

  /// From zero to a round number at or above the largest.
  static func linear(to largest: Double, pixels: (from: Double, to: Double)) -> PlotScale {
    let step = roundStep(of: largest)
    return PlotScale(
      isLogarithmic: false, values: 0...(max(1, (largest / step).rounded(.up)) * step),
      pixels: pixels)
  }

  /// From the power of ten at or below the smallest to that at or above the largest.
  static func logarithmic(
    from smallest: Double, to largest: Double, pixels: (from: Double, to: Double)
  ) -> PlotScale {
    let low = log10(max(smallest, 1e-3)).rounded(.down)
    let high = max(low + 1, log10(max(largest, 1e-3)).rounded(.up))
    return PlotScale(isLogarithmic: true, values: pow(10, low)...pow(10, high), pixels: pixels)
  }

  func place(_ value: Double) -> Double {
    let (low, high) = (values.lowerBound, values.upperBound)
    let share =
      isLogarithmic
      ? (log10(max(value, low)) - log10(low)) / (log10(high) - log10(low))
      : (value - low) / (high - low)
    return pixels.from + share * (pixels.to - pixels.from)
  }

  /// Where lines and numbers stand.
  var ticks: [Double] {
    if isLogarithmic {
      let (low, high) = (log10(values.lowerBound), log10(values.upperBound))
      return (Int(low.rounded())...Int(high.rounded())).map { pow(10, Double($0)) }
    }
    let step = Self.roundStep(of: values.upperBound)
    return (0...Int((values.upperBound / step).rounded())).map { Double($0) * step }
  }

  /// 1, 2 or 5 times a power of ten; four to eight of them reach the value.
  static func roundStep(of value: Double) -> Double {
    guard value > 0, value.isFinite else { return 1 }
    let rough = value / 5
    let power = pow(10, log10(rough).rounded(.down))
    let digit = rough / power
    return (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10) * power
  }
}

/// A number as an axis says it: `0.5`, `20`, `12k`, `1.5M`.
func axisNumber(_ value: Double) -> String {
  switch value.magnitude {
  case 0: "0"
  case 1e6...: trimmed(value / 1e6) + "M"
  case 1e4...: trimmed(value / 1e3) + "k"
  default: trimmed(value)
  }
}

private func trimmed(_ value: Double) -> String {
  var text = fixed(value, 3)
  while text.last == "0" { text.removeLast() }
  if text.last == "." { text.removeLast() }
  return text
}

/// Pixels with one decimal.
func pixels(_ value: Double) -> String { fixed(value, 1) }

/// Text inside of elements and attributes.
func escaped(_ text: String) -> String {
  var result = ""
  for character in text {
    switch character {
    case "&": result += "&amp;"
    case "<": result += "&lt;"
    case ">": result += "&gt;"
    case "\"": result += "&quot;"
    default: result.append(character)
    }
  }
  return result
}
