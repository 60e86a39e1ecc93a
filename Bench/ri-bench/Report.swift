// The result of a benchmark: a table for people, JSON for the rest.

import FoundationEssentials
import LoadKit

struct Report: Codable {
  var machine: Machine
  /// What was run, in words for a shell; absent in older results.
  var command: String?
  var rounds: Int
  var seconds: Double
  var loads: [LoadFigures] = []
  var flows: [FlowFigures] = []
  var datagrams: [DatagramFigures] = []
  var micros: [MicroFigures] = []
  var links: [LinkFigures] = []

  init(machine: Machine, rounds: Int, seconds: Double) {
    self.machine = machine
    self.rounds = rounds
    self.seconds = seconds
  }

  /// Reads what `write` wrote.
  init(readingFrom path: String) throws {
    do {
      self = try JSONDecoder().decode(Report.self, from: Data(contentsOf: URL(filePath: path)))
    } catch {
      throw LoadError("\(path): no figures of ri-bench: \(error)")
    }
  }

  var hasFailures: Bool {
    loads.contains { $0.failure != nil } || flows.contains { $0.failure != nil }
      || links.contains { $0.failure != nil } || datagrams.contains { $0.failure != nil }
  }

  static func rateUnit(_ isBulk: Bool) -> String { isBulk ? "Gbit/s" : "op/s" }
  static func cpuUnit(_ isBulk: Bool) -> String { isBulk ? "CPU-s/GB" : "CPU-us/op" }

  func write(to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    try encoder.encode(self).write(to: URL(filePath: path))
  }

  func text() -> String {
    var text = "\n" + machine.headline
    if !loads.isEmpty { text += loadText() }
    text += FlowTable.text(flows)
    text += DatagramFigures.text(datagrams)
    text += LinkFigures.text(links)
    if !micros.isEmpty { text += "\n" + MicroFigures.table(micros).rendered() }
    return text
  }

  private func loadText() -> String {
    var table = Table([
      "case", "system", "rate", "", "spread", "ratio", "CPU", "", "spread", "ratio", "p50 us",
      "p99 us", "p99.9 us", "RSS MB", "",
    ])
    for figures in loads { table.rows.append(row(figures, in: table)) }
    return """
      medians of \(rounds) interleaved rounds of \(fixed(seconds, 1)) s; CPU is edge + hub (or the \
      relay); ratio is to the case's first system with a figure; * = others disturbed a run

      \(table.rendered())
      """
  }

  private func row(_ figures: LoadFigures, in table: Table) -> [String] {
    let start = [figures.name, figures.system.rawValue]
    guard let rate = Repeats(figures.runs.map(\.rate)), figures.failure == nil else {
      let blanks = [String](repeating: "", count: table.headings.count - 3)
      let note =
        figures.skipped.map { "skipped: \($0)" } ?? "failed: \(figures.failure ?? "no runs")"
      return start + blanks + [note]
    }
    let cpu = Repeats(figures.runs.map(\.cpuPerUnit))
    let base = base(for: figures)
    let baseRate = base.flatMap { Repeats($0.runs.map(\.rate)) }
    let baseCPU = base.flatMap { Repeats($0.runs.map(\.cpuPerUnit)) }
    return start + [
      significant(rate.median), Self.rateUnit(figures.isBulk), percent(rate.spread),
      ratio(rate, baseRate),
    ]
      + (figures.system == .direct
        ? ["", "", "", ""]
        : [
          cpu.map { significant($0.median) } ?? "", Self.cpuUnit(figures.isBulk),
          cpu.map { percent($0.spread) } ?? "", ratio(cpu, baseCPU),
        ]) + [
        latency(figures, \.p50), latency(figures, \.p99), latency(figures, \.p999),
        memory(figures), figures.runs.contains(where: \.isDisturbed) ? "*" : "",
      ]
  }

  /// What a row is compared with: the roofline of its case, or the first ring.
  private func base(for figures: LoadFigures) -> LoadFigures? {
    loads.first { $0.name == figures.name && $0.system != .direct && !$0.runs.isEmpty }
  }

  private func ratio(_ value: Repeats?, _ base: Repeats?) -> String {
    guard let value, let base, base.median > 0 else { return "" }
    return fixed(value.median / base.median, 2)
  }

  private func percent(_ share: Double) -> String { "\(fixed(share * 100, 0))%" }

  private func latency(_ figures: LoadFigures, _ part: KeyPath<Latency, Double>) -> String {
    Repeats(figures.runs.compactMap { $0.latency?[keyPath: part] })
      .map { significant($0.median) } ?? ""
  }

  private func memory(_ figures: LoadFigures) -> String {
    guard figures.system != .direct else { return "" }
    return Repeats(figures.runs.map { Double($0.residentBytes.reduce(0, +)) / 1e6 })
      .map { significant($0.median) } ?? ""
  }
}
