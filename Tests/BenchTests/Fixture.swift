// Reports as a run would make them, with figures that the tests choose.

import LoadKit

@testable import ri_bench

enum Fixture {
  static let machine = Machine(
    cpu: "A processor", cores: 2, kernel: "6.18.1", commit: "0123456", swift: "Swift 6.3",
    network: "private network namespace, cubic by route", time: 1_800_000_000)

  /// A case of every kind that a page shows. `factor` makes it faster in all of them.
  static func report(factor: Double = 1, rounds: Int = 3) throws -> Report {
    var report = Report(machine: machine, rounds: rounds, seconds: 2)
    report.command = "ri-bench --profile figures <&>"
    let systems: [(System, Double)] = [
      (.direct, 3), (.roofline, 1), (.oursUring, 1.6 * factor), (.oursEpoll, 1.4 * factor),
      (.haproxy, 0.7),
    ]
    for (name, isBulk) in [("bulk-down-16", true), ("rr-64", false), ("crr-32", false)] {
      for (system, speed) in systems {
        report.loads.append(
          LoadFigures(
            name: name, system: system, isBulk: isBulk,
            runs: (0..<rounds).map { run(isBulk ? 9 : 60_000, speed, $0, isBulk: isBulk) }))
      }
    }
    for (connections, system) in [1, 64, 15_000].flatMap({ count in
      [System.roofline, .oursUring].map { (count, $0) }
    }) {
      report.loads.append(
        LoadFigures(
          name: "scale-connections-\(connections)", system: system, isBulk: false,
          family: "scale-connections", connections: connections,
          runs: [run(2_000, system == .roofline ? 1 : 2, 0, isBulk: false)]))
    }
    for connections in [100, 1_000, 5_000] {
      for (system, bytes) in [(System.roofline, 9_000), (.oursUring, 900)] {
        let grown = bytes * connections / 2
        report.flows.append(
          FlowFigures(
            name: "idle-\(connections)", shape: .idle, connections: connections, system: system,
            runs: [try idle(connections, grown)]))
      }
    }
    return report
  }

  private static func run(
    _ base: Double, _ speed: Double, _ round: Int, isBulk: Bool
  ) -> RunFigures {
    let wobble = 1 + Double(round) * 0.02
    return RunFigures(
      rate: base * speed * wobble, cpuPerUnit: (isBulk ? 0.8 : 24) / speed * wobble,
      loadCPUPerUnit: 1, latency: isBulk ? nil : latency(1_000 / speed * wobble),
      residentBytes: [20_000_000, 21_000_000], disturbance: round == 2 ? 0.2 : 0)
  }

  /// A tail that is twice as long at each nine.
  private static func latency(_ median: Double) -> Latency {
    var histogram = Histogram()
    for number in 1...20_000 {
      let rank = Double(20_001) / Double(number)
      var tail = 1.0
      var left = rank
      while left > 10 { (tail, left) = (tail * 2, left / 10) }
      histogram.record(UInt64(median * 1e3 * tail * (0.6 + left / 14)))
    }
    return Latency(histogram)
  }

  private static func idle(_ connections: Int, _ grown: Int) throws -> FlowRun {
    let result = try LoadResult(
      json: Array(
        """
        {"seconds": 2, "units": \(connections), "watchedCPUSeconds": [0, 0],
         "clientCPUSeconds": 0, "othersCPUSeconds": 0, "stealSeconds": 0, "congestion": "cubic",
         "warmUpRate": 0, "idle": {"answered": \(connections), "ended": 0}}
        """.utf8))
    let (before, after) = ([20_000_000, 20_000_000], [20_000_000 + grown, 20_000_000 + grown])
    return FlowRun(
      main: result,
      memory: StallMemory(
        before: before, peak: after, end: after, after: before, afterSeconds: 1, socketsBefore: 0,
        socketsPeak: 0, socketsAfter: 0))
  }
}
