// The rounds of the flow cases: in each, every system runs once, the part that runs alone right
// before the whole.

import Glibc
import LoadKit

/// Runs a case. Failures are part of the result, and end the rounds of their system.
func measure(_ flow: FlowCase, _ plan: RoundPlan) -> [FlowFigures] {
  interleave(
    flow.name, plan.systems(for: flow), rounds: plan.rounds, plan.progress,
    skipped: { $0.missing(in: plan.network, for: flow.workload) },
    measure: { try measureUndisturbed(flow, $0, plan) },
    summary: { FlowTable.summary($0, flow.shape) }
  ).map {
    FlowFigures(
      name: flow.name, shape: flow.shape, connections: flow.workload.connections,
      system: $0.system, runs: $0.runs, failure: $0.failure, skipped: $0.skipped)
  }
}

/// The first run that nobody disturbed, or the least disturbed of all repeats. Long runs are not
/// repeated: they average over what others do.
private func measureUndisturbed(
  _ flow: FlowCase, _ system: System, _ plan: RoundPlan
) throws -> FlowRun {
  var best = try measureOnce(flow, system, plan)
  let isLong = [.stalled, .idle].contains(flow.shape) || plan.seconds(of: flow.workload) >= 10
  for _ in 0..<(isLong ? 0 : RoundPlan.repeatsMax) where best.isDisturbed {
    let run = try measureOnce(flow, system, plan)
    if run.disturbance < best.disturbance { best = run }
  }
  return best
}

private func measureOnce(
  _ flow: FlowCase, _ system: System, _ plan: RoundPlan
) throws -> FlowRun {
  try plan.network.withMTU(flow.workload.loopbackMTU) {
    switch flow.shape {
    case .stalled: return try measureStall(flow, system, plan)
    case .idle: return try measureIdle(flow, system, plan)
    case .mixed, .shares, .beside, .short: break
    }
    let lead = flow.workload.besideLeadSeconds ?? 0
    let warmUp = plan.warmUpSeconds(of: flow.workload)
    let seconds = plan.seconds(of: flow.workload)
    let main = ClientPart(
      workload: flow.workload, startSeconds: lead, warmUpSeconds: warmUp,
      seconds: seconds)
    let beside = flow.beside.map {
      ClientPart(workload: $0, warmUpSeconds: lead + warmUp, seconds: seconds)
    }
    var alone: LoadResult?
    if var part = flow.workload.alone == .main ? main : beside, flow.workload.alone != nil {
      part.startSeconds = 0
      part.warmUpSeconds = warmUp
      alone = try runTogether([part], flow.workload, system, plan)[0]
    }
    let parts = [main] + (beside.map { [$0] } ?? [])
    let results = try runTogether(parts, flow.workload, system, plan)
    if flow.shape == .short, results[0].units < FlowCase.shortDownloadsMin {
      throw LoadError("only \(results[0].units) short downloads in the window")
    }
    return FlowRun(
      alone: alone, main: results[0], beside: results.count > 1 ? results[1] : nil)
  }
}

/// Starts a system, runs the parts in it together, and returns their results in the same order.
private func runTogether(
  _ parts: [ClientPart], _ workload: Workload, _ system: System, _ plan: RoundPlan
) throws -> [LoadResult] {
  let running = try RunningSystem.start(
    system, for: workload, mode: .asked, congestion: plan.congestion)
  defer { running.stop() }
  let group = try ClientGroup(parts, on: running, congestion: plan.congestion)
  defer { group.stop() }
  return try parts.indices.map { try group.result(of: $0) }
}
