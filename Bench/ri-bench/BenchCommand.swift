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
      RunCommand.self, PageCommand.self, ClientRole.self, TargetRole.self, RooflineRole.self,
      RingRole.self, OursRole.self, LinkRole.self, ProgramRole.self, DatagramRole.self,
    ],
    defaultSubcommand: RunCommand.self)
}

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Runs cases and prints a table (default).")

  @Argument(
    help: """
      Cases, families of cases or groups (tunnel, ring, flow, scale, udp, micro, link); without \
      any, all but scale and link.
      """)
  var cases: [String] = []

  @Flag(help: "List the cases and end.")
  var list = false

  @Option(help: "A named run: cases, rounds and seconds from Profiles/runs/NAME.json.")
  var profile: String?

  @Option(help: "Rounds; in each every system runs once. 1 to 100; 3.")
  var rounds: Int?

  @Option(
    help: "Seconds that are measured in each run, after the warm-up. 0.1 to 600; 2, over links 10.")
  var seconds: Double?

  @Option(help: "Seconds of warm-up. 0 to 60; 0.5, over links 5.")
  var warmUp: Double?

  @Option(
    help:
      "Systems, with commas between: \(System.allCases.map(\.rawValue).joined(separator: ", ")).")
  var systems: String?

  @Flag(
    help: """
      Also pairs of haproxy, stunnel, nginx and ssh where they are installed (root): on loopback, \
      with configurations and keys of their own.
      """)
  var peers = false

  @Option(help: "Write all figures to this file as JSON.")
  var json: String?

  @Option(help: "Write a page with tables and plots to this file.")
  var html: String?

  @Option(help: "Compare with the figures in this file, which an earlier --json wrote.")
  var compare: String?

  @Flag(help: "Stay in the host's network even as root.")
  var hostNetwork = false

  func validate() throws {
    guard (1...100).contains(rounds ?? 1) else { throw ValidationError("--rounds: 1 to 100") }
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
    let profile = try profile.map { name throws(LoadError) in try RunProfile.load(name) }
    let chosen = try catalogue.select(cases.isEmpty ? profile?.cases ?? [] : cases)
    let old = try compare.map { try Report(readingFrom: $0) }
    raiseDescriptorLimit()
    let network = try LoopbackNetwork.prepare(hostNetwork: hostNetwork)
    let machine = Machine.read(network: network)
    writeText(machine.headline, to: 2)
    var (plan, links) = try plans(profile, network)
    let progress = Progress(
      runs: chosen.reduce(0) { $0 + $1.systemCount(plan, links) } * plan.rounds)
    (plan.progress, links.progress) = (progress, progress)
    var report = Report(machine: machine, rounds: plan.rounds, seconds: plan.seconds)
    report.command = (["ri-bench"] + CommandLine.arguments.dropFirst()).joined(separator: " ")
    for item in chosen {
      switch item {
      case .load(let load): report.loads += measure(load, plan)
      case .link(let link): report.links += measure(link, links)
      case .flow(let flow): report.flows += measure(flow, plan)
      case .datagram(let item): report.datagrams += measure(item, plan)
      case .micro(let micro): report.micros += micro.measure(rounds: plan.rounds)
      }
    }
    writeText(report.text(), to: 1)
    if let old { writeText(Comparison(of: report, with: old).text(), to: 1) }
    if let json { try report.write(to: json) }
    if let html { try ReportPage(report, comparedWith: old).write(to: html) }
    if report.hasFailures { throw ExitCode.failure }
  }

  /// The command line goes before the profile, and that before the usual.
  private func plans(
    _ profile: RunProfile?, _ network: LoopbackNetwork
  ) throws -> (RoundPlan, LinkPlan) {
    let rounds = rounds ?? profile?.rounds ?? 3
    let (seconds, warmUp) = (seconds ?? profile?.seconds, warmUp ?? profile?.warmUp)
    let progress = Progress(runs: 0)
    let plan = RoundPlan(
      rounds: rounds, warmUpSeconds: warmUp ?? 0.5, seconds: seconds ?? 2,
      systems: try chosenSystems(), peers: peers || profile?.peers == true, network: network,
      progress: progress)
    let links = LinkPlan(
      rounds: rounds, warmUpSeconds: warmUp ?? 5, seconds: seconds ?? 10,
      systems: try chosenSystems(), progress: progress)
    return (plan, links)
  }

  /// Cases with thousands of connections need more than the usual 1,024; children inherit it.
  private func raiseDescriptorLimit() {
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    // What a relay needs for the largest case; root may ask for more than it was given.
    var limit = rlimit(rlim_cur: 65_536, rlim_max: 65_536)
    if descriptorLimit() < 65_536, setrlimit(resource, &limit) == 0 { return }
    getrlimit(resource, &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(resource, &limit)
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

/// Makes a page of figures that were written before.
struct PageCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "page", abstract: "Makes a page of the figures in a file that --json wrote.")

  @Argument(help: "The figures.") var json: String
  @Argument(help: "The page.") var html: String
  @Option(help: "Compare with the figures in this file.") var compare: String?

  func run() throws {
    let old = try compare.map { try Report(readingFrom: $0) }
    try ReportPage(try Report(readingFrom: json), comparedWith: old).write(to: html)
  }
}
