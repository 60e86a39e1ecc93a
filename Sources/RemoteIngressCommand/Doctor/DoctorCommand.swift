// `doctor`: what this machine can do for a hub or an edge, and what stands in the way.

import ArgumentParser
import RemoteIngress

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Say what this machine can do.",
    discussion: """
      It changes nothing. Exit code 0: a hub or an edge can run; 1: something that both need is \
      missing, or, with --strict, anything that was found wanting.
      """)

  @Flag(help: "Exit with 1 for warnings too.")
  var strict = false

  func run() throws {
    let findings = Examination.all()
    for finding in findings { print(finding.line) }
    let worst = findings.map(\.verdict).max() ?? .fine
    guard worst < (strict ? .warning : .missing) else {
      throw CommandFailure(
        reason: "doctor: something is \(worst == .missing ? "missing" : "wanting")")
    }
  }
}

/// One thing that was looked at.
struct Finding {
  enum Verdict: Int, Comparable {
    case fine, warning, missing

    static func < (a: Verdict, b: Verdict) -> Bool { a.rawValue < b.rawValue }

    fileprivate var word: String {
      switch self {
      case .fine: "ok     "
      case .warning: "warning"
      case .missing: "MISSING"
      }
    }
  }

  var verdict: Verdict
  var subject: String
  var text: String

  init(_ verdict: Verdict, _ subject: String, _ text: String) {
    self.verdict = verdict
    self.subject = subject
    self.text = text
  }

  var line: String { "\(verdict.word)  \(subject): \(text)" }
}
