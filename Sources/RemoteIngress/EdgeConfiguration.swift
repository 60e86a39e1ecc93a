// What an edge can be told (SPEC 6), and what its engine makes of it.

import RIBase
import RIControl
import RIWire

/// The configuration of an edge: a token, or the keys it stands for. Keys that are set go before
/// what the token says.
public struct EdgeConfiguration: CommonConfiguration {
  public var token: TextSource?
  public var hubHost: String?
  /// nil: the token's, else 8443.
  public var hubPort: Port?
  public var edgeID: String?
  public var secret: TextSource?
  /// Where clients are listened for; nil: all addresses, IPv4 and IPv6.
  public var bindAddress: IPAddress?
  public var transportMode = TransportMode.tcpTls
  /// `sha256/` and base64, or 64 hex digits.
  public var hubPin: String?
  /// A PEM file, or `system`.
  public var hubCaFile: String?
  public var insecure = false
  /// `host:port`
  public var stunServer = "stun.cloudflare.com:3478"
  public var shards: Int?
  public var memoryBudgetMB = 200
  public var udpIdleSeconds = 60
  public var udpSessionsMax = 65_536
  public var drainSeconds = 30
  public static let adminListenDefault = "127.0.0.1:9181"
  public var admin: AdminConfiguration?
  public var stateDir: String?
  public var logLevel = LogLevel.info
  public var logFormat = LogFormat.text

  public init() {}

  public func settings() throws(ConfigurationError) -> EdgeSettings {
    _ = try adminSettings()
    let token = try decodedToken()
    let alternative = "is missing (or give a token)"
    guard let host = hubHost ?? token?.host else {
      throw ConfigurationError(key: "hubHost", reason: alternative)
    }
    guard let id = edgeID ?? token?.edgeID else {
      throw ConfigurationError(key: "edgeId", reason: alternative)
    }
    guard let secret = try givenSecret() ?? token?.secret else {
      throw ConfigurationError(key: "secret", reason: alternative)
    }
    var settings = EdgeSettings(hubHost: host, edgeID: id, secret: secret)
    settings.hubPort = hubPort ?? token?.port ?? 8443
    settings.bindAddress = bindAddress
    settings.transportMode = transportMode
    settings.trust = try trust(tokenPin: token?.hubPin)
    settings.stunServer = stunServer
    applyCommon(to: &settings)
    return settings
  }

  public var warnings: [String] {
    var warnings: [String] = []
    if insecure { warnings.append("insecure: the hub's certificate is not checked") }
    return warnings
  }

  private func decodedToken() throws(ConfigurationError) -> ConnectionToken? {
    guard let source = token else { return nil }
    let text = try source.text(for: "token")
    do throws(TokenError) {
      let token = try ConnectionToken(decoding: text)
      guard isHost(token.host) else { throw .badHost(.notPrintable) }
      return token
    } catch {
      throw ConfigurationError(key: source.key("token"), reason: error.description)
    }
  }

  private func givenSecret() throws(ConfigurationError) -> Secret? {
    guard let source = secret else { return nil }
    let text = try source.text(for: "secret")
    do throws(CredentialFault) {
      return try Secret(text)
    } catch {
      throw ConfigurationError(key: source.key("secret"), reason: "the secret \(error)")
    }
  }

  /// SPEC 4.5: a pin, else authorities, else the first certificate seen.
  private func trust(tokenPin: String?) throws(ConfigurationError) -> HubTrustSettings {
    let pin = hubPin ?? tokenPin
    if insecure {
      guard pin == nil, hubCaFile == nil else {
        throw ConfigurationError(
          key: "insecure", reason: "contradicts \(pin == nil ? "hubCaFile" : "the hub's pin")")
      }
      return .insecure
    }
    if let pin {
      guard let bytes = pinBytes(pin) else {
        throw ConfigurationError(
          key: hubPin == nil ? "token" : "hubPin", reason: "the pin must be \(pinRule)")
      }
      return .pin(bytes)
    }
    guard let hubCaFile else { return .firstUse }
    return .authorities(caFile: hubCaFile == "system" ? nil : hubCaFile)
  }
}
