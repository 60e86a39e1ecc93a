// Whether a stream that an edge opens is one it may open, and where it goes (SPEC 4.1).

import RIBase
import RIWire

/// Why the hub refuses a stream.
public enum AdmissionError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The header is not one PROXY v1 line, or not one PROXY v2 header of a session.
  case badHeader
  /// The destination port is none of this edge's ports.
  case foreignPort(Port)

  public var description: String {
    switch self {
    case .badHeader: "malformed PROXY header"
    case .foreignPort(let port): "port \(port) is not this edge's"
    }
  }
}

/// Where a stream goes.
public struct TargetAddress: Hashable, Sendable {
  /// A name or an address.
  public var host: String
  public var port: Port
  public var proxyProtocol: ProxyProtocolVersion

  public init(host: String, port: Port, proxyProtocol: ProxyProtocolVersion = .v1) {
    self.host = host
    self.port = port
    self.proxyProtocol = proxyProtocol
  }
}

/// Judges the payload of an OPEN from `edge`.
public func admitStream(
  header bytes: UnsafeRawBufferPointer, edge: AllowedEdge, settings: HubSettings
) -> Result<(header: ProxyHeader, target: TargetAddress), AdmissionError> {
  guard let header = try? ProxyHeader(parsingV1: bytes) else { return .failure(.badHeader) }
  let port = header.destination.port
  guard edge.listenPorts.contains(port) else { return .failure(.foreignPort(port)) }
  let rule = settings.targets.first { $0.port == port && $0.transport == .tcp }
  let target = TargetAddress(
    host: rule?.host ?? settings.targetHost, port: rule?.targetPort ?? port,
    proxyProtocol: rule?.proxyProtocol ?? .v1)
  return .success((header, target))
}

/// Where a UDP session goes.
public struct SessionTarget: Hashable, Sendable {
  /// A name or an address.
  public var host: String
  public var port: Port
  /// Which datagrams carry a header.
  public var proxyHeader: UDPProxyHeader
}

/// Judges the payload of a UDP_OPEN from `edge`.
public func admitSession(
  header bytes: UnsafeRawBufferPointer, edge: AllowedEdge, settings: HubSettings
) -> Result<(header: ProxyHeader, target: SessionTarget), AdmissionError> {
  guard let header = try? ProxyHeader(parsingV2: bytes, transport: .datagram) else {
    return .failure(.badHeader)
  }
  let port = header.destination.port
  guard edge.listenPortsUdp.contains(port) else { return .failure(.foreignPort(port)) }
  let rule = settings.targets.first { $0.port == port && $0.transport == .udp }
  let target = SessionTarget(
    host: rule?.host ?? settings.targetHost, port: rule?.targetPort ?? port,
    proxyHeader: rule?.udpProxyHeader ?? .first)
  return .success((header, target))
}
