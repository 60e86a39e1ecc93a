// Interleaved rounds: in each, every system runs once, in turn, so that what the machine does
// meanwhile falls on all of them. And how far the whole has come.

import Glibc
import LoadKit

/// What came of one system's runs of a case.
struct Outcome<Run> {
  var system: System
  var runs: [Run] = []
  /// Why there are no more runs.
  var failure: String?
  /// Why it was not run at all, which is no failure.
  var skipped: String?
}

/// Runs every system once a round. Failures are part of the result, and end the rounds of their
/// system.
func interleave<Run>(
  _ name: String, _ systems: [System], rounds: Int, _ progress: Progress,
  skipped: (System) -> String? = { _ in nil }, measure: (System) throws -> Run,
  summary: (Run) -> String
) -> [Outcome<Run>] {
  var outcomes = systems.map { Outcome<Run>(system: $0, skipped: skipped($0)) }
  for outcome in outcomes {
    guard let why = outcome.skipped else { continue }
    progress.skip(rounds)
    writeText("\(name) \(outcome.system.rawValue): skipped: \(why)\n", to: 2)
  }
  for round in 0..<rounds {
    for turn in outcomes.indices {
      let place = (turn + round) % outcomes.count
      guard outcomes[place].skipped == nil else { continue }
      guard outcomes[place].failure == nil else {
        progress.skip(1)
        continue
      }
      let system = outcomes[place].system
      let text: String
      do {
        let run = try measure(system)
        outcomes[place].runs.append(run)
        text = summary(run)
      } catch {
        outcomes[place].failure = "\(error)"
        text = "\(error)"
      }
      progress.done("\(name) \(system.rawValue) \(round + 1)/\(rounds): \(text)")
    }
  }
  return outcomes
}

/// Says on standard error what each run gave, which of how many it was, and what is left by the
/// time that the others took.
final class Progress {
  private var total: Int
  private var finished = 0
  private let start = clockNanoseconds()

  init(runs: Int) { total = runs }

  func skip(_ runs: Int) { total -= runs }

  func done(_ text: String) {
    finished += 1
    let elapsed = Double(clockNanoseconds() - start) / 1e9
    let left = elapsed / Double(finished) * Double(max(0, total - finished))
    let estimate =
      left < 1 ? "" : left < 90 ? ", \(fixed(left, 0)) s left" : ", \(fixed(left / 60, 0)) min left"
    writeText("[\(finished)/\(total)\(estimate)] \(text)\n", to: 2)
  }
}
