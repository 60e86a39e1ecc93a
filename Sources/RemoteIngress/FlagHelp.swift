// What the command line needs to know of the configuration's keys.

/// A key of the configuration as a flag of the command line.
public struct ConfigurationFlag: Sendable {
  /// What completes its value.
  public enum Completion: Equatable, Sendable {
    case file
    case choice([String])
    case none
  }

  /// With its dashes.
  public var name: String
  /// What help calls its value.
  public var valueName: String
  public var completion: Completion
  /// It needs no value.
  public var isSwitch: Bool
  public var help: String

  init(_ key: FlatKey) {
    name = key.flag
    help = key.help
    let choices = key.valueName.split(separator: "|").map(String.init)
    if choices.count > 1 {
      help = choices.joined(separator: ", ") + "; " + help
      valueName = key.path[key.path.count - 1].hasSuffix("Level") ? "level" : "choice"
      completion = .choice(choices)
    } else {
      valueName = key.valueName.lowercased()
      completion = ["path", "file"].contains(valueName) ? .file : .none
    }
    isSwitch = key.isSwitch
  }
}

extension HubConfiguration {
  /// All flags, in the order of help.
  public static var flags: [ConfigurationFlag] { schema.flatKeys.map(ConfigurationFlag.init) }
  /// Flags whose value must not be seen.
  public static var secretFlags: [String] { secretFlagNames(schema.flatKeys) }
}

extension EdgeConfiguration {
  /// All flags, in the order of help.
  public static var flags: [ConfigurationFlag] { schema.flatKeys.map(ConfigurationFlag.init) }
  /// Flags whose value must not be seen.
  public static var secretFlags: [String] { secretFlagNames(schema.flatKeys) }
}

private func secretFlagNames(_ keys: [FlatKey]) -> [String] {
  keys.filter(\.isSecret).map(\.flag)
}
