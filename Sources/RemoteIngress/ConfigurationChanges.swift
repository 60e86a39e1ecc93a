// What a configuration that is read again changes: what takes effect at once, and what needs a
// restart. Names keys and edges, never values.

import RIControl
import RIWire

/// A configuration that can be compared with a later one.
package protocol ReloadableConfiguration: CommonConfiguration {
  static func changes(
    from old: LoadedConfiguration<Self>, to new: LoadedConfiguration<Self>
  ) -> ConfigurationChanges<Self>
}

package struct ConfigurationChanges<Configuration: CommonConfiguration>: Sendable {
  /// For the log, in one line.
  package var summary: String
  /// Whether anything differs from what is in force.
  package var areAny: Bool
  /// Keys whose new value is not in force before a restart.
  package var needRestart: [String]
  /// What is in force now: the old one with what took effect at once.
  package var merged: LoadedConfiguration<Configuration>
}

extension HubConfiguration: ReloadableConfiguration {
  package static func changes(
    from old: LoadedConfiguration<Self>, to new: LoadedConfiguration<Self>
  ) -> ConfigurationChanges<Self> {
    var merged = merge(old, new)
    merged.configuration.allowedEdges = new.configuration.allowedEdges
    merged.settings.allowedEdges = new.settings.allowedEdges
    var keys = keysForRestart(old, new).filter { $0 != "allowedEdges" }
    // The files may have changed while their names have not.
    if old.settings.certificate != new.settings.certificate, !keys.contains(where: isOfTLS) {
      keys.append("tls")
    }
    let edges = AllowedEdges.difference(old.settings.allowedEdges, new.settings.allowedEdges)
    let differences = edges + liveKeys(old, new)
    let count = new.settings.allowedEdges.count
    return ConfigurationChanges(
      summary: (["\(count) allowed edges"] + differences).joined(separator: "; "),
      areAny: !(differences + keys).isEmpty, needRestart: keys, merged: merged)
  }

  private static func isOfTLS(_ key: String) -> Bool { key.hasPrefix("tls") }
}

extension EdgeConfiguration: ReloadableConfiguration {
  package static func changes(
    from old: LoadedConfiguration<Self>, to new: LoadedConfiguration<Self>
  ) -> ConfigurationChanges<Self> {
    var keys = keysForRestart(old, new)
    let isSameHub =
      old.settings.hubHost == new.settings.hubHost && old.settings.hubPort == new.settings.hubPort
      && old.settings.edgeID == new.settings.edgeID && old.settings.secret == new.settings.secret
      && old.settings.trust == new.settings.trust
    if !isSameHub, keys.isEmpty {
      keys.append(new.configuration.token == nil ? "secret" : "token")
    }
    let live = liveKeys(old, new)
    return ConfigurationChanges(
      summary: live.isEmpty
        ? "nothing that can change while it runs" : live.joined(separator: "; "),
      areAny: !(live + keys).isEmpty, needRestart: keys, merged: merge(old, new))
  }
}

/// Keys that the daemon itself reads, and reads anew.
private let keysInForceAtOnce = ["drainSeconds", "logLevel", "logFormat"]

extension ReadableConfiguration {
  fileprivate static func changedKeys(_ old: Self, _ new: Self) -> [String] {
    schema.changedKeys(from: old, to: new)
  }

  fileprivate static func keysForRestart(
    _ old: LoadedConfiguration<Self>, _ new: LoadedConfiguration<Self>
  ) -> [String] {
    changedKeys(old.configuration, new.configuration).filter { !keysInForceAtOnce.contains($0) }
  }

  /// "changed: drainSeconds, logLevel", or nothing.
  fileprivate static func liveKeys(
    _ old: LoadedConfiguration<Self>, _ new: LoadedConfiguration<Self>
  ) -> [String] {
    let keys = changedKeys(old.configuration, new.configuration)
      .filter { keysInForceAtOnce.contains($0) }
    return keys.isEmpty ? [] : ["changed: " + keys.joined(separator: ", ")]
  }

  fileprivate static func merge(
    _ old: LoadedConfiguration<Self>, _ new: LoadedConfiguration<Self>
  ) -> LoadedConfiguration<Self> {
    var merged = old
    merged.configuration.drainSeconds = new.configuration.drainSeconds
    merged.configuration.logLevel = new.configuration.logLevel
    merged.configuration.logFormat = new.configuration.logFormat
    merged.settings.drainSeconds = new.settings.drainSeconds
    merged.warnings = new.warnings
    return merged
  }
}

extension AllowedEdges {
  /// "added: a, b", "removed: c", "changed: d (listenPorts, secret)", as far as there are any.
  fileprivate static func difference(_ old: [AllowedEdge], _ new: [AllowedEdge]) -> [String] {
    let (before, after) = (AllowedEdges(old), AllowedEdges(new))
    let added = new.filter { before[$0.id] == nil }.map(\.id)
    let removed = old.filter { after[$0.id] == nil }.map(\.id)
    let changed = new.compactMap { edge in
      before[edge.id].flatMap { edge == $0 ? nil : edge.changes(from: $0) }
    }
    return [("added", added), ("removed", removed), ("changed", changed)].compactMap {
      $1.isEmpty ? nil : "\($0): \(shortened($1))"
    }
  }
}

extension AllowedEdge {
  /// "id (keys)".
  fileprivate func changes(from old: AllowedEdge) -> String {
    let keys = [
      ("secret", secret != old.secret), ("listenPorts", listenPorts != old.listenPorts),
      ("listenPortsUdp", listenPortsUdp != old.listenPortsUdp),
      ("stunIntervalSecs", stunIntervalSecs != old.stunIntervalSecs),
      ("firewallConfig", firewallConfig != old.firewallConfig),
    ]
    return "\(id) (\(keys.filter(\.1).map(\.0).joined(separator: ", ")))"
  }
}

/// A list for a line of the log.
private func shortened(_ names: [String]) -> String {
  let most = 20
  let shown = names.prefix(most).joined(separator: ", ")
  return names.count > most ? "\(shown) and \(names.count - most) more" : shown
}
