// `hub` and `edge`: their arguments. What they do is in Daemon/.

import ArgumentParser
import RemoteIngress

/// The arguments of `hub` and `edge`. All flags but `--config` follow from the table of keys, which
/// is why the parser hands them on unread.
struct RunArguments: ParsableArguments, Sendable {
  @Option(name: .long, help: ArgumentHelp("A YAML or JSON file.", valueName: "file"))
  var config: String?

  @Argument(
    parsing: .allUnrecognized,
    help: ArgumentHelp("Keys of the configuration, as listed above.", valueName: "flags"))
  var flags: [String] = []

  var source: ConfigurationSource {
    ConfigurationSource(file: config, environment: environmentVariables(), flags: flags)
  }
}

struct HubCommand: DaemonCommand {
  static let configuration = CommandConfiguration(
    commandName: "hub", abstract: "Run a hub.", discussion: HubConfiguration.flagHelp)

  @OptionGroup var arguments: RunArguments

  func run(_ signals: SignalThread) async throws {
    try await Daemon<HubDaemon>.run(arguments.source, signals)
  }
}

struct EdgeCommand: DaemonCommand {
  static let configuration = CommandConfiguration(
    commandName: "edge", abstract: "Run an edge.", discussion: EdgeConfiguration.flagHelp)

  @OptionGroup var arguments: RunArguments

  func run(_ signals: SignalThread) async throws {
    try await Daemon<EdgeDaemon>.run(arguments.source, signals)
  }
}

/// A command that waits for signals: they are blocked before any other thread is there to get them.
protocol DaemonCommand: ParsableCommand, Sendable {
  func run(_ signals: SignalThread) async throws
}
