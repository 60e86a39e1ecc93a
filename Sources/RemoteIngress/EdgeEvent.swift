// What happens at an edge, as its owner hears of it (SPEC 9).

import RIBase
import RIControl
import RIWire

public typealias FirewallStatus = RIControl.FirewallStatus
public typealias TransportProtocol = RIBase.TransportProtocol

/// Something that happened at an edge. Encoded as an object with one member: `name` and its `data`.
public enum EdgeEvent: NamedEvent {
  case tunnelConnected(TunnelConnected)
  case tunnelDisconnected(TunnelDisconnected)
  case publicIpDiscovered(PublicIpDiscovered)
  /// The ports that a new tunnel brings.
  case portsAssigned(Ports)
  /// The hub has changed the ports.
  case portsUpdated(Ports)
  /// A port cannot be listened on; it is tried again.
  case listenerFailed(ListenerFailed)
  /// What the hub asks of the firewall is in force, or is not, with the reason.
  case firewallConfigUpdated(FirewallStatus)
  /// The engine had died and is back.
  case crashRecovered(CrashRecovered)
  /// The engine died again and again, and is given up.
  case crashRecoveryFailed(CrashRecoveryFailed)

  /// The names of SPEC 9, and that of 4.2's event.
  public enum Name: String, CodingKey, CaseIterable, Sendable {
    case tunnelConnected, tunnelDisconnected, publicIpDiscovered, portsAssigned, portsUpdated
    case listenerFailed, firewallConfigUpdated, crashRecovered, crashRecoveryFailed
  }

  public struct TunnelConnected: Codable, Equatable, Sendable {
    /// The hub's address and port.
    public var hub: String
    public var transport: TunnelTransport
    /// The cipher suite.
    public var cipher: String

    public init(hub: String, transport: TunnelTransport, cipher: String) {
      self.hub = hub
      self.transport = transport
      self.cipher = cipher
    }
  }

  /// There is no tunnel: it has ended, or an attempt to make one has failed.
  public struct TunnelDisconnected: Codable, Equatable, Sendable {
    /// One line.
    public var reason: String
    /// When the next attempt will be made.
    public var retryInSeconds: Double

    public init(reason: String, retryInSeconds: Double) {
      self.reason = reason
      self.retryInSeconds = retryInSeconds
    }
  }

  public struct PublicIpDiscovered: Codable, Equatable, Sendable {
    public var publicIp: String

    public init(publicIp: String) { self.publicIp = publicIp }
  }

  public struct Ports: Codable, Equatable, Sendable {
    public var listenPorts: [Port]
    public var listenPortsUdp: [Port]

    public init(listenPorts: [Port], listenPortsUdp: [Port]) {
      self.listenPorts = listenPorts
      self.listenPortsUdp = listenPortsUdp
    }
  }

  public struct ListenerFailed: Codable, Equatable, Sendable {
    public var port: Port
    public var `protocol`: TransportProtocol
    public var address: String
    public var error: String

    public init(port: Port, protocol: TransportProtocol, address: String, error: String) {
      self.port = port
      self.protocol = `protocol`
      self.address = address
      self.error = error
    }
  }

  public var key: Name {
    switch self {
    case .tunnelConnected: .tunnelConnected
    case .tunnelDisconnected: .tunnelDisconnected
    case .publicIpDiscovered: .publicIpDiscovered
    case .portsAssigned: .portsAssigned
    case .portsUpdated: .portsUpdated
    case .listenerFailed: .listenerFailed
    case .firewallConfigUpdated: .firewallConfigUpdated
    case .crashRecovered: .crashRecovered
    case .crashRecoveryFailed: .crashRecoveryFailed
    }
  }

  public var payload: any Encodable {
    switch self {
    case .tunnelConnected(let data): data
    case .tunnelDisconnected(let data): data
    case .publicIpDiscovered(let data): data
    case .portsAssigned(let data), .portsUpdated(let data): data
    case .listenerFailed(let data): data
    case .firewallConfigUpdated(let data): data
    case .crashRecovered(let data): data
    case .crashRecoveryFailed(let data): data
    }
  }

  public init(_ name: Name, from members: KeyedDecodingContainer<Name>) throws {
    self =
      switch name {
      case .tunnelConnected: .tunnelConnected(try members.value(name))
      case .tunnelDisconnected: .tunnelDisconnected(try members.value(name))
      case .publicIpDiscovered: .publicIpDiscovered(try members.value(name))
      case .portsAssigned: .portsAssigned(try members.value(name))
      case .portsUpdated: .portsUpdated(try members.value(name))
      case .listenerFailed: .listenerFailed(try members.value(name))
      case .firewallConfigUpdated: .firewallConfigUpdated(try members.value(name))
      case .crashRecovered: .crashRecovered(try members.value(name))
      case .crashRecoveryFailed: .crashRecoveryFailed(try members.value(name))
      }
  }
}
