// What is wrong with a configuration: one line that names the place, the key and the reason.

/// Where a configuration value was written.
public enum ConfigurationOrigin: Equatable, Sendable {
  case file(String, line: Int?)
  case variable(String)
  case flag(String)
  /// Set by code, or nowhere.
  case unwritten

  /// What a user calls it, where that says more than the key.
  var name: String? {
    switch self {
    case .variable(let name), .flag(let name): name
    case .file, .unwritten: nil
    }
  }
}

/// One thing that is wrong with a configuration.
public struct ConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
  public var origin: ConfigurationOrigin
  /// The key with its place, as in `allowedEdges[0].secret`; empty for a whole file.
  public var key: String
  public var reason: String

  public init(origin: ConfigurationOrigin = .unwritten, key: String, reason: String) {
    self.origin = origin
    self.key = key
    self.reason = reason
  }

  public var description: String {
    let place: [String] =
      switch origin {
      case .file(let path, let line): [line.map { "\(path):\($0)" } ?? path, key]
      case .variable(let name), .flag(let name): [name]
      case .unwritten: [key]
      }
    return (place.filter { !$0.isEmpty } + [reason]).joined(separator: ": ")
  }
}
