// The rounds of the flow cases: in each, every system runs once, the part that runs alone right
// before the whole.

import Glibc
import LoadKit

/// Runs a case. Failures are part of the result, and end the rounds of their system.
func measure(_ flow: FlowCase, _ plan: RoundPlan) -> [FlowFigures] {
  let systems = plan.systems?.filter(flow.systemsAllowed.contains) ?? flow.systems
  var figures = systems.map {
    FlowFigures(
      name: flow.name, shape: flow.shape, system: $0, skipped: $0.missing(in: plan.network))
  }
  for case (let system, let why?) in figures.map({ ($0.system, $0.skipped) }) {
    writeText("\(flow.name) \(system.rawValue): skipped: \(why)\n", to: 2)
  }
  for round in 0..<plan.rounds {
    for turn in figures.indices {
      let place = (turn + round) % figures.count
      guard figures[place].failure == nil, figures[place].skipped == nil else { continue }
      let title = "\(flow.name) \(figures[place].system.rawValue) \(round + 1)/\(plan.rounds)"
      do {
        let run = try measureUndisturbed(flow, figures[place].system, plan)
        figures[place].runs.append(run)
        writeText("\(title): \(FlowTable.summary(run, flow.shape))\n", to: 2)
      } catch {
        figures[place].failure = "\(error)"
        writeText("\(title): \(error)\n", to: 2)
      }
    }
  }
  return figures
}

/// The first run that nobody disturbed, or the least disturbed of all repeats. Long runs are not
/// repeated: they average over what others do.
private func measureUndisturbed(
  _ flow: FlowCase, _ system: System, _ plan: RoundPlan
) throws -> FlowRun {
  var best = try measureOnce(flow, system, plan)
  let isLong = flow.shape == .stalled || plan.seconds(of: flow.workload) >= 10
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
    if flow.shape == .stalled { return try measureStall(flow, system, plan) }
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
      alone = try runTogether([part], system, plan)[0]
    }
    let results = try runTogether([main] + (beside.map { [$0] } ?? []), system, plan)
    if flow.shape == .short, results[0].units < FlowCase.shortDownloadsMin {
      throw LoadError("only \(results[0].units) short downloads in the window")
    }
    return FlowRun(
      alone: alone, main: results[0], beside: results.count > 1 ? results[1] : nil)
  }
}

/// Starts a system, runs the parts in it together, and returns their results in the same order.
private func runTogether(
  _ parts: [ClientPart], _ system: System, _ plan: RoundPlan
) throws -> [LoadResult] {
  let running = try RunningSystem.start(system, mode: .asked, congestion: plan.congestion)
  defer { running.stop() }
  let group = try ClientGroup(parts, on: running, congestion: plan.congestion)
  defer { group.stop() }
  return try parts.indices.map { try group.result(of: $0) }
}
