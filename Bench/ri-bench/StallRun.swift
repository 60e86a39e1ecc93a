// A run with clients that never read or read slowly: memory of edge and hub, and of the kernel's
// sockets, before, during and after; and a paced client that must not notice.
//
//   0 s      1 s           1 s + ramp            end     end + 3 s             end + 15 s at most
//   paced ──────────────────────────────────────────
//            stalled: connect at a pace, then hold │ leave
//                                       paced too ─────────────
//   RSS      before       peak                end         · · · until it rests: after

import Glibc
import LoadKit

/// Bytes of edge and hub (VmRSS), and of all TCP sockets of the machine.
struct StallMemory: Codable {
  /// Edge or relay first.
  var before: [Int]
  var peak: [Int]
  /// While all stall, right before they leave.
  var end: [Int]
  /// Once it rested, or 15 s after they left.
  var after: [Int]
  /// How long after they left `after` was read.
  var afterSeconds: Double
  var socketsBefore: Int
  var socketsPeak: Int
  var socketsAfter: Int
}

/// How long each phase takes.
private enum Phase {
  /// The paced client alone.
  static let calmSeconds = 1.0
  /// The paced client while the others leave, and after.
  static let leavingSeconds = 3.0
  static let fallSecondsMax = 15.0
  /// Memory rests when it has not changed by more than this for `restSeconds`.
  static let restBytes = 1 << 20
  static let restSeconds = 3.0
  static let sampleMicroseconds: useconds_t = 50_000
}

func measureStall(_ flow: FlowCase, _ system: System, _ plan: RoundPlan) throws -> FlowRun {
  guard let healthy = flow.beside else { throw LoadError("nothing beside \(flow.name)") }
  let running = try RunningSystem.start(
    system, for: flow.workload, mode: .asked, congestion: plan.congestion)
  defer { running.stop() }
  let ramp =
    Double(flow.workload.connections) / Double(flow.workload.connectsPerSecond ?? 1)
  let stall = ramp + plan.seconds(of: flow.workload)
  let parts = [
    ClientPart(workload: healthy, warmUpSeconds: Phase.calmSeconds, seconds: stall),
    ClientPart(
      workload: flow.workload, startSeconds: Phase.calmSeconds, warmUpSeconds: 0, seconds: stall),
    ClientPart(
      workload: healthy, startSeconds: stall, warmUpSeconds: Phase.calmSeconds,
      seconds: Phase.leavingSeconds),
  ]
  let group = try ClientGroup(parts, on: running, congestion: plan.congestion)
  defer { group.stop() }
  let leave = group.time(parts[1].endSeconds)
  var memory = MemoryWatch(running)
  memory.watch(until: group.time(Phase.calmSeconds) - 50_000_000)
  let before = memory.now
  memory.watch(until: leave - 100_000_000)
  let (peak, end) = (memory.peak, memory.now)
  let main = try group.result(of: 0)
  let stalled = try group.result(of: 1)
  let leaving = try group.result(of: 2)
  memory.watchUntilRest(deadline: leave + UInt64(Phase.fallSecondsMax * 1e9))
  let after = memory.now
  return FlowRun(
    main: main, beside: stalled, leaving: leaving,
    memory: StallMemory(
      before: before.resident, peak: peak.resident, end: end.resident, after: after.resident,
      afterSeconds: Double(clockNanoseconds() - leave) / 1e9, socketsBefore: before.sockets,
      socketsPeak: peak.sockets, socketsAfter: after.sockets))
}

/// A run with connections that rest: memory before they come, while all of them are there, and
/// after they have left.
func measureIdle(_ flow: FlowCase, _ system: System, _ plan: RoundPlan) throws -> FlowRun {
  let running = try RunningSystem.start(
    system, for: flow.workload, mode: .asked, congestion: plan.congestion)
  defer { running.stop() }
  var memory = MemoryWatch(running)
  memory.watch(until: clockNanoseconds() + 300_000_000)
  let before = memory.now
  let ramp = Double(flow.workload.connections) / Double(flow.workload.connectsPerSecond ?? 1)
  let part = ClientPart(
    workload: flow.workload, warmUpSeconds: ramp + Phase.calmSeconds,
    seconds: plan.seconds(of: flow.workload))
  let group = try ClientGroup([part], on: running, congestion: plan.congestion)
  defer { group.stop() }
  let leave = group.time(part.endSeconds)
  memory.watch(until: leave - 100_000_000)
  let (peak, end) = (memory.peak, memory.now)
  let main = try group.result(of: 0)
  let answered = main.idle?.answered ?? 0
  guard answered == flow.workload.connections else {
    throw LoadError("only \(answered) of \(flow.workload.connections) connections were answered")
  }
  guard main.idle?.ended == 0 else { throw LoadError("connections that rested were ended") }
  memory.watchUntilRest(deadline: leave + UInt64(Phase.leavingSeconds * 1e9))
  let after = memory.now
  return FlowRun(
    main: main,
    memory: StallMemory(
      before: before.resident, peak: peak.resident, end: end.resident, after: after.resident,
      afterSeconds: Double(clockNanoseconds() - leave) / 1e9, socketsBefore: before.sockets,
      socketsPeak: peak.sockets, socketsAfter: after.sockets))
}

/// Samples of the memory of a running system.
private struct MemoryWatch {
  struct Sample {
    /// By end.
    var resident: [Int]
    var sockets: Int
  }

  private let running: RunningSystem
  private(set) var now: Sample
  /// The highest of each since the watch began.
  private(set) var peak: Sample

  init(_ running: RunningSystem) {
    self.running = running
    now = Sample(resident: running.residentByEnd, sockets: socketMemoryBytes() ?? 0)
    peak = now
  }

  mutating func watch(until deadline: UInt64) {
    while clockNanoseconds() < deadline {
      usleep(Phase.sampleMicroseconds)
      sample()
    }
  }

  mutating func watchUntilRest(deadline: UInt64) {
    sample()
    var (reference, since) = (now, clockNanoseconds())
    while clockNanoseconds() < min(deadline, since + UInt64(Phase.restSeconds * 1e9)) {
      usleep(Phase.sampleMicroseconds)
      sample()
      let moved = zip(now.resident, reference.resident).map { abs($0 - $1) }.max() ?? 0
      if moved > Phase.restBytes { (reference, since) = (now, clockNanoseconds()) }
    }
  }

  private mutating func sample() {
    now = Sample(resident: running.residentByEnd, sockets: socketMemoryBytes() ?? 0)
    peak.resident = zip(peak.resident, now.resident).map(max)
    peak.sockets = max(peak.sockets, now.sockets)
  }
}
