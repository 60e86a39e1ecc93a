// Micro cases: one operation in a loop, in this process. CPU time is counted, not the clock's, so
// that other processes disturb less.

import Glibc
import LoadKit

/// A group of operations that are timed alone.
struct MicroCase {
  var name: String
  var about: String
  var operations: [MicroOperation]

  static var all: [MicroCase] { [codec, sealing] }

  /// Times every operation once a round, in turn.
  func measure(rounds: Int) -> [MicroFigures] {
    var times = [[Double]](repeating: [], count: operations.count)
    for _ in 0..<rounds {
      for (place, operation) in operations.enumerated() {
        times[place].append(operation.nanoseconds())
      }
    }
    return zip(operations, times).compactMap { operation, times in
      Repeats(times).map {
        MicroFigures(
          name: name, operation: operation.name, nanoseconds: $0, bytes: operation.bytes)
      }
    }
  }
}

/// One operation.
struct MicroOperation {
  var name: String
  /// Bytes that it handles, when a rate of bytes means something.
  var bytes: Int?
  /// Does it so many times.
  var run: (Int) -> Void

  /// How long a timing takes at least.
  private static let timingNanoseconds: UInt64 = 50_000_000

  /// CPU time of one, over as many as fill the time of a timing.
  func nanoseconds() -> Double {
    var count = 16
    while true {
      let start = processCPUNanoseconds(getpid()) ?? 0
      run(count)
      let elapsed = (processCPUNanoseconds(getpid()) ?? 0) - start
      if elapsed >= Self.timingNanoseconds { return Double(elapsed) / Double(count) }
      count *= elapsed < Self.timingNanoseconds / 8 ? 8 : 2
    }
  }
}

struct MicroFigures: Codable {
  var name: String
  var operation: String
  var nanoseconds: Repeats
  var bytes: Int?

  static func table(_ all: [MicroFigures]) -> Table {
    var table = Table(["case", "operation", "ns", "spread", "GB/s"])
    table.rows = all.map {
      let rate = $0.bytes.map { bytes in Double(bytes) } ?? 0
      return [
        $0.name, $0.operation, significant($0.nanoseconds.median),
        "\(fixed($0.nanoseconds.spread * 100, 0))%",
        rate > 0 ? significant(rate / $0.nanoseconds.median) : "",
      ]
    }
    return table
  }
}
