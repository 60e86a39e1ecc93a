// Warm-up, then a window whose both ends are read from all clocks at once.

import Glibc

/// Decides when a load begins to count and when it is over.
struct MeasuredWindow {
  private struct Reading {
    var units: UInt64
    var machine: MachineReading
  }

  private let order: LoadOrder
  private let start: UInt64
  private var begin: Reading?
  private var end: Reading?
  /// When the clock takes it into the next phase.
  private(set) var nextChange: UInt64

  init(_ order: LoadOrder) {
    self.order = order
    start = order.startAt ?? clockNanoseconds()
    nextChange = start + UInt64(order.warmUpSeconds * 1e9)
  }

  /// Whether what happens now counts.
  var isMeasuring: Bool { begin != nil }

  /// False when the load is over. `units` is the count since the load began.
  mutating func goesOn(at now: UInt64, units: UInt64) -> Bool {
    guard now >= nextChange else { return true }
    if begin == nil {
      begin = reading(units)
      nextChange = now + UInt64(order.seconds * 1e9)
      return true
    }
    end = reading(units)
    return false
  }

  func result(latency: Histogram?, congestion: CongestionControl) throws(LoadError) -> LoadResult {
    guard let begin, let end, end.units > begin.units else {
      throw LoadError("no traffic came through")
    }
    let use = MachineUse(from: begin.machine, to: end.machine)
    return LoadResult(
      seconds: use.seconds, units: end.units - begin.units, watchedCPUSeconds: use.watched,
      clientCPUSeconds: use.own, othersCPUSeconds: use.others, stealSeconds: use.steal,
      latency: latency.map(Latency.init), congestion: congestion,
      warmUpRate: Double(begin.units) * 1e9
        / Double(max(1, begin.machine.time - min(begin.machine.time, start))))
  }

  private func reading(_ units: UInt64) -> Reading {
    Reading(units: units, machine: MachineReading(watched: order.watched))
  }
}

/// All clocks at one moment.
struct MachineReading {
  var time: UInt64
  var watched: [UInt64]
  var own: UInt64
  var machine: MachineTime?

  /// Those of the watched processes, of this one and of the machine.
  init(watched processes: [pid_t]) {
    time = clockNanoseconds()
    watched = processes.map { processCPUNanoseconds($0) ?? 0 }
    own = processCPUNanoseconds(getpid()) ?? 0
    machine = MachineTime.read()
  }
}

/// What processes used between two moments, in seconds.
struct MachineUse {
  var seconds: Double
  var watched: [Double]
  var own: Double
  /// Of processes that are neither this one nor watched.
  var others = 0.0
  var steal = 0.0

  init(from begin: MachineReading, to end: MachineReading) {
    seconds = Double(end.time - begin.time) / 1e9
    watched = zip(end.watched, begin.watched).map { Double($0 &- $1) / 1e9 }
    own = Double(end.own - begin.own) / 1e9
    guard let after = end.machine, let before = begin.machine else { return }
    let all = Double(after.processNanoseconds - before.processNanoseconds) / 1e9
    others = max(0, all - own - watched.reduce(0, +))
    steal = Double(after.stealNanoseconds - before.stealNanoseconds) / 1e9
  }
}
