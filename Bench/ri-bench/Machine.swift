// Where and with what figures were taken.

import Glibc
import LoadKit

/// The machine line of a report.
struct Machine: Codable {
  var cpu: String
  var cores: Int
  var kernel: String
  var commit: String
  var swift: String
  var network: String
  /// Seconds since 1970.
  var time: Int

  var headline: String {
    "\(cpu) · \(cores) cores · Linux \(kernel) · commit \(commit) · \(swift) · \(network)\n"
  }

  static func read(network: LoopbackNetwork) -> Machine {
    var system = utsname()
    uname(&system)
    let kernel = withUnsafeBytes(of: system.release) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    let commit = ChildProcess.output(
      of: "git", ["-C", Catalogue.root ?? ".", "describe", "--always", "--dirty", "--abbrev=9"])
    let swift = ChildProcess.output(of: "swift", ["--version"])
    return Machine(
      cpu: cpuName(), cores: sysconf(Int32(_SC_NPROCESSORS_ONLN)), kernel: kernel,
      commit: commit ?? "unknown", swift: swift.map(compilerName) ?? "Swift unknown",
      network: network.summary, time: Glibc.time(nil))
  }

  /// `Swift 6.3.1` from what `swift --version` says.
  private static func compilerName(_ text: String) -> String {
    let words = text.split(whereSeparator: { $0 == " " || $0 == "\n" })
    guard let at = words.firstIndex(of: "version"), at + 1 < words.count else { return "Swift" }
    return "Swift \(words[at + 1])"
  }

  private static func cpuName() -> String {
    for line in (readSmallFile("/proc/cpuinfo") ?? "").split(separator: "\n")
    where line.hasPrefix("model name") {
      return String(line.drop { $0 != ":" }.dropFirst(2))
    }
    return "unknown CPU"
  }
}
