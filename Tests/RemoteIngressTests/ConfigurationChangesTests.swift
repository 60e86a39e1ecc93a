// What a configuration that is read again changes, in the words of the log.

import Foundation
import RIControl
import Testing

@testable import RemoteIngress

@Suite struct ConfigurationChangesTests {
  private func hub(_ yaml: String) throws -> LoadedConfiguration<HubConfiguration> {
    let directory = try ScratchDirectory()
    return try ConfigurationSource(file: try directory.write(yaml, to: "c.yaml")).hub()
  }

  private func edge(_ yaml: String) throws -> LoadedConfiguration<EdgeConfiguration> {
    let directory = try ScratchDirectory()
    return try ConfigurationSource(file: try directory.write(yaml, to: "c.yaml")).edge()
  }

  @Test func edgesAreNamedWithWhatChanged() throws {
    let changes = HubConfiguration.changes(
      from: try hub(
        """
        allowedEdges:
          - {id: a, secret: hush, listenPorts: [1]}
          - {id: b, secret: hush}
          - {id: c, secret: hush}
        """),
      to: try hub(
        """
        allowedEdges:
          - {id: a, secret: other, listenPorts: [2], firewallConfig: {blockedIps: [192.0.2.1]}}
          - {id: c, secret: hush}
          - {id: d, secret: hush, stunIntervalSecs: 7}
        """))
    #expect(
      changes.summary == "3 allowed edges; added: d; removed: b; "
        + "changed: a (secret, listenPorts, firewallConfig)")
    #expect(changes.needRestart.isEmpty && changes.areAny)
    #expect(changes.merged.settings.allowedEdges.map(\.id) == ["a", "c", "d"])
  }

  @Test func manyEdgesAreShortened() throws {
    let many = (0..<25).map { "  - {id: e\($0), secret: s}" }.joined(separator: "\n")
    let changes = HubConfiguration.changes(
      from: try hub("allowedEdges: []"), to: try hub("allowedEdges:\n\(many)"))
    #expect(changes.summary.hasSuffix("e19 and 5 more"))
  }

  @Test func whatNeedsARestartIsNamedAndStaysOpen() throws {
    let old = try hub("tunnelPort: 1\ndrainSeconds: 5\nallowedEdges: [{id: a, secret: s}]")
    let new = try hub(
      """
      tunnelPort: 2
      drainSeconds: 6
      logLevel: debug
      shards: 3
      admin: {listen: 127.0.0.1:1}
      targets: [{port: 80}]
      allowedEdges: [{id: a, secret: s}]
      """)
    let changes = HubConfiguration.changes(from: old, to: new)
    #expect(changes.needRestart == ["tunnelPort", "targets", "shards", "admin.listen"])
    #expect(changes.summary == "1 allowed edges; changed: drainSeconds, logLevel")
    #expect(changes.merged.settings.tunnelPort == 1 && changes.merged.settings.drainSeconds == 6)
    // The same file again still needs the restart, and says nothing else.
    let again = HubConfiguration.changes(from: changes.merged, to: new)
    #expect(again.needRestart == changes.needRestart && again.summary == "1 allowed edges")
    let none = HubConfiguration.changes(from: old, to: old)
    #expect(!none.areAny)
  }

  @Test func anEdgesHubNeedsARestart() throws {
    let old = try edge("hubHost: h\nedgeId: e\nsecret: hush\ninsecure: true")
    let changes = EdgeConfiguration.changes(
      from: old, to: try edge("hubHost: h\nedgeId: e\nsecret: other\ninsecure: true"))
    #expect(changes.needRestart == ["secret"])
    #expect(changes.summary == "nothing that can change while it runs")
  }

  @Test func aSecretFileWithOtherContentCounts() throws {
    let directory = try ScratchDirectory()
    let secret = try directory.write("one", to: "secret")
    let yaml = "hubHost: h\nedgeId: e\nsecretFile: \(secret)\ninsecure: true"
    let old = try edge(yaml)
    _ = try directory.write("two", to: "secret")
    let changes = EdgeConfiguration.changes(from: old, to: try edge(yaml))
    #expect(changes.needRestart == ["secret"])
  }
}
