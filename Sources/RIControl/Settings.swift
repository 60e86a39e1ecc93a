// What the engine is told: checked, complete, and the same whether it came from a file, flags or
// code.

import RIBase
import RIWire

/// What a target wants to be told about the client of a TCP stream.
public enum ProxyProtocolVersion: String, Codable, CaseIterable, Sendable { case v1, v2, none }

/// Which datagrams of a UDP session carry a PROXY v2 header.
public enum UDPProxyHeader: String, Codable, CaseIterable, Sendable { case first, every, none }

/// Where the traffic of one port goes, other than to `targetHost` and the same port.
public struct TargetRule: Codable, Equatable, Sendable {
  /// The port of the edge that clients connect to.
  public var port: Port
  public var transport: TransportProtocol
  /// nil: the hub's `targetHost`.
  public var host: String?
  /// nil: `port`.
  public var targetPort: Port?
  public var proxyProtocol: ProxyProtocolVersion
  public var udpProxyHeader: UDPProxyHeader

  public init(
    port: Port, transport: TransportProtocol = .tcp, host: String? = nil, targetPort: Port? = nil,
    proxyProtocol: ProxyProtocolVersion = .v1, udpProxyHeader: UDPProxyHeader = .first
  ) {
    self.port = port
    self.transport = transport
    self.host = host
    self.targetPort = targetPort
    self.proxyProtocol = proxyProtocol
    self.udpProxyHeader = udpProxyHeader
  }
}

/// The certificate a hub shows.
public enum HubCertificate: Codable, Equatable, Sendable, CustomStringConvertible,
  CustomReflectable
{
  case pem(certificate: String, key: String)
  /// Made at the first start and kept in the state directory.
  case selfSigned

  /// Never shows the key.
  public var description: String {
    switch self {
    case .pem: "given"
    case .selfSigned: "self-signed"
    }
  }

  public var customMirror: Mirror { Mirror(self, children: []) }
}

/// How an edge knows its hub (SPEC 4.5).
public enum HubTrustSettings: Codable, Equatable, Sendable {
  /// SHA-256 of the hub's SubjectPublicKeyInfo, 32 bytes.
  case pin([UInt8])
  /// PEM file of the trusted authorities; nil: those of the system. The host name is checked.
  case authorities(caFile: String?)
  /// Trusts the first certificate it sees and remembers it in the state directory.
  case firstUse
  /// Trusts whoever answers.
  case insecure
}

/// How an edge reaches its hub (SPEC 3).
public enum TransportMode: String, Codable, CaseIterable, Sendable {
  case tcpTls, quic, quicWithFallback
}

/// What the settings of hub and edge have in common.
public protocol EngineSettings: Codable, Equatable, Sendable {
  /// nil: one per core.
  var shards: Int? { get set }
  /// All bytes that an engine may hold for stalled streams.
  var memoryBudgetBytes: Int { get set }
  var udpIdleSeconds: Int { get set }
  var udpSessionsMax: Int { get set }
  /// What live streams get to end in at a stop.
  var drainSeconds: Int { get set }
  /// nil: nothing is remembered over a restart.
  var stateDirectory: String? { get set }
}

/// Everything a hub's engine needs.
public struct HubSettings: EngineSettings {
  public var tunnelPort: Port = 8443
  /// nil: all addresses, IPv4 and IPv6.
  public var bindAddress: IPAddress?
  public var targetHost = "127.0.0.1"
  public var certificate = HubCertificate.selfSigned
  public var allowedEdges: [AllowedEdge] = []
  public var targets: [TargetRule] = []
  public var shards: Int?
  public var memoryBudgetBytes = Limits.memoryBudgetBytesDefault
  public var udpIdleSeconds = 60
  public var udpSessionsMax = 65_536
  public var drainSeconds = 30
  public var stateDirectory: String?

  public init() {}
}

/// Everything an edge's engine needs.
public struct EdgeSettings: EngineSettings {
  /// A name or an address.
  public var hubHost: String
  public var hubPort: Port = 8443
  public var edgeID: String
  public var secret: Secret
  /// Where clients are listened for; nil: all addresses, IPv4 and IPv6.
  public var bindAddress: IPAddress?
  public var transportMode = TransportMode.tcpTls
  public var trust = HubTrustSettings.firstUse
  /// `host:port`
  public var stunServer = "stun.cloudflare.com:3478"
  public var shards: Int?
  public var memoryBudgetBytes = Limits.memoryBudgetBytesDefault
  public var udpIdleSeconds = 60
  public var udpSessionsMax = 65_536
  public var drainSeconds = 30
  public var stateDirectory: String?

  public init(hubHost: String, edgeID: String, secret: Secret) {
    self.hubHost = hubHost
    self.edgeID = edgeID
    self.secret = secret
  }
}

/// Addresses cross process borders as text.
extension IPAddress: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let address = IPAddress(parsing: try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an IP address")
    }
    self = address
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
