// What the command line needs to know of the configuration's keys.

extension HubConfiguration {
  /// All flags with their meaning, for help.
  public static var flagHelp: String { helpText(schema.flatKeys) }
  /// Flags whose value must not be seen.
  public static var secretFlags: [String] { secretFlagNames(schema.flatKeys) }
}

extension EdgeConfiguration {
  /// All flags with their meaning, for help.
  public static var flagHelp: String { helpText(schema.flatKeys) }
  /// Flags whose value must not be seen.
  public static var secretFlags: [String] { secretFlagNames(schema.flatKeys) }
}

private func secretFlagNames(_ keys: [FlatKey]) -> [String] {
  keys.filter(\.isSecret).map(\.flag)
}

private func helpText(_ keys: [FlatKey]) -> String {
  let heads = keys.map { "  " + $0.flag + ($0.isSwitch ? "" : " " + $0.valueName) }
  let column = (heads.map(\.count).max() ?? 0) + 2
  let lines = zip(keys, heads).map { key, head in
    head.count > 36
      ? "\(head)\n" + String(repeating: " ", count: min(column, 38)) + key.help
      : head.padded(to: min(column, 38)) + key.help
  }
  return """
    Every flag is a key of the configuration file too (--hub-host: hubHost) and a variable of the \
    environment (REMOTEINGRESS_HUB_HOST). Flags win over variables, variables over the file.

    """ + lines.joined(separator: "\n")
}

extension String {
  fileprivate func padded(to count: Int) -> String {
    self + String(repeating: " ", count: max(1, count - self.count))
  }
}
