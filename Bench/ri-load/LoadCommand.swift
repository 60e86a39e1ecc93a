// The command line of ri-load: a client that loads an edge, and the target that stands behind the
// hub.

import ArgumentParser
import FoundationEssentials
import Glibc
import LoadKit

@main
struct LoadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ri-load",
    abstract: "Loads a deployment: a client at the edge's side, a target behind the hub.",
    subcommands: [ClientCommand.self, TargetCommand.self])
}

extension ClientPlan.Mode: ExpressibleByArgument {}

struct ClientCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "client",
    abstract: "Sends through an edge to a target of ri-load, and checks every byte.",
    discussion: """
      Rates are kept whether or not answers come (an open loop), and times count from when a \
      message was due. Ends with 1 when a byte was wrong, a connection failed, or answers were lost.
      """)

  @Argument(help: "The edge: HOST:PORT, [IPv6]:PORT.") var edge: String
  @Option(help: "\(ClientPlan.Mode.allCases.map(\.rawValue).joined(separator: ", ")).")
  var mode = ClientPlan.Mode.echo
  @Option(help: "Connections (or UDP sessions) at a time. 1 to 20,000.") var connections = 16
  @Option(
    help: """
      Messages, connections (churn) or datagrams a second, all together. 0.1 to 1,000,000; 1,000, \
      of churn 100.
      """)
  var rate: Double?
  @Option(
    help: "Bytes a second of each download or upload. 1,000 to 10,000,000,000; 1,000,000.")
  var bytesPerSecond = 1e6
  @Option(help: "Bytes of a message or datagram. 1 to 65,536; udp 16 to 65,507.")
  var messageBytes = 64
  @Option(help: "How long. 0.1 to 86,400.") var seconds = 10.0
  @Option(help: "How fast connections that stay are opened. 1 to 10,000.")
  var connectsPerSecond = 500.0
  @Flag(
    help: "The target must know each connection by this machine's own address and port (no NAT).")
  var checkAddress = false
  @Option(help: "So many connections may fail, or messages be lost, in a good run.")
  var failuresMax = 0
  @Option(help: "This share of datagrams may be lost in a good run, 0 to 1.") var lossMax = 0.01
  @Option(help: "Write the result as JSON to this file; without it, to standard output.")
  var json: String?

  func validate() throws {
    func check<Value: Comparable>(
      _ name: String, _ value: Value, _ bounds: ClosedRange<Value>
    ) throws {
      guard bounds.contains(value) else {
        throw ValidationError("--\(name): \(bounds.lowerBound) to \(bounds.upperBound)")
      }
    }
    try check("connections", connections, 1...20_000)
    try check("rate", rate ?? 1, 0.1...1e6)
    try check("bytes-per-second", bytesPerSecond, 1e3...1e10)
    try check(
      "message-bytes", messageBytes,
      mode == .udp ? DatagramHeader.byteCount...65_507 : 1...65_536)
    try check("seconds", seconds, 0.1...86_400)
    try check("connects-per-second", connectsPerSecond, 1...10_000)
    try check("failures-max", failuresMax, 0...Int.max)
    try check("loss-max", lossMax, 0...1)
  }

  func run() throws {
    let endpoint = try Endpoint.resolve(edge)
    raiseDescriptorLimit()
    endOnSignals()
    let plan = ClientPlan(
      mode: mode, edge: edge, connections: connections,
      rate: rate ?? (mode == .churn ? 100 : 1_000), connectsPerSecond: connectsPerSecond,
      bytesPerSecond: bytesPerSecond, messageBytes: messageBytes, seconds: seconds,
      checksAddress: checkAddress, failuresMax: failuresMax, lossMax: lossMax)
    writeText("\(mode.rawValue) to \(endpoint), \(fixed(seconds, 1)) s\n", to: 2)
    let result = ClientRun.run(plan, edge: endpoint)
    try write(result, to: json)
    guard let failure = result.failure else { return }
    writeText("ri-load: \(failure)\n", to: 2)
    throw ExitCode.failure
  }
}

struct TargetCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "target",
    abstract: "Answers clients of ri-load, over TCP and UDP, with or without PROXY headers.",
    discussion: """
      Versions 1 and 2 are told apart by their first bytes. Says `ready ADDRESS` on standard \
      output when it accepts connections, and ends by SIGTERM or SIGINT with its result.
      """)

  @Option(help: "Where to listen: HOST:PORT, [IPv6]:PORT; port 0 takes a free one.")
  var listen = "127.0.0.1:9000"
  @Option(help: "How long. 0.1 to 86,400.") var seconds = 3_600.0
  @Option(help: "Connections at a time; further ones are closed. 1 to 100,000.")
  var connectionsMax = 20_000
  @Flag(help: "Refuse connections without a PROXY header.") var requireProxy = false
  @Option(help: "Write the result as JSON to this file; without it, to standard output.")
  var json: String?

  func validate() throws {
    guard (0.1...86_400).contains(seconds) else {
      throw ValidationError("--seconds: 0.1 to 86,400")
    }
    guard (1...100_000).contains(connectionsMax) else {
      throw ValidationError("--connections-max: 1 to 100,000")
    }
  }

  func run() throws {
    raiseDescriptorLimit()
    endOnSignals()
    let server = try TargetServer(
      TargetPlan(
        listen: try Endpoint.resolve(listen), seconds: seconds, connectionsMax: connectionsMax,
        requiresHeader: requireProxy))
    writeText("ready \(server.endpoint)\n", to: 1)
    let result = server.serve()
    try write(result, to: json)
    if result.wrongUploads > 0 { throw ExitCode.failure }
  }
}

/// To a file, or to standard output.
private func write(_ result: some Encodable, to file: String?) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
  let data = try encoder.encode(result)
  if let file {
    try data.write(to: URL(filePath: file))
  } else {
    writeText(String(decoding: data, as: UTF8.self) + "\n", to: 1)
  }
}

/// A connection is a descriptor.
private func raiseDescriptorLimit() {
  var limit = rlimit()
  getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  limit.rlim_cur = limit.rlim_max
  setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
