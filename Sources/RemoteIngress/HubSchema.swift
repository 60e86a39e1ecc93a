// The keys of a hub's configuration.

import RIBase
import RIControl
import RIWire

extension HubConfiguration: ReadableConfiguration {
  static var schema: Schema<HubConfiguration> {
    Schema(
      [
        Field("tunnelPort", \.tunnelPort, .port, "TCP port for edges; default 8443"),
        Field("bindAddress", \.bindAddress, .address, "address for edges; default all"),
        Field("targetHost", \.targetHost, .host, "where traffic goes; default 127.0.0.1"),
        Field(
          "tls", \.tls, empty: TLSConfiguration(),
          Schema([
            Field("certPem", \.certificate, .text, excludes: ["certFile"], "certificate as PEM"),
            Field("certFile", \.certificate, .file, "file of the certificate"),
            Field("keyPem", \.key, .text, excludes: ["keyFile"], "private key as PEM"),
            Field("keyFile", \.key, .file, "file of the private key"),
          ])),
        Field(
          fileOnly: "allowedEdges", \.allowedEdges,
          .allowedEdges),
        Field(
          fileOnly: "targets", \.targets,
          .list(of: .targetRule, unique: TargetKey.init) {
            "\($0.transport.rawValue) port \($0.port)"
          }),
      ] + commonFields)
  }
}

/// What no two target rules share.
private struct TargetKey: Hashable {
  var port: Port
  var transport: TransportProtocol

  init(_ rule: TargetRule) {
    port = rule.port
    transport = rule.transport
  }
}

private struct AllowedEdgeDraft {
  var id: String?
  var secret: Secret?
  var listenPorts: [Port] = []
  var listenPortsUdp: [Port] = []
  var stunIntervalSecs = EdgeConfigMessage.stunIntervalSecsDefault
  var firewallConfig: JSONValue?
}

extension ValueKind where Value == [Port] {
  fileprivate static var ports: ValueKind { .list(of: .port, unique: { $0 }) { "port \($0)" } }
}

extension ValueKind where Value == [AllowedEdge] {
  static var allowedEdges: ValueKind {
    .list(of: .allowedEdge, unique: \.id) { "the edge \($0.id)" }
  }
}

extension ValueKind where Value == AllowedEdge {
  fileprivate static var allowedEdge: ValueKind {
    let schema = Schema<AllowedEdgeDraft>([
      Field("id", \.id, .edgeID, "name of the edge"),
      Field("secret", \.secret, .secret, "what it proves itself with"),
      Field("listenPorts", \.listenPorts, .ports, "TCP ports it listens on"),
      Field("listenPortsUdp", \.listenPortsUdp, .ports, "UDP ports it listens on"),
      Field("stunIntervalSecs", \.stunIntervalSecs, .count(0...86_400), "0: off"),
      Field("firewallConfig", \.firewallConfig, .firewall, "firewall of the edge"),
    ])
    return .object(schema, AllowedEdgeDraft()) { draft, place, origin throws(ConfigurationError) in
      guard let id = draft.id else { throw place.member("id").error("is missing", at: origin) }
      guard let secret = draft.secret else {
        throw place.member("secret").error("is missing", at: origin)
      }
      let edge = AllowedEdge(
        id: id, secret: secret, listenPorts: draft.listenPorts,
        listenPortsUdp: draft.listenPortsUdp, stunIntervalSecs: draft.stunIntervalSecs,
        firewallConfig: draft.firewallConfig)
      if let fault = edge.sizeFault {
        throw place.member("firewallConfig").error(fault, at: origin)
      }
      return edge
    }
  }
}

private struct TargetRuleDraft {
  var port: Port?
  var transport = TransportProtocol.tcp
  var host: String?
  var targetPort: Port?
  var proxyProtocol: ProxyProtocolVersion?
  var udpProxyHeader: UDPProxyHeader?
}

extension ValueKind where Value == TargetRule {
  fileprivate static var targetRule: ValueKind {
    let schema = Schema<TargetRuleDraft>([
      Field("port", \.port, .port, "port of the edge"),
      Field("protocol", \.transport, .choice, "default tcp"),
      Field("host", \.host, .host, "default targetHost"),
      Field("targetPort", \.targetPort, .port, "default the port of the edge"),
      Field("proxyProtocol", \.proxyProtocol, .choice, "TCP; default v1"),
      Field("udpProxyHeader", \.udpProxyHeader, .choice, "UDP; default first"),
    ])
    return .object(schema, TargetRuleDraft()) { draft, place, origin throws(ConfigurationError) in
      guard let port = draft.port else {
        throw place.member("port").error("is missing", at: origin)
      }
      if draft.transport == .udp, draft.proxyProtocol != nil {
        throw place.member("proxyProtocol").error(
          "is for tcp; a udp target has udpProxyHeader", at: origin)
      }
      if draft.transport == .tcp, draft.udpProxyHeader != nil {
        throw place.member("udpProxyHeader").error(
          "is for udp; a tcp target has proxyProtocol", at: origin)
      }
      return TargetRule(
        port: port, transport: draft.transport, host: draft.host, targetPort: draft.targetPort,
        proxyProtocol: draft.proxyProtocol ?? .v1, udpProxyHeader: draft.udpProxyHeader ?? .first)
    }
  }
}
