// Lines, one for each system, with a legend.

import LoadKit

struct LinePlot {
  struct Point {
    var x, y: Double
  }

  struct Series {
    var system: String
    var points: [Point]
  }

  /// A number under the axis.
  struct Tick {
    var x: Double
    var label: String
  }

  private static let width = 440.0
  private static let height = 280.0
  private static let left = 44.0
  private static let right = 26.0
  private static let top = 30.0
  private static let bottom = 44.0

  var title: String
  var xTitle: String
  var yTitle: String
  var xTicks: [Tick]
  var isLogarithmic: Bool
  /// Whether the points themselves are shown: where they are few.
  var hasDots: Bool
  var series: [Series]

  /// Nothing for no points.
  var svg: String {
    let points = series.flatMap(\.points)
    guard let xs = range(points.map(\.x) + xTicks.map(\.x)), let ys = range(points.map(\.y)) else {
      return ""
    }
    let across = PlotScale(
      isLogarithmic: false, values: xs, pixels: (Self.left, Self.width - Self.right))
    let vertical = (from: Self.height - Self.bottom, to: Self.top)
    let up =
      isLogarithmic
      ? PlotScale.logarithmic(from: ys.lowerBound, to: ys.upperBound, pixels: vertical)
      : PlotScale.linear(to: ys.upperBound, pixels: vertical)
    return """
      <figure><svg viewBox="0 0 \(pixels(Self.width)) \(pixels(Self.height))" role="img" \
      aria-label="\(escaped(title))">
      <text class="case" x="0" y="14">\(escaped(title))</text>
      \(axes(across, up))\(series.map { line($0, across, up) }.joined())</svg>\
      <figcaption>\(series.map { legend($0.system) }.joined(separator: " "))</figcaption></figure>

      """
  }

  private func axes(_ across: PlotScale, _ up: PlotScale) -> String {
    let (bottom, end) = (Self.height - Self.bottom, pixels(Self.width - Self.right))
    var text = ""
    for tick in up.ticks {
      let y = up.place(tick)
      text += "<path class=\"grid\" d=\"M\(pixels(Self.left)) \(pixels(y))H\(end)\"/>"
      text +=
        "<text class=\"system\" x=\"\(pixels(Self.left - 6))\" y=\"\(pixels(y + 4))\">"
        + "\(axisNumber(tick))</text>"
    }
    for tick in xTicks {
      let x = pixels(across.place(tick.x))
      text += "<path class=\"grid\" d=\"M\(x) \(pixels(Self.top))V\(pixels(bottom + 4))\"/>"
      text +=
        "<text class=\"tick\" x=\"\(x)\" y=\"\(pixels(bottom + 17))\">\(escaped(tick.label))</text>"
    }
    let middle = pixels((Self.left + Self.width - Self.right) / 2)
    text +=
      "<text class=\"tick\" x=\"\(middle)\" y=\"\(pixels(bottom + 36))\">\(escaped(xTitle))</text>"
    text += "<text class=\"unit\" x=\"\(end)\" y=\"14\">\(escaped(yTitle))</text>\n"
    return text
  }

  private func line(_ series: Series, _ across: PlotScale, _ up: PlotScale) -> String {
    let places = series.points.map { (pixels(across.place($0.x)), pixels(up.place($0.y))) }
    let path = places.enumerated().map {
      "\($0.offset == 0 ? "M" : "L")\($0.element.0) \($0.element.1)"
    }
    var text =
      "<path class=\"line\" \(paint("stroke", series.system)) d=\"\(path.joined())\">"
      + "<title>\(escaped(series.system))</title></path>"
    if hasDots {
      for (place, point) in zip(places, series.points) {
        text +=
          "<circle \(paint("fill", series.system)) cx=\"\(place.0)\" cy=\"\(place.1)\" r=\"3.5\">"
          + "<title>\(escaped(series.system)): \(significant(point.y)) \(escaped(yTitle))</title>"
          + "</circle>"
      }
    }
    return text + "\n"
  }

  private func legend(_ system: String) -> String {
    "<span><i \(paint("background", system))></i>\(escaped(system))</span>"
  }

  private func range(_ values: [Double]) -> ClosedRange<Double>? {
    guard let low = values.min(), let high = values.max() else { return nil }
    return low...(high > low ? high : low + 1)
  }
}
