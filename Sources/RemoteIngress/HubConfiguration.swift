// What a hub can be told (SPEC 6), and what its engine makes of it.

import RIBase
import RIControl
import RIWire

public typealias AllowedEdge = RIControl.AllowedEdge
public typealias TargetRule = RIControl.TargetRule
public typealias Secret = RIWire.Secret
public typealias JSONValue = RIWire.JSONValue
public typealias IPAddress = RIBase.IPAddress
public typealias Port = RIBase.Port
public typealias ConnectionToken = RIWire.ConnectionToken

/// The certificate and key that a hub is given, as PEM.
public struct TLSConfiguration: Equatable, Sendable {
  public var certificate: TextSource?
  public var key: TextSource?

  public init(certificate: TextSource? = nil, key: TextSource? = nil) {
    self.certificate = certificate
    self.key = key
  }
}

/// The configuration of a hub.
public struct HubConfiguration: CommonConfiguration {
  public var tunnelPort: Port = 8443
  /// nil: all addresses, IPv4 and IPv6.
  public var bindAddress: IPAddress?
  public var targetHost = "127.0.0.1"
  /// nil: a self-signed certificate.
  public var tls: TLSConfiguration?
  public var allowedEdges: [AllowedEdge] = []
  public var targets: [TargetRule] = []
  public var shards: Int?
  public var memoryBudgetMB = 200
  public var udpIdleSeconds = 60
  public var udpSessionsMax = 65_536
  public var drainSeconds = 30
  public static let adminListenDefault = "127.0.0.1:9180"
  public var admin: AdminConfiguration?
  public var stateDir: String?
  public var logLevel = LogLevel.info
  public var logFormat = LogFormat.text

  public init() {}

  public func settings() throws(ConfigurationError) -> HubSettings {
    _ = try adminSettings()
    var settings = HubSettings()
    settings.tunnelPort = tunnelPort
    settings.bindAddress = bindAddress
    settings.targetHost = targetHost
    settings.certificate = try certificate()
    settings.allowedEdges = allowedEdges
    settings.targets = targets
    applyCommon(to: &settings)
    return settings
  }

  public var warnings: [String] {
    var warnings: [String] = []
    if allowedEdges.isEmpty { warnings.append("allowedEdges is empty: no edge can connect") }
    return warnings
  }

  private func certificate() throws(ConfigurationError) -> HubCertificate {
    switch (tls?.certificate, tls?.key) {
    case (nil, nil): return .selfSigned
    case (.some, nil):
      throw ConfigurationError(key: "tls", reason: "keyFile or keyPem is missing")
    case (nil, .some):
      throw ConfigurationError(key: "tls", reason: "certFile or certPem is missing")
    case (let certificate?, let key?):
      return .pem(
        certificate: try pem(certificate, "tls.certPem", "CERTIFICATE-----", "a certificate"),
        key: try pem(key, "tls.keyPem", "PRIVATE KEY-----", "a private key"))
    }
  }

  private func pem(
    _ source: TextSource, _ key: String, _ label: String, _ what: String
  ) throws(ConfigurationError) -> String {
    let text = try source.text(for: key)
    guard text.contains("-----BEGIN "), text.contains(label) else {
      throw ConfigurationError(key: source.key(key), reason: "holds no PEM text of \(what)")
    }
    return text + "\n"
  }
}
