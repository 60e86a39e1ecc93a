// The keys of a configuration as options of the argument parser, so that help, completions and the
// man page know them. The parser learns a command's options from the mirror of its properties; ours
// shows one for each key of the table.

import ArgumentParser
import RemoteIngress

protocol ConfiguredByFlags {
  static var flags: [ConfigurationFlag] { get }
}

extension HubConfiguration: ConfiguredByFlags {}
extension EdgeConfiguration: ConfiguredByFlags {}

/// The flags that were given, unread: what they mean is the configuration's business.
struct KeyFlags<Configuration: ConfiguredByFlags>: ParsableArguments, CustomReflectable, Sendable {
  /// `--hub-port=8443`, in the order of the table.
  var given: [String] = []

  init() {}

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: FlagKey.self)
    for flag in Configuration.flags {
      let key = FlagKey(stringValue: flag.name)
      if let value = try container.decodeIfPresent(String.self, forKey: key) {
        given.append("\(flag.name)=\(value)")
      }
    }
  }

  var customMirror: Mirror {
    let options = Configuration.flags.map { flag in
      (label: flag.name, value: option(for: flag) as Any)
    }
    return Mirror(self, children: options)
  }

  private func option(for flag: ConfigurationFlag) -> Option<String?> {
    let name = NameSpecification.customLong(String(flag.name.dropFirst(2)))
    let help = ArgumentHelp(stringLiteral: flag.help)
    guard !flag.isSwitch else {
      return Option(name: name, defaultAsFlag: "true", parsing: .next, help: help)
    }
    var named = help
    named.valueName = flag.valueName
    let completion: CompletionKind? =
      switch flag.completion {
      case .file: .file()
      case .choice(let values): .list(values)
      case .none: nil
      }
    return Option(name: name, parsing: .unconditional, help: named, completion: completion)
  }
}

private struct FlagKey: CodingKey {
  var stringValue: String
  var intValue: Int? { nil }
  init(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}
