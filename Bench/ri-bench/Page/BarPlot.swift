// Bars by case and system, with the medians written beside them and a line from the smallest round
// to the largest.

import LoadKit

/// Measures of one quantity.
struct BarPlot {
  private static let width = 900.0
  private static let barsFrom = 190.0
  /// Behind it stands the number.
  private static let barsTo = 780.0
  private static let barHeight = 14.0
  private static let rowHeight = 20.0
  private static let groupGap = 26.0
  private static let axisHeight = 26.0

  var unit: String
  var measures: [Measure]

  /// Nothing for no measures.
  var svg: String {
    guard !measures.isEmpty else { return "" }
    let names = measures.reduce(into: [String]()) { names, measure in
      if names.last != measure.name, !names.contains(measure.name) { names.append(measure.name) }
    }
    let scale = PlotScale.linear(
      to: measures.map(\.largest).max() ?? 1, pixels: (Self.barsFrom, Self.barsTo))
    var rows = ""
    var y = 0.0
    for name in names {
      y += Self.groupGap
      rows +=
        "<text class=\"case\" x=\"0\" y=\"\(pixels(y - 6))\">\(escaped(name))</text>\n"
      for measure in measures where measure.name == name {
        rows += row(measure, at: y, scale)
        y += Self.rowHeight
      }
    }
    let height = y + Self.axisHeight
    return """
      <svg viewBox="0 0 \(pixels(Self.width)) \(pixels(height))" role="img" \
      aria-label="\(escaped(unit)) by case and system">
      \(axis(scale, to: y))\(rows)</svg>

      """
  }

  private func row(_ measure: Measure, at y: Double, _ scale: PlotScale) -> String {
    let middle = y + Self.barHeight / 2
    let end = scale.place(measure.median)
    let (low, high) = (scale.place(measure.smallest), scale.place(measure.largest))
    let spread = measure.values.count > 1 ? ", \(fixed(measure.spread * 100, 0)) % spread" : ""
    let title =
      "\(measure.name), \(measure.system): \(significant(measure.median)) \(unit)\(spread)"
    let whisker =
      measure.values.count > 1
      ? "<path class=\"whisker\" d=\"M\(pixels(low)) \(pixels(middle))H\(pixels(high))\"/>" : ""
    return """
      <g><title>\(escaped(title))</title>\
      <text class="system" x="\(pixels(Self.barsFrom - 8))" y="\(pixels(middle + 4))">\
      \(escaped(measure.system))</text>\
      <rect \(paint("fill", measure.system)) x="\(pixels(Self.barsFrom))" y="\(pixels(y))" \
      width="\(pixels(max(1, end - Self.barsFrom)))" height="\(pixels(Self.barHeight))" rx="2"/>\
      \(whisker)\
      <text class="value" x="\(pixels(max(end, high) + 6))" y="\(pixels(middle + 4))">\
      \(significant(measure.median))</text></g>

      """
  }

  private func axis(_ scale: PlotScale, to bottom: Double) -> String {
    var text = ""
    for tick in scale.ticks {
      let x = pixels(scale.place(tick))
      text += "<path class=\"grid\" d=\"M\(x) 12V\(pixels(bottom + 4))\"/>"
      text +=
        "<text class=\"tick\" x=\"\(x)\" y=\"\(pixels(bottom + 18))\">\(axisNumber(tick))</text>"
    }
    text +=
      "<text class=\"unit\" x=\"\(pixels(Self.width))\" y=\"\(pixels(bottom + 18))\">"
      + "\(escaped(unit))</text>\n"
    return text
  }
}

/// The colour of a system, as a style attribute; the style sheet says which.
func paint(_ property: String, _ system: String) -> String {
  "style=\"\(property):var(--\(escaped(system)), var(--other))\""
}
