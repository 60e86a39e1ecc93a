// The rounds of the cases with one workload. A disturbed run is repeated.

import Glibc
import LoadKit

struct RoundPlan {
  var rounds: Int
  var warmUpSeconds: Double
  var seconds: Double
  /// Asked for by name; nil leaves the choice to the case.
  var systems: [System]?
  /// Whether the pairs of other software take part.
  var peers: Bool
  var network: LoopbackNetwork
  var progress: Progress

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

  /// What takes part of those that may: the named ones, or the usual ones and peers.
  func systems(usual: [System], allowed: [System]) -> [System] {
    if let systems { return systems.filter(allowed.contains) }
    return usual
      + (peers ? System.peers.filter { allowed.contains($0) && !usual.contains($0) } : [])
  }

  func systems(for load: LoadCase) -> [System] {
    systems(usual: load.systems, allowed: load.systemsAllowed)
  }

  func systems(for flow: FlowCase) -> [System] {
    systems(usual: flow.systems, allowed: flow.systemsAllowed)
  }

  func systems(for item: DatagramCase) -> [System] {
    systems(usual: System.datagrams, allowed: System.datagrams)
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
  /// What the case sweeps over; absent in older results.
  var family: String?
  var connections: Int?
  var shards: Int?
  var runs: [RunFigures] = []
  /// Why there are no more runs.
  var failure: String?
  /// Why it was not run at all, which is no failure.
  var skipped: String?
}

/// Runs a case. Failures are part of the result, and end the rounds of their system.
func measure(_ load: LoadCase, _ plan: RoundPlan) -> [LoadFigures] {
  let isBulk = load.workload.kind.isBulk
  return interleave(
    load.name, plan.systems(for: load), rounds: plan.rounds, plan.progress,
    skipped: { $0.missing(in: plan.network, for: load.workload) },
    measure: { try measureUndisturbed(load.workload, $0, plan) },
    summary: { $0.summary(isBulk: isBulk) }
  ).map {
    LoadFigures(
      name: load.name, system: $0.system, isBulk: isBulk, family: load.workload.family,
      connections: load.workload.connections, shards: load.workload.shards, runs: $0.runs,
      failure: $0.failure, skipped: $0.skipped)
  }
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
    system, for: workload, congestion: plan.congestion)
  defer { running.stop() }
  let watched = running.measured.flatMap(\.self) + [running.target.identifier]
  let order = LoadOrder(
    workload: workload, port: running.entryPort,
    warmUpSeconds: plan.warmUpSeconds(of: workload), seconds: plan.seconds(of: workload),
    watched: watched, congestion: plan.congestion)
  let client = try ChildProcess.role(["client"], order: order, counters: running.counters)
  defer { client.stop() }
  guard let line = client.readLine(within: order.warmUpSeconds + order.seconds + 15) else {
    throw LoadError("the client gave no result")
  }
  let result = try LoadResult(json: Array(line.utf8))
  return RunFigures(
    result, isBulk: workload.kind.isBulk,
    residentBytes: running.residentByEnd)
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
