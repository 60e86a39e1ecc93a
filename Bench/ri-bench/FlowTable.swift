// The tables of the flow cases: one for each shape, since their figures differ. A cell is the
// median over the rounds.

import LoadKit

/// One column of a table.
struct FlowColumn {
  var heading: String
  /// Nil where a run has no such figure.
  var value: (FlowRun) -> Double?
  var text: (Double) -> String
  /// What the line of a single run calls it; nil where it does not say it.
  var brief: String?
  /// Whether the next column says how far the rounds lie apart.
  var hasSpread: Bool
  /// The system whose median the cell is divided by.
  var base: System?

  init(
    _ heading: String, brief: String? = nil, spread: Bool = false, of base: System? = nil,
    as text: @escaping (Double) -> String = significant, _ value: @escaping (FlowRun) -> Double?
  ) {
    self.heading = heading
    self.value = value
    self.text = text
    self.brief = brief
    self.hasSpread = spread
    self.base = base
  }

  var headings: [String] { hasSpread ? [heading, "spread"] : [heading] }

  func cells(_ figures: FlowFigures, among all: [FlowFigures]) -> [String] {
    let none = headings.map { _ in "" }
    guard var repeats = Repeats(figures.runs.compactMap(value)) else { return none }
    if let base {
      let others = all.first { $0.name == figures.name && $0.system == base }?.runs ?? []
      guard let median = Repeats(others.compactMap(value))?.median, median > 0 else { return none }
      repeats.median /= median
    }
    return [text(repeats.median)] + (hasSpread ? [percent(repeats.spread)] : [])
  }
}

enum FlowTable {
  /// All tables, each under a line that says what it shows.
  static func text(_ flows: [FlowFigures]) -> String {
    var text = ""
    for shape in FlowCase.Shape.allCases {
      let rows = flows.filter { $0.shape == shape }
      guard !rows.isEmpty else { continue }
      text += "\n\(title(of: shape))\n\n"
      text += parts(of: shape).map { table(rows, $0).rendered() }.joined(separator: "\n")
    }
    return text
  }

  /// The most important figures of one run in a line.
  static func summary(_ run: FlowRun, _ shape: FlowCase.Shape) -> String {
    var figures = parts(of: shape).joined().compactMap { column -> String? in
      guard let brief = column.brief, let value = column.value(run) else { return nil }
      return "\(brief) \(column.text(value))"
    }
    if run.isDisturbed { figures.append("disturbed \(percent(run.disturbance))") }
    return figures.joined(separator: ", ")
  }

  private static func table(_ rows: [FlowFigures], _ columns: [FlowColumn]) -> Table {
    let headings = columns.flatMap(\.headings)
    var table = Table(["case", "system"] + headings + [""])
    table.rows = rows.map { figures in
      let start = [figures.name, figures.system.rawValue]
      let note =
        figures.skipped.map { "skipped: \($0)" } ?? figures.failure.map { "failed: \($0)" }
      if let note { return start + headings.map { _ in "" } + [note] }
      return start + columns.flatMap { $0.cells(figures, among: rows) }
        + [figures.runs.contains(where: \.isDisturbed) ? "*" : ""]
    }
    return table
  }

  // MARK: Columns

  private static func title(of shape: FlowCase.Shape) -> String {
    switch shape {
    case .mixed: "requests beside bulk; of alone = bulk beside them to the same bulk alone"
    case .shares: "bytes of each download in the window; off = the one farthest from the mean"
    case .beside: "requests alone and beside clients that never read, in the same tunnel"
    case .short: "short downloads alone and beside one that goes on and on, in the same tunnel"
    case .stalled:
      """
      clients that never read, or slowly: MiB of edge and hub (growth since before them) and of \
      the kernel's sockets;
      a paced echo while they stall and while they leave; late = the echo's own client
      """
    case .idle:
      """
      connections that rest, after one echo each: MiB of edge and hub (VmRSS) that they add, and \
      of the kernel's sockets
      """
    }
  }

  /// Where one table would be too wide, two.
  private static func parts(of shape: FlowCase.Shape) -> [[FlowColumn]] {
    switch shape {
    case .mixed: [mixed]
    case .shares: [shares]
    case .beside: [beside]
    case .short: [short]
    case .stalled: [memory, healthy]
    case .idle: [idle]
    }
  }

  private static var mixed: [FlowColumn] {
    [
      FlowColumn("op/s", brief: "op/s", spread: true) { $0.main.rate },
      FlowColumn("p50 us") { $0.main.latency?.p50 },
      FlowColumn("p99 us", brief: "p99 us", spread: true) { $0.main.latency?.p99 },
      FlowColumn("of haproxy", of: .haproxy, as: ratio) { $0.main.latency?.p99 },
      FlowColumn("p99.9 us") { $0.main.latency?.p999 },
      FlowColumn("bulk Gbit/s", brief: "bulk Gbit/s", spread: true) { $0.beside?.gigabits },
      FlowColumn("alone", spread: true) { $0.alone?.gigabits },
      FlowColumn("of alone", brief: "of alone", as: percent) {
        divide($0.beside?.rate, $0.alone?.rate)
      },
    ]
  }

  private static var shares: [FlowColumn] {
    [
      FlowColumn("Gbit/s", brief: "Gbit/s", spread: true) { $0.main.gigabits },
      FlowColumn("min MB") { $0.streams.min() },
      FlowColumn("mean MB") { $0.meanStream },
      FlowColumn("max MB") { $0.streams.max() },
      FlowColumn("off", brief: "off", as: percentTenths) { $0.largestDeviation },
      FlowColumn("max/min", brief: "max/min", as: ratio) {
        divide($0.streams.max(), $0.streams.min())
      },
    ]
  }

  private static var beside: [FlowColumn] {
    compared("op/s") { $0.rate } + compared("p50 us") { $0.latency?.p50 }
      + compared("p99 us") { $0.latency?.p99 } + compared("max us") { $0.latency?.max } + [
        FlowColumn("stalled", as: whole) { $0.beside?.stalled.map { Double($0.requested) } },
        FlowColumn("with data", as: whole) { $0.beside?.stalled.map { Double($0.served) } },
      ]
  }

  private static var short: [FlowColumn] {
    [FlowColumn("count", as: whole) { Double($0.main.units) }]
      + compared("p50 us") { $0.latency?.p50 } + compared("p95 us") { $0.latency?.p95 }
      + compared("max us") { $0.latency?.max } + [
        FlowColumn("long Gbit/s before") { $0.beside.map { $0.warmUpRate * 8e-9 } },
        FlowColumn("beside", brief: "long Gbit/s") { $0.beside?.gigabits },
      ]
  }

  private static var memory: [FlowColumn] {
    [
      FlowColumn("RSS before", as: tenths) { total($0.memory?.before) },
      FlowColumn("edge peak", as: tenths) { growth($0.memory?.peak, $0.memory?.before, of: 0) },
      FlowColumn("hub peak", as: tenths) { growth($0.memory?.peak, $0.memory?.before, of: 1) },
      FlowColumn("both peak", brief: "grown by MiB", as: tenths) {
        growth($0.memory?.peak, $0.memory?.before)
      },
      FlowColumn("at the end", as: tenths) { growth($0.memory?.end, $0.memory?.before) },
      FlowColumn("after", brief: "after", as: tenths) {
        growth($0.memory?.after, $0.memory?.before)
      },
      FlowColumn("after s", as: tenths) { $0.memory?.afterSeconds },
      FlowColumn("sockets before", as: tenths) { $0.memory.map { mebibytes($0.socketsBefore) } },
      FlowColumn("sockets peak", as: tenths) { $0.memory.map { mebibytes($0.socketsPeak) } },
      FlowColumn("sockets after", as: tenths) { $0.memory.map { mebibytes($0.socketsAfter) } },
    ]
  }

  private static var idle: [FlowColumn] {
    [
      FlowColumn("connections", brief: "connections", as: whole) {
        $0.main.idle.map { Double($0.answered) }
      },
      FlowColumn("RSS before", as: tenths) { total($0.memory?.before) },
      FlowColumn("edge", as: tenths) { growth($0.memory?.end, $0.memory?.before, of: 0) },
      FlowColumn("hub", as: tenths) { growth($0.memory?.end, $0.memory?.before, of: 1) },
      FlowColumn("both", brief: "grown by MiB", spread: true, as: tenths) {
        growth($0.memory?.end, $0.memory?.before)
      },
      FlowColumn("per 1,000", brief: "per 1,000") { $0.mebibytesPerThousand },
      FlowColumn("after", as: tenths) { growth($0.memory?.after, $0.memory?.before) },
      FlowColumn("sockets", as: tenths) {
        $0.memory.map { mebibytes($0.socketsPeak - $0.socketsBefore) }
      },
    ]
  }

  private static var healthy: [FlowColumn] {
    [
      FlowColumn("stalled", as: whole) { $0.beside?.stalled.map { Double($0.requested) } },
      FlowColumn("with data", as: whole) { $0.beside?.stalled.map { Double($0.served) } },
      FlowColumn("ended", brief: "ended", as: whole) {
        $0.beside?.stalled.map { Double($0.ended) }
      },
      FlowColumn("read MB", as: tenths) {
        $0.beside?.stalled?.readBytes.map { Double($0) / 1e6 }
      },
      FlowColumn("echoes", as: whole) { sum($0.main.paced?.sent, $0.leaving?.paced?.sent) },
      FlowColumn("lost", brief: "lost", as: whole) {
        sum($0.main.paced?.lost, $0.leaving?.paced?.lost)
      },
      FlowColumn("p50 us") { $0.main.latency?.p50 },
      FlowColumn("p99 us", brief: "p99 us") { $0.main.latency?.p99 },
      FlowColumn("max us", brief: "max us") { $0.main.latency?.max },
      FlowColumn("late p99 us") { $0.main.paced?.lateness.p99 },
      FlowColumn("late max us") { $0.main.paced?.lateness.max },
      FlowColumn("leaving p99 us") { $0.leaving?.latency?.p99 },
      FlowColumn("leaving max us") { $0.leaving?.latency?.max },
    ]
  }

  /// A figure alone, beside the other load, and the ratio of the two.
  private static func compared(
    _ heading: String, _ figure: @escaping (LoadResult) -> Double?
  ) -> [FlowColumn] {
    [
      FlowColumn("\(heading) alone") { $0.alone.flatMap(figure) },
      FlowColumn("beside", brief: heading) { figure($0.main) },
      FlowColumn("ratio", brief: "ratio", as: ratio) {
        divide(figure($0.main), $0.alone.flatMap(figure))
      },
    ]
  }
}

// MARK: Figures of a run

extension FlowRun {
  /// Megabytes (10^6) of each download.
  fileprivate var streams: [Double] { (main.streamUnits ?? []).map { Double($0) / 1e6 } }

  /// MiB of both ends for 1,000 connections that rest.
  var mebibytesPerThousand: Double? {
    guard let idle = main.idle, let grown = growth(memory?.end, memory?.before) else { return nil }
    return divide(grown * 1_000, Double(idle.answered))
  }

  /// MiB that both ends have grown by.
  var grownMebibytes: Double? { growth(memory?.peak, memory?.before) }

  fileprivate var meanStream: Double? {
    streams.isEmpty ? nil : streams.reduce(0, +) / Double(streams.count)
  }

  /// Of the mean, 0 to 1 and more.
  fileprivate var largestDeviation: Double? {
    guard let mean = meanStream, mean > 0 else { return nil }
    return streams.map { ($0 - mean).magnitude / mean }.max()
  }
}

private func divide(_ value: Double?, _ base: Double?) -> Double? {
  guard let value, let base, base > 0 else { return nil }
  return value / base
}

private func sum(_ first: Int?, _ second: Int?) -> Double? {
  guard let first, let second else { return nil }
  return Double(first + second)
}

private func total(_ bytes: [Int]?) -> Double? { bytes.map { mebibytes($0.reduce(0, +)) } }

/// Since `before`, of one process or of all.
private func growth(_ now: [Int]?, _ before: [Int]?, of process: Int? = nil) -> Double? {
  guard let now, let before else { return nil }
  let grown = zip(now, before).map { mebibytes($0 - $1) }
  guard let process else { return grown.reduce(0, +) }
  return process < grown.count ? grown[process] : nil
}

private func mebibytes(_ bytes: Int) -> Double { Double(bytes) / 1_048_576 }
private func whole(_ value: Double) -> String { fixed(value, 0) }
private func ratio(_ value: Double) -> String { fixed(value, 2) }
private func tenths(_ value: Double) -> String { fixed(value, 1) }
private func percent(_ share: Double) -> String { "\(fixed(share * 100, 0))%" }
private func percentTenths(_ share: Double) -> String { "\(fixed(share * 100, 1))%" }
