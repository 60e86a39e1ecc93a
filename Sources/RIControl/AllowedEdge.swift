// An edge that a hub lets in, and what it is to do.

import RIBase
import RIWire

/// One edge of a hub's configuration.
public struct AllowedEdge: Codable, Equatable, Sendable {
  /// 1 to 128 printable ASCII characters without spaces.
  public var id: String
  public var secret: Secret
  public var listenPorts: [Port]
  public var listenPortsUdp: [Port]
  /// 0: never asks.
  public var stunIntervalSecs: Int
  /// Handed to the edge as it is.
  public var firewallConfig: JSONValue?

  public init(
    id: String, secret: Secret, listenPorts: [Port] = [], listenPortsUdp: [Port] = [],
    stunIntervalSecs: Int = 300, firewallConfig: JSONValue? = nil
  ) {
    self.id = id
    self.secret = secret
    self.listenPorts = listenPorts
    self.listenPortsUdp = listenPortsUdp
    self.stunIntervalSecs = stunIntervalSecs
    self.firewallConfig = firewallConfig
  }

  /// What the hub tells this edge, after the handshake and at every change.
  public func message(offering extensions: Extensions) -> EdgeConfigMessage {
    EdgeConfigMessage(
      listenPorts: listenPorts, listenPortsUdp: listenPortsUdp,
      stunIntervalSecs: stunIntervalSecs, firewallConfig: firewallConfig,
      extensions: extensions.names)
  }

  /// What a hub that drains tells this edge. One that knows no better is told to close its ports:
  /// it keeps the connections that it has accepted.
  public func drainingMessage(
    offering extensions: Extensions, inForce: Extensions
  ) -> EdgeConfigMessage {
    var message = message(offering: extensions)
    if inForce.contains(.drain) {
      message.draining = true
    } else {
      message.listenPorts = []
      message.listenPortsUdp = []
    }
    return message
  }
}
