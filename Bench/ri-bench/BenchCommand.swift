// The command line: what to run, how often, for how long; and the hidden roles that the benchmark
// starts as child processes of its own binary.

import ArgumentParser
import Glibc
import LoadKit

@main
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ri-bench",
    abstract: "Measures the tunnel beside a plain encrypted relay, in interleaved rounds.",
    subcommands: [
      RunCommand.self, ClientRole.self, TargetRole.self, RooflineRole.self, RingRole.self,
      OursRole.self, LinkRole.self, ProgramRole.self, DatagramRole.self,
    ],
    defaultSubcommand: RunCommand.self)
}

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Runs cases and prints a table (default).")

  @Argument(
    help:
      "Cases or groups (tunnel, ring, flow, udp, micro, link); all but link when none is named.")
  var cases: [String] = []

  @Flag(help: "List the cases and end.")
  var list = false

  @Option(help: "Rounds; in each every system runs once. 1 to 100.")
  var rounds = 3

  @Option(
    help: "Seconds that are measured in each run, after the warm-up. 0.1 to 600; 2, over links 10.")
  var seconds: Double?

  @Option(help: "Seconds of warm-up. 0 to 60; 0.5, over links 5.")
  var warmUp: Double?

  @Option(
    help:
      "Systems, with commas between: \(System.allCases.map(\.rawValue).joined(separator: ", ")).")
  var systems: String?

  @Option(help: "Write all figures to this file as JSON.")
  var json: String?

  @Flag(help: "Stay in the host's network even as root.")
  var hostNetwork = false

  func validate() throws {
    guard (1...100).contains(rounds) else { throw ValidationError("--rounds: 1 to 100") }
    guard (0.1...600).contains(seconds ?? 1) else { throw ValidationError("--seconds: 0.1 to 600") }
    guard (0...60).contains(warmUp ?? 1) else { throw ValidationError("--warm-up: 0 to 60") }
    _ = try chosenSystems()
  }

  func run() throws {
    let catalogue = try Catalogue.load()
    if list {
      writeText(catalogue.listing(), to: 1)
      return
    }
    let chosen = try catalogue.select(cases)
    raiseDescriptorLimit()
    let network = try LoopbackNetwork.prepare(hostNetwork: hostNetwork)
    let machine = Machine.read(network: network)
    writeText(machine.headline, to: 2)
    let links = LinkPlan(
      rounds: rounds, warmUpSeconds: warmUp ?? 5, seconds: seconds ?? 10,
      systems: try chosenSystems())
    let (seconds, warmUp) = (seconds ?? 2, warmUp ?? 0.5)
    let plan = RoundPlan(
      rounds: rounds, warmUpSeconds: warmUp, seconds: seconds, systems: try chosenSystems(),
      network: network)
    var report = Report(machine: machine, rounds: rounds, seconds: seconds)
    for item in chosen {
      switch item {
      case .load(let load): report.loads += measure(load, plan)
      case .link(let link): report.links += measure(link, links)
      case .flow(let flow): report.flows += measure(flow, plan)
      case .datagram(let item): report.datagrams += measure(item, plan)
      case .micro(let micro): report.micros += micro.measure(rounds: rounds)
      }
    }
    writeText(report.text(), to: 1)
    if let json { try report.write(to: json) }
    if report.hasFailures { throw ExitCode.failure }
  }

  /// Cases with thousands of connections need more than the usual 1,024; children inherit it.
  private func raiseDescriptorLimit() {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }

  private func chosenSystems() throws -> [System]? {
    try systems?.split(separator: ",").map {
      guard let system = System(rawValue: String($0)) else {
        throw ValidationError("no system \($0); see --help")
      }
      return system
    }
  }
}
