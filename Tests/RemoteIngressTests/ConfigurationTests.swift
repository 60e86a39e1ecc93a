// What good configurations mean, and which source wins.

import RIBase
import RIControl
import RIWire
import Testing

@testable import RemoteIngress

@Suite struct ConfigurationTests {
  private let hubYAML = """
    tunnelPort: 9443
    bindAddress: "::1"
    targetHost: proxy.internal
    allowedEdges:
      - id: e1
        secret: 0123
        listenPorts: [80, 443]
        listenPortsUdp: [53]
        stunIntervalSecs: 0
        firewallConfig:
          blockedIps: [192.0.2.0/24, "2001:db8::1"]
          rateLimits: [{id: web, port: 443, rate: 50/second, perSourceIP: true}]
          rules: [{id: r, direction: input, action: drop, sourceIP: 198.51.100.1, comment: no}]
    targets:
      - {port: 443, host: 10.0.0.1, targetPort: 8443, proxyProtocol: v2}
      - {port: 53, protocol: udp, udpProxyHeader: every}
    shards: 2
    memoryBudgetMB: 64
    drainSeconds: 0
    stateDir: /state
    logLevel: debug
    logFormat: json
    """

  @Test func hubFileSaysAll() throws {
    let directory = try ScratchDirectory()
    let path = try directory.write(hubYAML, to: "hub.yaml")
    let loaded = try ConfigurationSource(file: path).hub()
    let settings = loaded.settings
    #expect(settings.tunnelPort == 9443)
    #expect(settings.bindAddress == .loopbackV6)
    #expect(settings.targetHost == "proxy.internal")
    #expect(settings.certificate == .selfSigned)
    #expect(settings.shards == 2)
    #expect(settings.memoryBudgetBytes == 64 << 20)
    #expect(settings.drainSeconds == 0)
    #expect(settings.stateDirectory == "/state")
    #expect(loaded.configuration.logLevel == .debug)
    #expect(loaded.configuration.logFormat == .json)
    #expect(
      settings.targets == [
        TargetRule(port: 443, host: "10.0.0.1", targetPort: 8443, proxyProtocol: .v2),
        TargetRule(port: 53, transport: .udp, udpProxyHeader: .every),
      ])
    let edge = try #require(settings.allowedEdges.first)
    #expect(edge.secret.revealed == "0123")
    #expect(edge.listenPorts == [80, 443])
    #expect(edge.listenPortsUdp == [53])
    #expect(edge.stunIntervalSecs == 0)
    let firewall = try #require(edge.firewallConfig)
    #expect(
      String(decoding: firewall.encoded(), as: UTF8.self)
        == #"{"blockedIps":["192.0.2.0/24","2001:db8::1"],"#
        + #""rateLimits":[{"id":"web","perSourceIP":true,"port":443,"rate":"50/second"}],"#
        + #""rules":[{"action":"drop","comment":"no","direction":"input","id":"r","#
        + #""sourceIP":"198.51.100.1"}]}"#)
    #expect(loaded.warnings.isEmpty)
  }

  @Test func jsonFileIsAsGood() throws {
    let directory = try ScratchDirectory()
    let json =
      "{\n\t\"tunnelPort\": 1234,\n\t\"allowedEdges\": [{\"id\": \"a\", \"secret\": \"s\"}]\n}\n"
    let loaded = try ConfigurationSource(file: directory.write(json, to: "hub.json")).hub()
    #expect(loaded.settings.tunnelPort == 1234)
    #expect(loaded.settings.allowedEdges.map(\.id) == ["a"])
  }

  @Test func defaultsAreThoseOfTheSpecification() throws {
    let hub = try ConfigurationSource().hub().settings
    #expect(hub.tunnelPort == 8443)
    #expect(hub.targetHost == "127.0.0.1")
    #expect(hub.bindAddress == nil)
    #expect(hub.drainSeconds == 30)
    #expect(hub.memoryBudgetBytes == 200 << 20)
    #expect(hub.udpIdleSeconds == 60)
    #expect(hub.udpSessionsMax == 65_536)
    let edge = try edge(["--hub-host", "h", "--edge-id", "e", "--secret", "s"])
    #expect(edge.hubPort == 8443)
    #expect(edge.trust == .firstUse)
    #expect(edge.transportMode == .tcpTls)
    #expect(edge.stunServer == "stun.cloudflare.com:3478")
  }

  @Test func flagsWinOverVariablesAndVariablesOverTheFile() throws {
    let directory = try ScratchDirectory()
    let path = try directory.write("tunnelPort: 1\nshards: 1\ndrainSeconds: 1", to: "c.yaml")
    let settings = try ConfigurationSource(
      file: path,
      environment: ["REMOTEINGRESS_SHARDS": "2", "REMOTEINGRESS_DRAIN_SECONDS": "2"],
      flags: ["--drain-seconds=3"]
    ).hub().settings
    #expect(settings.tunnelPort == 1)
    #expect(settings.shards == 2)
    #expect(settings.drainSeconds == 3)
  }

  @Test func laterSourceChangesSingleKeysOfAMapping() throws {
    let directory = try ScratchDirectory()
    let certificate = try directory.write(
      "-----BEGIN CERTIFICATE-----\nc\n-----END CERTIFICATE-----\n", to: "cert.pem")
    let key = try directory.write(
      "-----BEGIN EC PRIVATE KEY-----\nk\n-----END EC PRIVATE KEY-----\n", to: "key.pem")
    let path = try directory.write(
      "tls: {certFile: \(certificate), keyFile: /nowhere}", to: "c.yaml")
    let settings = try ConfigurationSource(file: path, flags: ["--tls-key-file", key]).hub()
      .settings
    guard case .pem(let certificateText, let keyText) = settings.certificate else {
      Issue.record("no certificate")
      return
    }
    #expect(certificateText == "-----BEGIN CERTIFICATE-----\nc\n-----END CERTIFICATE-----\n")
    #expect(keyText.contains("EC PRIVATE KEY"))
  }

  @Test func laterSecretReplacesAnEarlierSecretFile() throws {
    let directory = try ScratchDirectory()
    let path = try directory.write(
      "hubHost: h\nedgeId: e\nsecretFile: /nowhere", to: "c.yaml")
    let settings = try ConfigurationSource(
      file: path, environment: ["REMOTEINGRESS_SECRET": "given"]
    ).edge().settings
    #expect(settings.secret.revealed == "given")
  }

  @Test func secretAndTokenFilesAreReadWithoutTheirLineEnds() throws {
    let directory = try ScratchDirectory()
    let secret = try directory.write("  from-file\r\n", to: "secret")
    let bySecret = try edge(["--hub-host", "h", "--edge-id", "e", "--secret-file", secret])
    #expect(bySecret.secret.revealed == "from-file")
    let byToken = try edge(["--token-file", directory.write("\(token())\n", to: "token")])
    #expect(byToken.hubHost == "hub.example")
    #expect(byToken.secret.revealed == "token-secret")
  }

  @Test func tokenReplacesEarlierKeysAndLaterKeysChangeIt() throws {
    let directory = try ScratchDirectory()
    let path = try directory.write(
      "hubHost: old\nhubPort: 1\nedgeId: old\nsecret: old\nshards: 3", to: "c.yaml")
    let token = try token()
    let settings = try ConfigurationSource(
      file: path, environment: ["REMOTEINGRESS_TOKEN": token], flags: ["--hub-port", "99"]
    ).edge().settings
    #expect(settings.hubHost == "hub.example")
    #expect(settings.hubPort == 99)
    #expect(settings.edgeID == "from-token")
    #expect(settings.secret.revealed == "token-secret")
    #expect(settings.shards == 3)
    let unchanged = try ConfigurationSource(file: path, flags: ["--token", token]).edge().settings
    #expect(unchanged.hubPort == 7000)
  }

  @Test func trustGoesByPinThenAuthoritiesThenFirstUse() throws {
    let hex = String(repeating: "0a", count: 32)
    let bytes = [UInt8](repeating: 10, count: 32)
    let base64 = "sha256/CgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo="
    let base = ["--hub-host", "h", "--edge-id", "e", "--secret", "s"]
    #expect(try edge(base + ["--hub-pin", hex, "--hub-ca-file", "/ca"]).trust == .pin(bytes))
    #expect(try edge(base + ["--hub-pin", base64]).trust == .pin(bytes))
    #expect(try edge(["--token", token(pin: hex)]).trust == .pin(bytes))
    #expect(try edge(base + ["--hub-ca-file", "/ca"]).trust == .authorities(caFile: "/ca"))
    #expect(try edge(base + ["--hub-ca-file", "system"]).trust == .authorities(caFile: nil))
    #expect(try edge(base).trust == .firstUse)
    #expect(try edge(base + ["--insecure"]).trust == .insecure)
    #expect(try edge(base + ["--insecure=false"]).trust == .firstUse)
  }

  @Test func unknownVariablesAreNamedAndHarmless() throws {
    let loaded = try ConfigurationSource(environment: [
      "REMOTEINGRESS_TUNEL_PORT": "1", "REMOTEINGRESS_RING": "epoll", "REMOTEINGRESS_SHARDS": "",
      "REMOTEINGRESS_EXTENSIONS": "none",
      "OTHER": "x",
    ]).hub()
    #expect(
      loaded.warnings == [
        "REMOTEINGRESS_TUNEL_PORT is no known variable; the nearest is REMOTEINGRESS_TUNNEL_PORT",
        "allowedEdges is empty: no edge can connect",
      ])
    #expect(loaded.settings.shards == nil)
  }

  @Test func stateDirectoryOfSystemdIsTaken() throws {
    let source = ConfigurationSource(environment: ["STATE_DIRECTORY": "/var/lib/x:/var/lib/y"])
    #expect(try source.hub().settings.stateDirectory == "/var/lib/x")
  }

  @Test func everyKeyHasItsFlagAndVariable() {
    let hub = HubConfiguration.schema.flatKeys
    let edge = EdgeConfiguration.schema.flatKeys
    #expect(hub.map(\.flag).contains("--memory-budget-mb"))
    #expect(hub.map(\.flag).contains("--tls-cert-file"))
    #expect(edge.map(\.flag).contains("--hub-ca-file"))
    #expect(edge.map(\.variable).contains("REMOTEINGRESS_HUB_CA_FILE"))
    #expect(edge.map(\.variable).contains("REMOTEINGRESS_ADMIN_TOKEN_FILE"))
    for keys in [hub, edge] {
      #expect(Set(keys.map(\.flag)).count == keys.count)
      #expect(keys.allSatisfy { !$0.help.isEmpty })
    }
    #expect(EdgeConfiguration.secretFlags == ["--token", "--secret", "--admin-token"])
    #expect(HubConfiguration.secretFlags == ["--tls-cert-pem", "--tls-key-pem", "--admin-token"])
  }

  private func edge(_ flags: [String]) throws -> EdgeSettings {
    try ConfigurationSource(flags: flags).edge().settings
  }
}
