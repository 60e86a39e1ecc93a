// The rounds of the cases over links: every run has a fresh link with the same seed, so all systems
// meet the same losses.

import Glibc
import LinkKit
import LoadKit

/// How cases over links are run.
struct LinkPlan {
  var rounds: Int
  /// Long enough for congestion control to find the link's rate.
  var warmUpSeconds: Double
  var seconds: Double
  /// Asked for by name; nil: all that a link knows.
  var systems: [System]?
  var progress: Progress

  var systemsTakingPart: [System] {
    systems.map { $0.filter(System.links.contains) } ?? System.links
  }
}

/// One run of one system.
struct LinkRun: Codable {
  var figures: RunFigures
  /// Goodput as a share of the link's rate.
  var shareOfRate: Double
  /// From its start to its end, warm-up included.
  var link: LinkSummary
  /// Cores that the emulation and the receiving halves of TCP took in the window.
  var linkCores: Double
}

/// All runs of one system in one case.
struct LinkFigures: Codable {
  var name: String
  var system: System
  var runs: [LinkRun] = []
  /// Why there are no more runs.
  var failure: String?
}

/// Runs a case. Failures are part of the result, and end the rounds of their system.
func measure(_ load: LinkCase, _ plan: LinkPlan) -> [LinkFigures] {
  interleave(
    load.name, plan.systemsTakingPart, rounds: plan.rounds, plan.progress,
    measure: { try measureOnce(load, $0, plan) }, summary: \.summary
  ).map { LinkFigures(name: load.name, system: $0.system, runs: $0.runs, failure: $0.failure) }
}

private func measureOnce(
  _ load: LinkCase, _ system: System, _ plan: LinkPlan
) throws -> LinkRun {
  let running = try LinkedSystem.start(system, load)
  defer { running.stop() }
  let watched =
    (running.measured + [running.target, running.link.process]).map(\.identifier)
    + running.link.receivers
  var order = LoadOrder(
    workload: load.workload, port: running.entry.port, warmUpSeconds: plan.warmUpSeconds,
    seconds: plan.seconds, watched: watched, congestion: nil)
  order.host = running.entry.host
  let client = try running.client(order)
  defer { client.stop() }
  guard let line = client.readLine(within: plan.warmUpSeconds + plan.seconds + 15) else {
    throw LoadError("the client gave no result")
  }
  let result = try LoadResult(json: Array(line.utf8))
  let memory = running.measured.map { residentBytes($0.identifier) ?? 0 }
  client.stop()
  return LinkRun(
    result, memory, try running.link.end(), load.setup, ends: running.measured.count)
}

extension LinkRun {
  /// `watched` was edge and hub (or nobody: `ends`), target, link and its receivers.
  fileprivate init(
    _ result: LoadResult, _ memory: [Int], _ link: LinkSummary, _ setup: LinkSetup, ends: Int
  ) {
    let units = Double(result.units)
    let watched = result.watchedCPUSeconds
    let target = watched[ends]
    let available = result.seconds * Double(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    figures = RunFigures(
      rate: units / result.seconds * 8e-9,
      cpuPerUnit: watched.prefix(ends).reduce(0, +) / units * 1e9,
      loadCPUPerUnit: (result.clientCPUSeconds + target) / units * 1e9,
      residentBytes: memory,
      disturbance: (result.othersCPUSeconds + result.stealSeconds) / available)
    shareOfRate = figures.rate * 1e9 / Double(setup.conditions.bitsPerSecond)
    linkCores = watched.dropFirst(ends + 1).reduce(0, +) / result.seconds
    self.link = link
  }

  /// Share of all packets, both directions, for which this holds.
  fileprivate func share(_ part: KeyPath<LinkCounters, UInt64>) -> Double {
    let packets = link.aToB.packets + link.bToA.packets
    let matching = link.aToB[keyPath: part] + link.bToA[keyPath: part]
    return packets == 0 ? 0 : Double(matching) / Double(packets)
  }

  fileprivate var summary: String {
    "\(significant(figures.rate)) Gbit/s (\(fixed(shareOfRate * 100, 1))% of the link), "
      + "\(significant(figures.cpuPerUnit)) CPU-s/GB, link \(fixed(linkCores, 2)) cores"
      + (figures.isDisturbed ? ", disturbed \(fixed(figures.disturbance * 100, 0)) %" : "")
  }
}

extension LinkFigures {
  /// A table with what it says above it; nothing for no figures.
  static func text(_ all: [LinkFigures]) -> String {
    guard !all.isEmpty else { return "" }
    var table = Table([
      "case", "system", "Gbit/s", "spread", "of link", "CPU-s/GB", "spread", "RSS MB",
      "queue drops",
      "lost", "overdue", "link cores", "",
    ])
    for figures in all { table.rows.append(figures.row(columns: table.headings.count)) }
    return """

      medians; goodput at the receiver; CPU is edge + hub; drops, losses and overdue packets are \
      shares of all packets of the link; * = others disturbed a run

      \(table.rendered())
      """
  }

  private func row(columns: Int) -> [String] {
    guard let rate = median(\.figures.rate), failure == nil else {
      let blanks = [String](repeating: "", count: columns - 3)
      return [name, system.rawValue] + blanks + ["failed: \(failure ?? "no runs")"]
    }
    let isDirect = system == .direct
    let memory = Repeats(runs.map { Double($0.figures.residentBytes.reduce(0, +)) / 1e6 })
    return [
      name, system.rawValue, significant(rate.median), percent(rate.spread, 0),
      percent(median(\.shareOfRate)?.median, 1),
      isDirect ? "" : median(\.figures.cpuPerUnit).map { significant($0.median) } ?? "",
      isDirect ? "" : percent(median(\.figures.cpuPerUnit)?.spread, 0),
      isDirect ? "" : memory.map { significant($0.median) } ?? "",
      share(\.queueFull), share(\.lost), share(\.overdue),
      median(\.linkCores).map { fixed($0.median, 2) } ?? "",
      runs.contains(where: \.figures.isDisturbed) ? "*" : "",
    ]
  }

  private func median(_ part: KeyPath<LinkRun, Double>) -> Repeats? {
    Repeats(runs.map { $0[keyPath: part] })
  }

  private func share(_ part: KeyPath<LinkCounters, UInt64>) -> String {
    percent(Repeats(runs.map { $0.share(part) })?.median, 2)
  }

  private func percent(_ share: Double?, _ decimals: Int) -> String {
    share.map { "\(fixed($0 * 100, decimals))%" } ?? ""
  }
}
