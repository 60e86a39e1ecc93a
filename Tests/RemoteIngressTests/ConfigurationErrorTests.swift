// Bad configurations: each gives one line that names file, line, key and reason.

import RIBase
import RIWire
import Testing

@testable import RemoteIngress

@Suite struct ConfigurationErrorTests {
  struct BadFile: Sendable, CustomTestStringConvertible {
    var side: Side
    var yaml: String
    var error: String
    var testDescription: String { error }

    init(_ side: Side, _ yaml: String, _ error: String) {
      self.side = side
      self.yaml = yaml
      self.error = error
    }
  }

  static let hubFiles: [BadFile] = [
    .init(
      .hub, "tunelPort: 1",
      "c.yaml:1: tunelPort: unknown key; "
        + "the nearest known one is tunnelPort"),
    .init(
      .hub, "TunnelPort: 1",
      "c.yaml:1: TunnelPort: unknown key; the nearest known one is tunnelPort"),
    .init(
      .hub, "tunnelPort: 1\nallowedEdges:\n  - id: a\n    secret: s\n    listenPort: [80]",
      "c.yaml:5: allowedEdges[0].listenPort: unknown key; the nearest known one is listenPorts"),
    .init(
      .hub, "tls: {certfile: x}",
      "c.yaml:1: tls.certfile: unknown key; the nearest known one is certFile"),
    .init(
      .hub, "allowedEdges: [{id: a, secret: s, firewallConfig: {blockedIPs: []}}]",
      "c.yaml:1: allowedEdges[0].firewallConfig.blockedIPs: unknown key; "
        + "the nearest known one is blockedIps"),
    .init(
      .hub, "\n\ntunnelPort: 70000",
      "c.yaml:3: tunnelPort: '70000' is wrong; it must be a whole number from 1 to 65535"),
    .init(
      .hub, "tunnelPort: 0",
      "c.yaml:1: tunnelPort: '0' is wrong; it must be a whole number from 1 to 65535"),
    .init(
      .hub, "tunnelPort: 80.5",
      "c.yaml:1: tunnelPort: '80.5' is wrong; it must be a whole number from 1 to 65535"),
    .init(
      .hub, "tunnelPort: -1",
      "c.yaml:1: tunnelPort: '-1' is wrong; it must be a whole number from 1 to 65535"),
    .init(
      .hub, "tunnelPort:",
      "c.yaml:1: tunnelPort: has no value; it must be a whole number from 1 to 65535"),
    .init(
      .hub, "tunnelPort: [1]",
      "c.yaml:1: tunnelPort: is a list; it must be a whole number from 1 to 65535"),
    .init(
      .hub, "bindAddress: localhost",
      "c.yaml:1: bindAddress: 'localhost' is wrong; it must be an IPv4 or IPv6 address"),
    .init(
      .hub, "targetHost: 'a b'",
      "c.yaml:1: targetHost: 'a b' is wrong; it must be a host name or an IP address"),
    .init(
      .hub, "targetHost: \"a\\nb\"",
      "c.yaml:1: targetHost: 'a\\u{a}b' is wrong; it must be a host name or an IP address"),
    .init(.hub, "tls: yes", "c.yaml:1: tls: must be a mapping of keys to values"),
    .init(
      .hub, "tls:\n  certPem: x\n  certFile: y",
      "c.yaml:2: tls.certPem: certFile is given too: one of them has to go"),
    .init(.hub, "tls: {certFile: /nowhere/c.pem}", "c.yaml:1: tls: keyFile or keyPem is missing"),
    .init(.hub, "tls: {keyFile: /nowhere/k.pem}", "c.yaml:1: tls: certFile or certPem is missing"),
    .init(
      .hub, "tls:\n  certFile: /nowhere/c.pem\n  keyPem: k",
      "c.yaml:2: tls.certFile: cannot read '/nowhere/c.pem': No such file or directory"),
    .init(
      .hub, "tls:\n  certPem: '-----BEGIN CERTIFICATE----- x'\n  keyFile: /",
      "c.yaml:3: tls.keyFile: cannot read '/': Is a directory"),
    .init(
      .hub, "tls:\n  certPem: hello\n  keyPem: k",
      "c.yaml:2: tls.certPem: holds no PEM text of a certificate"),
    .init(
      .hub,
      "tls:\n  certPem: '-----BEGIN CERTIFICATE-----'\n  keyPem: '-----BEGIN CERTIFICATE-----'",
      "c.yaml:3: tls.keyPem: holds no PEM text of a private key"),
    .init(.hub, "allowedEdges: {a: b}", "c.yaml:1: allowedEdges: must be a list"),
    .init(
      .hub, "allowedEdges: [x]", "c.yaml:1: allowedEdges[0]: must be a mapping of keys to values"),
    .init(.hub, "allowedEdges:\n- {secret: s}", "c.yaml:2: allowedEdges[0].id: is missing"),
    .init(.hub, "allowedEdges:\n- {id: a}", "c.yaml:2: allowedEdges[0].secret: is missing"),
    .init(
      .hub, "allowedEdges:\n- {id: a, secret: s}\n- {id: a, secret: t}",
      "c.yaml:3: allowedEdges[1]: the edge a is listed twice"),
    .init(
      .hub, "allowedEdges: [{id: 'a b', secret: s}]",
      "c.yaml:1: allowedEdges[0].id: 'a b' is wrong; "
        + "it must be 1 to 128 printable ASCII characters without spaces"),
    .init(
      .hub, "allowedEdges: [{id: a, secret: 'hush hush'}]",
      "c.yaml:1: allowedEdges[0].secret: "
        + "it must be 1 to 1024 printable ASCII characters without spaces"),
    .init(
      .hub, "allowedEdges: [{id: a, secret: s, listenPorts: [80, 443, 80]}]",
      "c.yaml:1: allowedEdges[0].listenPorts[2]: port 80 is listed twice"),
    .init(
      .hub, "allowedEdges: [{id: a, secret: s, stunIntervalSecs: -1}]",
      "c.yaml:1: allowedEdges[0].stunIntervalSecs: '-1' is wrong; "
        + "it must be a whole number from 0 to 86400"),
    .init(
      .hub, "allowedEdges: [{id: a, secret: s, firewallConfig: {blockedIps: [192.0.2.0/33]}}]",
      "c.yaml:1: allowedEdges[0].firewallConfig.blockedIps[0]: '192.0.2.0/33' is wrong; "
        + "it must be an IP address or a CIDR such as 192.0.2.0/24"),
    .init(
      .hub,
      "allowedEdges: [{id: a, secret: s, firewallConfig: {rules: [{id: r, direction: input}]}}]",
      "c.yaml:1: allowedEdges[0].firewallConfig.rules[0].action: is missing"),
    .init(
      .hub,
      "allowedEdges: [{id: a, secret: s, firewallConfig: "
        + "{rateLimits: [{id: r, port: 80, rate: 5/week}]}}]",
      "c.yaml:1: allowedEdges[0].firewallConfig.rateLimits[0].rate: '5/week' is wrong; "
        + "it must be N/second, N/minute, N/hour or N/day with N from 1 to 1000000"),
    .init(.hub, "targets: [{host: a}]", "c.yaml:1: targets[0].port: is missing"),
    .init(
      .hub, "targets: [{port: 80, proxyProtocol: v3}]",
      "c.yaml:1: targets[0].proxyProtocol: 'v3' is wrong; it must be one of v1, v2, none"),
    .init(
      .hub, "targets: [{port: 53, protocol: udp, proxyProtocol: v2}]",
      "c.yaml:1: targets[0].proxyProtocol: is for tcp; a udp target has udpProxyHeader"),
    .init(
      .hub, "targets: [{port: 53, udpProxyHeader: every}]",
      "c.yaml:1: targets[0].udpProxyHeader: is for udp; a tcp target has proxyProtocol"),
    .init(
      .hub, "targets:\n- port: 80\n- port: 80\n  protocol: udp\n- port: 80\n  protocol: tcp",
      "c.yaml:5: targets[2]: tcp port 80 is listed twice"),
    .init(
      .hub, "admin: {listen: 0.0.0.0:9180}",
      "c.yaml:1: admin.listen: 0.0.0.0 is not loopback: "
        + "admin.token or admin.tokenFile must be given"
    ),
    .init(
      .hub, "admin: {listen: '9180'}",
      "c.yaml:1: admin.listen: '9180' is wrong; "
        + "it must be a host and a port, as in 127.0.0.1:9180 or [::1]:9180, or none"),
    .init(
      .hub, "admin: {token: 'two words'}",
      "c.yaml:1: admin.token: the token must be 1 to 1024 printable ASCII characters without spaces"
    ),
    .init(
      .hub, "admin:\n  tokenFile: /nowhere/t",
      "c.yaml:2: admin.tokenFile: cannot read '/nowhere/t': No such file or directory"),
    .init(
      .hub, "logLevel: loud",
      "c.yaml:1: logLevel: 'loud' is wrong; "
        + "it must be one of trace, debug, info, notice, warning, error, critical"),
    .init(
      .hub, "memoryBudgetMB: 200MB",
      "c.yaml:1: memoryBudgetMB: '200MB' is wrong; "
        + "it must be a whole number from 16 to 1048576"),
    .init(.hub, "shards: 1\nshards: 2", "c.yaml:1: 'shards' is given more than once"),
    .init(.hub, "[1, 2]", "c.yaml:1: must be a mapping of keys to values"),
    .init(.hub, "a: [1", "c.yaml:2: did not find expected ',' or ']'"),
    .init(.hub, "tls:\n\tcertFile: x", "c.yaml:2: found character that cannot start any token"),
    .init(.hub, "[a]: 1", "c.yaml:1: a key must be text"),
    .init(.hub, "token: abc", "c.yaml:1: token: unknown key; the nearest known one is tls"),
  ]

  static let edgeFiles: [BadFile] = [
    .init(.edge, "", "c.yaml: hubHost: is missing (or give a token)"),
    .init(.edge, "hubHost: h", "c.yaml: edgeId: is missing (or give a token)"),
    .init(.edge, "hubHost: h\nedgeId: e", "c.yaml: secret: is missing (or give a token)"),
    .init(
      .edge, "hubHost: h\nedgeId: e\nsecretFile: /nowhere/s",
      "c.yaml:3: secretFile: cannot read '/nowhere/s': No such file or directory"),
    .init(
      .edge, "hubHost: h\nedgeId: e\nsecretFile: /dev/null",
      "c.yaml:3: secretFile: the secret is empty"),
    .init(
      .edge, "secret: s\nsecretFile: f",
      "c.yaml:1: secret: secretFile is given too: one of them has to go"),
    .init(.edge, "token: '!!!'", "c.yaml:1: token: token is not base64url without padding"),
    .init(.edge, "tokenFile: /dev/null", "c.yaml:1: tokenFile: token is empty"),
    .init(
      .edge, "hubHost: h\ntokenFile: f",
      "c.yaml:2: tokenFile: hubHost is given too: one of them has to go"),
    .init(
      .edge, "transportMode: tcp",
      "c.yaml:1: transportMode: 'tcp' is wrong; it must be one of tcpTls, quic, quicWithFallback"),
    .init(
      .edge, "hubPin: sha256/AAAA",
      "c.yaml:1: hubPin: 'sha256/AAAA' is wrong; "
        + "it must be sha256/ and the base64 of 32 bytes, or 64 hex digits"),
    .init(
      .edge, "insecure: maybe", "c.yaml:1: insecure: 'maybe' is wrong; it must be true or false"),
    .init(
      .edge, "hubHost: h\nedgeId: e\nsecret: s\ninsecure: true\nhubCaFile: system",
      "c.yaml:4: insecure: contradicts hubCaFile"),
    .init(
      .edge, "hubHost: 'http://h/'",
      "c.yaml:1: hubHost: 'http://h/' is wrong; it must be a host name or an IP address"),
    .init(
      .edge, "stunServer: stun.example",
      "c.yaml:1: stunServer: 'stun.example' is wrong; "
        + "it must be a host and a port, as in host:3478 or [::1]:3478"),
  ]

  @Test(arguments: hubFiles + edgeFiles)
  func badFileGivesOneClearLine(file: BadFile) throws {
    let error = try failure(file.side, file: file.yaml)
    #expect(error == file.error)
    #expect(error?.contains("\n") == false)
    #expect(error?.contains("hush") == false)
  }

  @Test func missingFileIsNamed() {
    let source = ConfigurationSource(file: "/nowhere/hub.yaml")
    #expect {
      _ = try source.hub()
    } throws: { error in
      "\(error)" == "cannot read '/nowhere/hub.yaml': No such file or directory"
    }
  }

  @Test func badVariableIsNamed() throws {
    #expect(
      try failure(.hub, environment: ["REMOTEINGRESS_TUNNEL_PORT": "x"])
        == "REMOTEINGRESS_TUNNEL_PORT: 'x' is wrong; it must be a whole number from 1 to 65535")
    #expect(
      try failure(
        .edge, environment: ["REMOTEINGRESS_SECRET_FILE": "f", "REMOTEINGRESS_SECRET": "s"])
        == "REMOTEINGRESS_SECRET: REMOTEINGRESS_SECRET_FILE is given too: one of them has to go")
    let late = [
      "REMOTEINGRESS_HUB_HOST": "h", "REMOTEINGRESS_EDGE_ID": "e",
      "REMOTEINGRESS_SECRET_FILE": "/nowhere/s",
    ]
    #expect(
      try failure(.edge, environment: late)
        == "REMOTEINGRESS_SECRET_FILE: cannot read '/nowhere/s': No such file or directory")
  }

  @Test func badFlagIsNamed() throws {
    let table: [([String], String)] = [
      (
        ["--tunnel-prt", "1"], "--tunnel-prt: unknown flag; the nearest known one is --tunnel-port"
      ),
      (["--tunnel-port"], "--tunnel-port: needs a value"),
      (["--tunnel-port="], "--tunnel-port: '' is wrong; it must be a whole number from 1 to 65535"),
      (["hush"], "an argument is no flag: use --key value"),
      (["--tls-cert-file", "c"], "--tls-cert-file: keyFile or keyPem is missing"),
    ]
    for (flags, error) in table { #expect(try failure(.hub, flags: flags) == error) }
  }

  @Test func pinOfATokenContradictsInsecure() throws {
    let pin = String(repeating: "ab", count: 32)
    #expect(
      try failure(.edge, flags: ["--insecure", "--token", token(pin: pin)])
        == "--insecure: contradicts the hub's pin")
    #expect(
      try failure(.edge, flags: ["--token", token(pin: "md5/x")])
        == "--token: the pin must be sha256/ and the base64 of 32 bytes, or 64 hex digits")
  }
}
