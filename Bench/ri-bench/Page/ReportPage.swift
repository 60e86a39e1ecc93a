// One page that needs nothing but itself: where and how the figures were taken, plots, and the
// tables under them.

import FoundationEssentials
import Glibc
import LoadKit

struct ReportPage {
  private let report: Report
  private let old: Report?
  private let measures: [Measure]

  init(_ report: Report, comparedWith old: Report? = nil) {
    self.report = report
    self.old = old
    measures = report.measures
  }

  func write(to path: String) throws {
    try Data(html.utf8).write(to: URL(filePath: path))
  }

  var html: String {
    """
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width,initial-scale=1">
    <link rel="icon" href="data:,">
    <title>remoteingress: measured at \(escaped(report.machine.commit))</title>
    <style>
    \(PageStyle.css)
    </style>
    </head>
    <body>
    <h1>How fast remoteingress is, measured</h1>
    \(facts)
    \(bars("Throughput", .throughput, "Bytes at the receiver. More is better."))
    \(bars("Operations", .rate, "Exchanges, connections or datagrams a second. More is better."))
    \(bars("CPU per gigabyte", .cpuPerByte, "Of edge and hub together. Less is better."))
    \(bars("CPU per operation", .cpuPerOperation, "Of edge and hub together. Less is better."))
    \(latencies)
    \(memory)
    \(scale)
    \(comparison)
    \(figures)
    <h2>Tables</h2>
    <pre>\(escaped(report.text()))</pre>
    </body>
    </html>

    """
  }

  // MARK: Head

  private var facts: String {
    let machine = report.machine
    let time = Date(timeIntervalSince1970: Double(machine.time)).formatted(.iso8601)
    let rows = [
      ("Machine", "\(machine.cpu) · \(machine.cores) cores · Linux \(machine.kernel)"),
      ("Network", machine.network),
      ("Commit", "\(machine.commit) · \(machine.swift)"),
      ("Taken", time),
      ("Rounds", "\(report.rounds) interleaved, \(fixed(report.seconds, 1)) s each"),
    ]
    let list = rows.map { "<dt>\($0.0)</dt><dd>\(escaped($0.1))</dd>" }
    let command = report.command.map { "<dt>Command</dt><dd><code>\(escaped($0))</code></dd>" }
    return """
      <dl>\(list.joined())\(command ?? "")</dl>
      <p>A bar is the median over the rounds, the line on it goes from the smallest to the \
      largest. Client, target, edge and hub share the machine's cores. \(disturbed)</p>
      """
  }

  private var disturbed: String {
    let loads = report.loads.flatMap { figures in figures.runs.map(\.isDisturbed) }
    let flows = report.flows.flatMap { figures in figures.runs.map(\.isDisturbed) }
    let others = report.datagrams.flatMap { figures in figures.runs.map(\.isDisturbed) }
    let all = loads + flows + others
    let count = all.count { $0 }
    return count == 0
      ? "No run was disturbed by other processes."
      : "In \(count) of \(all.count) runs other processes took more than 5 % of the machine."
  }

  // MARK: Plots

  private func bars(_ title: String, _ quantity: Quantity, _ about: String) -> String {
    let swept = Set(report.loads.filter { $0.family != nil }.map(\.name))
    let chosen = measures.filter { $0.quantity == quantity && !swept.contains($0.name) }
    guard !chosen.isEmpty else { return "" }
    return section(title, about, BarPlot(unit: quantity.unit, measures: chosen).svg)
  }

  private func section(_ title: String, _ about: String, _ body: String) -> String {
    "<section><h2>\(escaped(title))</h2>\n<p>\(escaped(about))</p>\n\(body)</section>\n"
  }

  private var latencies: String {
    let plots = latencyCurves.map { name, series in
      LinePlot(
        title: name, xTitle: "share of all that are faster", yTitle: "µs",
        xTicks: [0, 0.5, 0.9, 0.99, 0.999, 0.9999].map {
          LinePlot.Tick(x: Self.nines($0), label: Self.percentile($0))
        }, isLogarithmic: true, hasDots: false, series: series
      ).svg
    }
    guard !plots.isEmpty else { return "" }
    return section(
      "Latency",
      "Median over the rounds at each percentile. To the right the axis goes into the tail: "
        + "each step of nine leaves a tenth.",
      "<div class=\"plots\">\n\(plots.joined())</div>\n")
  }

  /// By case, in the order of the tables.
  private var latencyCurves: [(String, [LinePlot.Series])] {
    let all =
      report.loads.filter { $0.family == nil }.map {
        ($0.name, $0.system, $0.runs.compactMap(\.latency))
      }
      + report.flows.map { ($0.name, $0.system, $0.runs.compactMap(\.main.latency)) }
      + report.datagrams.map { ($0.name, $0.system, $0.runs.map(\.result.latency)) }
    var curves: [(String, [LinePlot.Series])] = []
    for (name, system, latencies) in all {
      guard let series = Self.curve(system, latencies) else { continue }
      if curves.last?.0 == name {
        curves[curves.count - 1].1.append(series)
      } else {
        curves.append((name, [series]))
      }
    }
    return curves
  }

  /// Nil where no run has a curve. Points that fewer than ten of a run lie beyond say nothing.
  private static func curve(_ system: System, _ latencies: [Latency]) -> LinePlot.Series? {
    let curves = latencies.compactMap(\.curve)
    guard !curves.isEmpty, let count = latencies.compactMap(\.count).min() else { return nil }
    var points: [LinePlot.Point] = []
    for (place, fraction) in Latency.curveFractions.enumerated() {
      guard (1 - fraction) * Double(count) >= 10, fraction <= 0.9999 else { break }
      let values = curves.compactMap { place < $0.count ? $0[place] : nil }
      guard let median = Repeats(values)?.median else { break }
      points.append(LinePlot.Point(x: nines(fraction), y: max(median, 0.1)))
    }
    return points.isEmpty ? nil : LinePlot.Series(system: system.rawValue, points: points)
  }

  /// How many nines: 0.9 is 1, 0.99 is 2.
  private static func nines(_ fraction: Double) -> Double { -log10(1 - fraction) }

  private static func percentile(_ fraction: Double) -> String {
    fraction < 0.999 ? "\(fixed(fraction * 100, 0))%" : "\(axisNumber(fraction * 100))%"
  }

  private var memory: String {
    let idle = report.flows.filter { $0.shape == .idle && $0.connections != nil }
    let plot = byValue(
      "connections that rest", "MiB",
      idle.compactMap { figures in
        let values = figures.runs.compactMap(\.grownMebibytes)
        return Repeats(values).map {
          (figures.system, figures.connections ?? 1, $0.median)
        }
      })
    return plot.isEmpty
      ? ""
      : section(
        "Memory by connections",
        "What edge and hub grow by (VmRSS) when so many clients connect, exchange one message and "
          + "rest. Less is better.", "<div class=\"plots\">\n\(plot)</div>\n")
  }

  private var scale: String {
    let families = report.loads.reduce(into: [String]()) { families, figures in
      if let family = figures.family, !families.contains(family) { families.append(family) }
    }
    let plots = families.flatMap { family in
      let members = report.loads.filter { $0.family == family }
      let isBulk = members.contains(where: \.isBulk)
      let isByShards = members.contains { $0.shards != nil }
      func plot(
        _ title: String, _ unit: String, _ figure: (RunFigures) -> Double?
      ) -> String {
        byValue(
          "\(family): \(title)", unit, xTitle: isByShards ? "shards" : "connections",
          members.compactMap { figures in
            guard let value = isByShards ? figures.shards : figures.connections else { return nil }
            return Repeats(figures.runs.compactMap(figure)).map {
              (figures.system, value, $0.median)
            }
          })
      }
      let second =
        isByShards
        ? plot("rate", Report.rateUnit(isBulk), \.rate) : plot("p99", "µs", { $0.latency?.p99 })
      return [
        plot("CPU", Report.cpuUnit(isBulk), { $0.cpuPerUnit > 0 ? $0.cpuPerUnit : nil }), second,
      ]
    }
    let body = plots.joined()
    return body.isEmpty
      ? ""
      : section(
        "Scale",
        "How it goes with the number of connections or of shards. CPU is of edge and hub together.",
        "<div class=\"plots\">\n\(body)</div>\n")
  }

  /// Lines over a value that a sweep goes through, each value as far from the next.
  private func byValue(
    _ title: String, _ unit: String, xTitle: String = "connections",
    _ points: [(system: System, value: Int, y: Double)]
  ) -> String {
    let values = Set(points.map(\.value)).sorted()
    let systems = System.allCases.filter { system in points.contains { $0.system == system } }
    let series = systems.map { system in
      LinePlot.Series(
        system: system.rawValue,
        points: values.enumerated().compactMap { place, value in
          points.first { $0.system == system && $0.value == value }.map {
            LinePlot.Point(x: Double(place), y: $0.y)
          }
        })
    }
    return LinePlot(
      title: title, xTitle: xTitle, yTitle: unit,
      xTicks: values.enumerated().map {
        LinePlot.Tick(x: Double($0.offset), label: axisNumber(Double($0.element)))
      }, isLogarithmic: false, hasDots: true, series: series
    ).svg
  }

  // MARK: Tables

  private var comparison: String {
    guard let old else { return "" }
    let comparison = Comparison(of: report, with: old)
    let rows = comparison.rows.map { row in
      let verdict = row.verdict
      return [
        cell(row.new.name), cell(row.new.system), cell(row.new.quantity.title),
        number(significant(row.old.median)), number(percent(row.old.spread)),
        number(significant(row.new.median)), number(percent(row.new.spread)),
        cell(row.new.quantity.unit), number(fixed(row.ratio, 2)),
        "<td class=\"\(verdict == .better || verdict == .worse ? verdict.rawValue : "")\">"
          + "\(verdict.rawValue)</td>",
      ].joined()
    }
    let warning = comparison.warning.map { " But \($0)." } ?? ""
    return section(
      "Compared with commit \(old.machine.commit)",
      "Better and worse are said where all rounds of the one lie beyond all of the other."
        + warning,
      table(
        ["case", "system", "", "#old", "#spread", "#new", "#spread", "unit", "#ratio", ""], rows))
  }

  private var figures: String {
    let rows = measures.map { measure in
      [
        cell(measure.name), cell(measure.system), cell(measure.quantity.title),
        number(significant(measure.median)), cell(measure.quantity.unit),
        number(significant(measure.smallest)), number(significant(measure.largest)),
        number(percent(measure.spread)),
      ].joined()
    }
    return section(
      "Every figure",
      "Median, smallest and largest over the rounds; spread is their distance, of "
        + "the median.",
      table(["case", "system", "", "#median", "unit", "#smallest", "#largest", "#spread"], rows))
  }

  /// Headings of columns of numbers begin with `#`.
  private func table(_ headings: [String], _ rows: [String]) -> String {
    let head = headings.map {
      $0.hasPrefix("#")
        ? "<th class=\"n\">\($0.dropFirst())</th>" : "<th>\(escaped($0))</th>"
    }
    return "<div class=\"scroll\"><table><tr>\(head.joined())</tr>\n"
      + rows.map { "<tr>\($0)</tr>\n" }.joined() + "</table></div>\n"
  }

  private func cell(_ text: String) -> String { "<td>\(escaped(text))</td>" }
  private func number(_ text: String) -> String { "<td class=\"n\">\(escaped(text))</td>" }
  private func percent(_ share: Double) -> String { "\(fixed(share * 100, 0))%" }
}
