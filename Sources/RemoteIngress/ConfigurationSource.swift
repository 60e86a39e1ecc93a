// Where a configuration comes from: a file, then variables, then flags; the later wins (SPEC 6).

import Glibc
import RIWire

/// A configuration together with what follows from it.
public struct LoadedConfiguration<Configuration: CommonConfiguration>: Sendable {
  public var configuration: Configuration
  public var settings: Configuration.Settings
  /// What to tell the operator: one line each.
  public var warnings: [String]
}

/// The layers of a configuration. Loading again reads the file again.
public struct ConfigurationSource: Sendable {
  /// A YAML or JSON file.
  public var file: String?
  /// Empty variables count as absent.
  public var environment: [String: String]
  /// As on the command line: `--hub-port 8443`, `--hub-port=8443`, `--insecure`.
  public var flags: [String]

  public init(file: String? = nil, environment: [String: String] = [:], flags: [String] = []) {
    self.file = file
    self.environment = environment
    self.flags = flags
  }

  public func hub() throws(ConfigurationError) -> LoadedConfiguration<HubConfiguration> {
    try load()
  }

  public func edge() throws(ConfigurationError) -> LoadedConfiguration<EdgeConfiguration> {
    try load()
  }

  private func load<Configuration: ReadableConfiguration>()
    throws(ConfigurationError) -> LoadedConfiguration<Configuration>
  {
    let schema = Configuration.schema
    let (variables, strangers) = variableLayer(schema.flatKeys)
    var layers = [variables, try flagLayer(schema.flatKeys)]
    if let file { layers.insert(try fileLayer(file), at: 0) }

    var configuration = Configuration()
    for layer in layers { try schema.read(layer, into: &configuration, at: Place()) }
    if configuration.stateDir == nil { configuration.stateDir = defaultStateDirectory }
    do throws(ConfigurationError) {
      return LoadedConfiguration(
        configuration: configuration, settings: try configuration.settings(),
        warnings: strangers + configuration.warnings)
    } catch {
      throw located(error, in: layers)
    }
  }

  // MARK: Layers

  private func fileLayer(_ path: String) throws(ConfigurationError) -> SourceNode {
    let text: String
    do throws(TextFileError) {
      text = try TextFile.read(path)
    } catch {
      throw ConfigurationError(key: "", reason: error.description)
    }
    return try SourceNode(yaml: text, path: path)
  }

  /// Unknown variables are no errors: others (Kubernetes is one) set some with our prefix.
  private func variableLayer(_ keys: [FlatKey]) -> (layer: SourceNode, warnings: [String]) {
    var layer = SourceNode(origin: .unwritten)
    var warnings: [String] = []
    let ours = environment.filter { $0.key.hasPrefix(FlatKey.variablePrefix) && !$0.value.isEmpty }
    for (name, value) in ours.sorted(by: { $0.key < $1.key }) {
      if let key = keys.first(where: { $0.variable == name }) {
        layer.set(value, at: key.path[...], origin: .variable(name))
      } else if !Self.otherVariables.contains(name) {
        let nearest = nearestName(to: name, in: keys.map(\.variable)) ?? "none"
        warnings.append("\(name) is no known variable; the nearest is \(nearest)")
      }
    }
    return (layer, warnings)
  }

  /// Variables of the engine that are no keys of the configuration.
  private static let otherVariables = engineVariables + [EngineExecutable.variable]

  private func flagLayer(_ keys: [FlatKey]) throws(ConfigurationError) -> SourceNode {
    var layer = SourceNode(origin: .unwritten)
    var rest = flags[...]
    while let argument = rest.popFirst() {
      let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      let origin = ConfigurationOrigin.flag(name)
      guard name.hasPrefix("--") else {
        // Not quoted: it may be a secret that has lost its flag.
        throw ConfigurationError(key: "", reason: "an argument is no flag: use --key value")
      }
      guard let key = keys.first(where: { $0.flag == name }) else {
        let nearest = nearestName(to: name, in: keys.map(\.flag)) ?? "none"
        throw ConfigurationError(
          key: printable(name), reason: "unknown flag; the nearest known one is \(nearest)")
      }
      if parts.count == 2 {
        layer.set(String(parts[1]), at: key.path[...], origin: origin)
      } else if key.isSwitch {
        layer.set("true", at: key.path[...], origin: origin)
      } else if let value = rest.popFirst() {
        layer.set(value, at: key.path[...], origin: origin)
      } else {
        throw ConfigurationError(origin: origin, key: "", reason: "needs a value")
      }
    }
    return layer
  }

  /// Names where the key of an error that came up late was written last.
  private func located(_ error: ConfigurationError, in layers: [SourceNode]) -> ConfigurationError {
    var error = error
    let path = error.key.split(separator: ".").map(String.init)
    let fallback = file.map { ConfigurationOrigin.file($0, line: nil) } ?? .unwritten
    error.origin = layers.reversed().lazy.compactMap { $0.origin(of: path[...]) }.first ?? fallback
    return error
  }

  /// systemd's, else the system's for root, else the user's.
  package var defaultStateDirectory: String? {
    if let given = environment["STATE_DIRECTORY"], let first = given.split(separator: ":").first {
      return String(first)
    }
    if geteuid() == 0 { return "/var/lib/remoteingress" }
    if let state = environment["XDG_STATE_HOME"], state.hasPrefix("/") {
      return state + "/remoteingress"
    }
    return environment["HOME"].map { $0 + "/.local/state/remoteingress" }
  }
}
