// Where the admin HTTP listens and whom it answers: `admin` of a configuration, checked (SPEC 8).

import RIBase
import RIWire

/// What the admin HTTP goes by. Never shows the token.
public struct AdminSettings: Equatable, Sendable {
  /// A host name or an address.
  public var host: String
  /// 0: any that is free.
  public var port: Port
  /// Asked of whoever wants to see or change something; a must beyond loopback.
  public var token: Secret?
  /// Nobody asked for this address: that it cannot be had stops nothing.
  public var isDefault: Bool

  public init(host: String, port: Port, token: Secret? = nil, isDefault: Bool = false) {
    self.host = host
    self.port = port
    self.token = token
    self.isDefault = isDefault
  }

  /// `host:port`
  public var address: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

  /// Whether only this machine can reach it.
  public var isLoopback: Bool { RemoteIngress.isLoopback(host) }
}

extension AdminConfiguration {
  /// The value of `listen` that switches the admin HTTP off.
  public static let off = "none"

  /// Reads the token; nil when it is switched off.
  func settings(isDefault: Bool) throws(ConfigurationError) -> AdminSettings? {
    guard listen != Self.off else { return nil }
    guard let endpoint = Endpoint(listen) else {
      throw ConfigurationError(key: "admin.listen", reason: "must be a host and a port, or none")
    }
    var settings = AdminSettings(host: endpoint.host, port: endpoint.port, isDefault: isDefault)
    if let token {
      let text = try token.text(for: "admin.token")
      let key = token.key("admin.token")
      guard !text.isEmpty else { throw ConfigurationError(key: key, reason: "holds no token") }
      guard let secret = try? Secret(text) else {
        throw ConfigurationError(key: key, reason: "the token must be \(secretRule)")
      }
      settings.token = secret
    } else if !settings.isLoopback {
      throw ConfigurationError(
        key: "admin.listen",
        reason: "\(endpoint.host) is not loopback: admin.token or admin.tokenFile must be given")
    }
    return settings
  }
}

extension CommonConfiguration {
  /// Where the admin HTTP is to listen, with the token read from its file; nil when it is switched
  /// off.
  public func adminSettings() throws(ConfigurationError) -> AdminSettings? {
    try (admin ?? AdminConfiguration(listen: Self.adminListenDefault))
      .settings(isDefault: admin == nil)
  }
}

extension ValueKind where Value == String {
  /// `host:port`, or what switches it off.
  static var adminListen: ValueKind {
    .scalar("HOST:PORT", "a host and a port, as in 127.0.0.1:9180 or [::1]:9180, or none") {
      Endpoint($0) == nil && $0 != AdminConfiguration.off ? nil : $0
    }
  }
}

private func isLoopback(_ host: String) -> Bool {
  guard let address = IPAddress(parsing: host) else { return host == "localhost" }
  return address == .loopbackV6 || address.family == .v4 && address.v4 >> 24 == 127
}
