// `hub` and `edge`: the configuration is read and checked, then the engine runs until told to stop.

import ArgumentParser
import Glibc
import Logging
import RIControl
import RemoteIngress

/// The arguments of `hub` and `edge`.
struct RunArguments<Configuration: ConfiguredByFlags>: ParsableArguments {
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

struct HubCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hub", abstract: "Run a hub.", discussion: keysInBrief)

  @OptionGroup var arguments: RunArguments<HubConfiguration>

  func run() throws {
    let source = arguments.source
    let loaded = try source.hub()
    startLogging(loaded.configuration, warnings: loaded.warnings)
    try EngineHost.run(.hub(loaded.settings), source: source)
  }
}

struct EdgeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "edge", abstract: "Run an edge.", discussion: keysInBrief)

  @OptionGroup var arguments: RunArguments<EdgeConfiguration>

  func run() throws {
    let source = arguments.source
    let loaded = try source.edge()
    startLogging(loaded.configuration, warnings: loaded.warnings)
    try EngineHost.run(.edge(loaded.settings), source: source)
  }
}

/// Sends all logs of the process to standard error.
private func startLogging(_ configuration: some CommonConfiguration, warnings: [String]) {
  let level = Logger.Level(rawValue: configuration.logLevel.rawValue) ?? .info
  let format = configuration.logFormat
  LoggingSystem.bootstrap { label in
    LineLogHandler(label: label, format: format, logLevel: level)
  }
  let logger = Logger(label: "remoteingress")
  for warning in warnings { logger.warning("\(warning)") }
}

private func environmentVariables() -> [String: String] {
  var variables: [String: String] = [:]
  // SAFETY: environ is a null-terminated array of C strings; no other thread runs yet that could
  // change it.
  var next = environ
  while let entry = next.pointee {
    let text = String(cString: entry)
    if let equals = text.firstIndex(of: "=") {
      variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
    }
    next += 1
  }
  return variables
}
