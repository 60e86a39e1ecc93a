// The UDP cases: a workload from Profiles/datagrams through a tunnel, and by itself over loopback.

import ArgumentParser
import FoundationEssentials
import Glibc
import LoadKit

struct DatagramCase {
  var workload: DatagramWorkload
  var name: String { workload.name }

  static func read(_ directory: String) throws(LoadError) -> [DatagramCase] {
    var cases: [DatagramCase] = []
    for (file, text) in try readJSONFiles(directory) {
      do {
        cases.append(DatagramCase(workload: try DatagramWorkload(json: text)))
      } catch {
        throw LoadError("\(file): \(error)")
      }
    }
    return cases.sorted { $0.name < $1.name }
  }
}

/// One run of one system.
struct DatagramFiguresOfRun: Codable {
  var result: DatagramResult
  /// VmRSS at the end, edge first.
  var residentBytes: [Int]

  var packetsPerSecond: Double { Double(result.received) / result.seconds }
  /// 0 to 1.
  var loss: Double { Double(result.lost) / Double(max(1, result.sent)) }
  /// Microseconds of edge and hub.
  var cpuPerPacket: Double { perPacket(result.watchedCPUSeconds.reduce(0, +)) }
  var loadCPUPerPacket: Double { perPacket(result.loadCPUSeconds) }

  private func perPacket(_ cpuSeconds: Double) -> Double {
    cpuSeconds / result.clockSeconds * 1e6 / packetsPerSecond
  }

  /// Share of the machine that others took, 0 to 1.
  var disturbance: Double {
    (result.othersCPUSeconds + result.stealSeconds)
      / (result.clockSeconds * Double(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
  }
  var isDisturbed: Bool { disturbance > RoundPlan.disturbanceMax }
}

/// All runs of one system in one case.
struct DatagramFigures: Codable {
  var name: String
  var system: System
  var runs: [DatagramFiguresOfRun] = []
  /// Why there are no more runs.
  var failure: String?
}

/// Runs a case. Failures are part of the result, and end the rounds of their system.
func measure(_ item: DatagramCase, _ plan: RoundPlan) -> [DatagramFigures] {
  interleave(
    item.name, plan.systems(for: item), rounds: plan.rounds, plan.progress,
    measure: { try measureUndisturbed(item.workload, $0, plan) }, summary: \.summary
  ).map {
    DatagramFigures(name: item.name, system: $0.system, runs: $0.runs, failure: $0.failure)
  }
}

/// The first run that nobody disturbed, or the least disturbed of all repeats.
private func measureUndisturbed(
  _ workload: DatagramWorkload, _ system: System, _ plan: RoundPlan
) throws -> DatagramFiguresOfRun {
  var best = try measureOnce(workload, system, plan)
  for _ in 0..<RoundPlan.repeatsMax where best.isDisturbed {
    let run = try measureOnce(workload, system, plan)
    if run.disturbance < best.disturbance { best = run }
  }
  return best
}

private func measureOnce(
  _ workload: DatagramWorkload, _ system: System, _ plan: RoundPlan
) throws -> DatagramFiguresOfRun {
  let targetPort = try freeLoopbackPort()
  let tunnel =
    try system == .direct
    ? nil : DatagramTunnel.start(system, targetPort: targetPort, congestion: plan.congestion)
  defer { tunnel?.stop() }
  let order = DatagramOrder(
    workload: workload, entryPort: tunnel?.entryPort ?? targetPort, targetPort: targetPort,
    warmUpSeconds: plan.warmUpSeconds, seconds: plan.seconds,
    watched: tunnel?.processes.map(\.identifier) ?? [])
  let load = try ChildProcess.role(["datagram-load"], order: order)
  defer { load.stop() }
  guard let line = load.readLine(within: order.warmUpSeconds + order.seconds + 15) else {
    throw LoadError("the load gave no result")
  }
  return DatagramFiguresOfRun(
    result: try DatagramResult(json: Array(line.utf8)),
    residentBytes: tunnel?.processes.map { residentBytes($0.identifier) ?? 0 } ?? [])
}

/// An edge and a hub of ours that carry one UDP port.
private struct DatagramTunnel {
  var entryPort: UInt16
  /// The edge first.
  var processes: [ChildProcess]

  static func start(
    _ system: System, targetPort: UInt16, congestion: CongestionControl?
  ) throws -> DatagramTunnel {
    let (hubPort, edgePort) = (try freeLoopbackPort(), try freeLoopbackPort())
    let key = "bench-\(UInt64.random(in: 0...UInt64.max))"
    func order(_ listenPort: UInt16, _ connectPort: UInt16) -> EndOrder {
      EndOrder(
        listenPort: listenPort, connectPort: connectPort, clientPort: edgePort, key: key,
        ring: system.ring, congestion: congestion, overQUIC: system == .oursQUIC,
        carriesDatagrams: true)
    }
    let hub = try ChildProcess.role(["ours", "hub"], order: order(hubPort, targetPort))
    try hub.awaitReady("hub")
    let edge = try ChildProcess.role(["ours", "edge"], order: order(edgePort, hubPort))
    try edge.awaitReady("edge")
    return DatagramTunnel(entryPort: edgePort, processes: [edge, hub])
  }

  func stop() { for process in processes { process.stop() } }
}

/// Clients and target of a UDP case, in one process.
struct DatagramRole: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "datagram-load", shouldDisplay: false)

  func run() throws {
    let result = try runDatagramLoad(takeOrder())
    let json = try JSONEncoder().encode(result)
    writeText(String(decoding: json, as: UTF8.self) + "\n", to: 1)
  }
}

// MARK: The table

extension DatagramFiguresOfRun {
  fileprivate var summary: String {
    let cpu = result.watchedCPUSeconds.isEmpty ? "" : ", \(significant(cpuPerPacket)) CPU-us/packet"
    let note = isDisturbed ? ", disturbed \(fixed(disturbance * 100, 0)) %" : ""
    return "\(significant(packetsPerSecond)) packets/s, \(fixed(loss * 100, 2)) % lost, "
      + "p99 \(significant(result.latency.p99)) us\(cpu)\(note)"
  }
}

extension DatagramFigures {
  static func text(_ all: [DatagramFigures]) -> String {
    guard !all.isEmpty else { return "" }
    var table = Table([
      "case", "system", "packets/s", "spread", "of direct", "lost %", "repeated", "p50 us",
      "p99 us",
      "max us", "CPU us/packet", "spread", "load us/packet", "RSS MB", "",
    ])
    for figures in all { table.rows.append(figures.row(among: all, columns: table.headings.count)) }
    return """

      datagrams that arrived; CPU is edge + hub, load is client and target; times are there and \
      back for rr, one way for streams; * = others disturbed a run

      \(table.rendered())
      """
  }

  private func row(among all: [DatagramFigures], columns: Int) -> [String] {
    let start = [name, system.rawValue]
    guard let rate = Repeats(runs.map(\.packetsPerSecond)), failure == nil else {
      return start + [String](repeating: "", count: columns - 3)
        + ["failed: \(failure ?? "no runs")"]
    }
    func median(_ value: (DatagramFiguresOfRun) -> Double) -> Double {
      Repeats(runs.map(value))?.median ?? 0
    }
    let direct = all.first { $0.name == name && $0.system == .direct && !$0.runs.isEmpty }
    let base = direct.flatMap { Repeats($0.runs.map(\.packetsPerSecond))?.median }
    let isTunnel = system != .direct
    let cpu = Repeats(runs.map(\.cpuPerPacket))
    return start + [
      significant(rate.median), percent(rate.spread),
      base.map { fixed(rate.median / $0, 2) } ?? "", fixed(median(\.loss) * 100, 2),
      fixed(median { Double($0.result.repeated) }, 0), significant(median(\.result.latency.p50)),
      significant(median(\.result.latency.p99)), significant(median(\.result.latency.max)),
      isTunnel ? significant(cpu?.median ?? 0) : "", isTunnel ? percent(cpu?.spread ?? 0) : "",
      significant(median(\.loadCPUPerPacket)),
      isTunnel ? significant(median { Double($0.residentBytes.reduce(0, +)) / 1e6 }) : "",
      runs.contains(where: \.isDisturbed) ? "*" : "",
    ]
  }

  private func percent(_ share: Double) -> String { "\(fixed(share * 100, 0))%" }
}
