// `hub` and `edge`: their arguments. What they do is in Daemon/.

import ArgumentParser
import RemoteIngress

/// The arguments of `hub` and `edge`.
struct RunArguments<Configuration: ConfiguredByFlags>: ParsableArguments, Sendable {
  @Option(
    name: .long, help: ArgumentHelp("A YAML or JSON file.", valueName: "file"),
    completion: .file(extensions: ["yaml", "yml", "json"]))
  var config: String?

  @OptionGroup(title: "Keys of the configuration") var keys: KeyFlags<Configuration>

  // What the parser does not know is refused in the words of all configuration errors.
  @Argument(parsing: .allUnrecognized, help: .hidden)
  var others: [String] = []

  var source: ConfigurationSource {
    ConfigurationSource(
      file: config, environment: environmentVariables(), flags: keys.given + others)
  }
}

private let keysInBrief = """
  Every flag is a key of the configuration file too (--hub-host: hubHost) and a variable of the \
  environment (REMOTEINGRESS_HUB_HOST). Flags win over variables, variables over the file.
  """

struct HubCommand: DaemonCommand {
  static let configuration = CommandConfiguration(
    commandName: "hub", abstract: "Run a hub.", discussion: keysInBrief)

  @OptionGroup var arguments: RunArguments<HubConfiguration>

  func run(_ signals: SignalThread) async throws {
    try await Daemon<HubDaemon>.run(arguments.source, signals)
  }
}

struct EdgeCommand: DaemonCommand {
  static let configuration = CommandConfiguration(
    commandName: "edge", abstract: "Run an edge.", discussion: keysInBrief)

  @OptionGroup var arguments: RunArguments<EdgeConfiguration>

  func run(_ signals: SignalThread) async throws {
    try await Daemon<EdgeDaemon>.run(arguments.source, signals)
  }
}

/// A command that waits for signals: they are blocked before any other thread is there to get them.
protocol DaemonCommand: ParsableCommand, Sendable {
  func run(_ signals: SignalThread) async throws
}
