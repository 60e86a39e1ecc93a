// What is wrong with a configuration: one line that names the place, the key and the reason.

/// Where a configuration value was written.
public enum ConfigurationOrigin: Equatable, Sendable {
  case file(String, line: Int?)
  case variable(String)
  case flag(String)
  /// Set by code, or nowhere.
  case unwritten
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
    var parts: [String] = []
    var namesKey = true
    switch origin {
    case .file(let path, let line): parts.append(line.map { "\(path):\($0)" } ?? path)
    case .variable(let name), .flag(let name):
      parts.append(name)
      namesKey = false
    case .unwritten: break
    }
    if namesKey, !key.isEmpty { parts.append(key) }
    return (parts + [reason]).joined(separator: ": ")
  }
}

/// Text from outside, fit for one line of an error or a log: quoted, without control characters and
/// at most 64 characters long.
func quoted(_ text: String) -> String {
  var out = "'"
  for scalar in text.unicodeScalars.prefix(64) {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0, 0x2028, 0x2029: out += "\\u{\(String(scalar.value, radix: 16))}"
    default: out.unicodeScalars.append(scalar)
    }
  }
  return out + (text.unicodeScalars.count > 64 ? "…'" : "'")
}
