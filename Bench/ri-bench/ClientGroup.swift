// Several clients of one system, each a process of its own, that begin by a common clock.

import Glibc
import LoadKit

/// What one client of a group does, and when.
struct ClientPart {
  var workload: Workload
  /// After the group's start.
  var startSeconds = 0.0
  var warmUpSeconds: Double
  var seconds: Double

  /// When its window is over, after the group's start.
  var endSeconds: Double { startSeconds + warmUpSeconds + seconds }
}

/// Started clients. The first part's client measures the CPU time of the system, its target and the
/// other clients. All end with the group.
struct ClientGroup {
  /// Time for the processes to start and read their orders.
  private static let startSeconds = 0.3
  /// Time for a result after the end of the window.
  private static let resultSeconds = 15.0

  /// The common start, on the monotonic clock.
  let start: UInt64
  private let parts: [ClientPart]
  /// In the order of the parts.
  private var clients: [ChildProcess] = []

  init(
    _ parts: [ClientPart], on running: RunningSystem, congestion: CongestionControl?
  ) throws {
    self.parts = parts
    start = clockNanoseconds() + UInt64(Self.startSeconds * 1e9)
    for (place, part) in parts.enumerated().reversed() {
      let watched =
        running.measured.flatMap(\.self) + [running.target.identifier] + clients.map(\.identifier)
      let order = LoadOrder(
        workload: part.workload, port: running.entryPort, warmUpSeconds: part.warmUpSeconds,
        seconds: part.seconds, watched: place == 0 ? watched : [],
        congestion: congestion, startAt: time(part.startSeconds), asks: true)
      let client = try ChildProcess.role(["client"], order: order, counters: running.counters)
      clients.insert(client, at: 0)
    }
  }

  /// A time after the group's start, on the monotonic clock.
  func time(_ seconds: Double) -> UInt64 { start + UInt64(seconds * 1e9) }

  /// Waits for the result of a part.
  func result(of place: Int) throws -> LoadResult {
    let end = time(parts[place].endSeconds)
    let left = Double(end - min(end, clockNanoseconds())) / 1e9
    guard let line = clients[place].readLine(within: left + Self.resultSeconds) else {
      throw LoadError("the client of \(parts[place].workload.name) gave no result")
    }
    return try LoadResult(json: Array(line.utf8))
  }

  func stop() {
    for client in clients { client.stop() }
  }
}
