// Interleaved rounds: in each, every system runs once, in turn, so that what the machine does
// meanwhile falls on all of them. A disturbed run is repeated.

import Glibc
import LoadKit

struct RoundPlan {
  var rounds: Int
  var warmUpSeconds: Double
  var seconds: Double
  /// Asked for by name; nil leaves the choice to the case.
  var systems: [System]?
  var network: LoopbackNetwork

  var congestion: CongestionControl? { network.congestion }

  /// Repeats of a disturbed run before it is taken as it is.
  static let repeatsMax = 2
  /// Share of the machine that other processes and the hypervisor may take in a run.
  static let disturbanceMax = 0.05

  /// What a window of the workload takes.
  func seconds(of workload: Workload) -> Double { max(seconds, workload.secondsMin ?? 0) }

  func warmUpSeconds(of workload: Workload) -> Double {
    max(warmUpSeconds, workload.warmUpSecondsMin ?? 0)
  }

  func systems(for load: LoadCase) -> [System] {
    guard let systems else { return load.systems }
    return systems.filter { load.systems.contains($0) || $0 == .direct }
  }
}

/// One run of one system.
struct RunFigures: Codable {
  /// Gbit/s at the receiver, or operations per second.
  var rate: Double
  /// Of the measured processes: CPU-s per GB (10^9 bytes), or CPU-us per operation.
  var cpuPerUnit: Double
  /// Of client and target, in the same unit.
  var loadCPUPerUnit: Double
  var latency: Latency?
  /// VmRSS at the end, edge or relay first.
  var residentBytes: [Int]
  /// Share of the machine taken by others, 0 to 1.
  var disturbance: Double
  var isDisturbed: Bool { disturbance > RoundPlan.disturbanceMax }
}

/// All runs of one system in one case.
struct LoadFigures: Codable {
  var name: String
  var system: System
  var isBulk: Bool
  var runs: [RunFigures] = []
  /// Why there are no more runs.
  var failure: String?
}

/// Runs a case. Failures are part of the result, and end the rounds of their system.
func measure(_ load: LoadCase, _ plan: RoundPlan) -> [LoadFigures] {
  var figures = plan.systems(for: load).map {
    LoadFigures(name: load.name, system: $0, isBulk: load.workload.kind.isBulk)
  }
  for round in 0..<plan.rounds {
    for turn in figures.indices {
      let place = (turn + round) % figures.count
      guard figures[place].failure == nil else { continue }
      let title = "\(load.name) \(figures[place].system.rawValue) \(round + 1)/\(plan.rounds)"
      do {
        let run = try measureUndisturbed(load.workload, figures[place].system, plan)
        figures[place].runs.append(run)
        writeText("\(title): \(run.summary(isBulk: figures[place].isBulk))\n", to: 2)
      } catch {
        figures[place].failure = "\(error)"
        writeText("\(title): \(error)\n", to: 2)
      }
    }
  }
  return figures
}

/// The first run that nobody disturbed, or the least disturbed of all repeats.
private func measureUndisturbed(
  _ workload: Workload, _ system: System, _ plan: RoundPlan
) throws -> RunFigures {
  var best = try measureOnce(workload, system, plan)
  for _ in 0..<RoundPlan.repeatsMax where best.isDisturbed {
    let run = try measureOnce(workload, system, plan)
    if run.disturbance < best.disturbance { best = run }
  }
  return best
}

private func measureOnce(
  _ workload: Workload, _ system: System, _ plan: RoundPlan
) throws -> RunFigures {
  let running = try RunningSystem.start(
    system, for: workload.kind, congestion: plan.congestion)
  defer { running.stop() }
  let watched = running.measured + [running.target]
  let order = LoadOrder(
    workload: workload, port: running.entryPort,
    warmUpSeconds: plan.warmUpSeconds(of: workload), seconds: plan.seconds(of: workload),
    watched: watched.map(\.identifier), congestion: plan.congestion)
  let client = try ChildProcess.role(["client"], order: order, counters: running.counters)
  defer { client.stop() }
  guard let line = client.readLine(within: order.warmUpSeconds + order.seconds + 15) else {
    throw LoadError("the client gave no result")
  }
  let result = try LoadResult(json: Array(line.utf8))
  return RunFigures(
    result, isBulk: workload.kind.isBulk,
    residentBytes: running.measured.map { residentBytes($0.identifier) ?? 0 })
}

extension LoadResult {
  /// Share of the machine that neither the load nor what it measures took, 0 to 1.
  var disturbance: Double {
    let available = seconds * Double(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    return (othersCPUSeconds + stealSeconds) / available
  }
}

extension RunFigures {
  fileprivate init(_ result: LoadResult, isBulk: Bool, residentBytes: [Int]) {
    let units = Double(result.units)
    rate = units / result.seconds * (isBulk ? 8e-9 : 1)
    let scale = isBulk ? 1e9 : 1e6
    let target = result.watchedCPUSeconds.last ?? 0
    cpuPerUnit = result.watchedCPUSeconds.dropLast().reduce(0, +) / units * scale
    loadCPUPerUnit = (result.clientCPUSeconds + target) / units * scale
    latency = result.latency
    self.residentBytes = residentBytes
    disturbance = result.disturbance
  }

  fileprivate func summary(isBulk: Bool) -> String {
    let note = isDisturbed ? ", disturbed \(fixed(disturbance * 100, 0)) %" : ""
    return "\(significant(rate)) \(Report.rateUnit(isBulk)), "
      + "\(significant(cpuPerUnit)) \(Report.cpuUnit(isBulk))\(note)"
  }
}
