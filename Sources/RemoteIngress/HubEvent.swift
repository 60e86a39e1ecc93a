// What happens at a hub, as its owner hears of it (SPEC 9).

import RIControl
import RIWire

public typealias TunnelTransport = RIControl.TunnelTransport

/// Something that happened at a hub. Encoded as an object with one member: `name` and its `data`.
public enum HubEvent: NamedEvent {
  case edgeConnected(EdgeConnected)
  case edgeDisconnected(EdgeDisconnected)
  case streamOpened(StreamOpened)
  case streamClosed(StreamClosed)
  /// The engine had died and is back.
  case crashRecovered(CrashRecovered)
  /// The engine died again and again, and is given up.
  case crashRecoveryFailed(CrashRecoveryFailed)

  /// The names of SPEC 9.
  public enum Name: String, CodingKey, CaseIterable, Sendable {
    case edgeConnected, edgeDisconnected, streamOpened, streamClosed, crashRecovered
    case crashRecoveryFailed
  }

  public struct EdgeConnected: Codable, Equatable, Sendable {
    public var edgeId: String
    /// The edge's address and port.
    public var address: String
    public var transport: TunnelTransport

    public init(edgeId: String, address: String, transport: TunnelTransport) {
      self.edgeId = edgeId
      self.address = address
      self.transport = transport
    }
  }

  public struct EdgeDisconnected: Codable, Equatable, Sendable {
    public var edgeId: String
    public var address: String
    /// One line.
    public var reason: String

    public init(edgeId: String, address: String, reason: String) {
      self.edgeId = edgeId
      self.address = address
      self.reason = reason
    }
  }

  /// A client's TCP connection came through an edge and was accepted.
  public struct StreamOpened: Codable, Equatable, Sendable {
    /// Names the stream until it is closed; of this engine.
    public var id: UInt64
    public var edgeId: String
    /// The client's address and port.
    public var source: String
    /// The edge's address and port that the client connected to.
    public var destination: String

    public init(id: UInt64, edgeId: String, source: String, destination: String) {
      self.id = id
      self.edgeId = edgeId
      self.source = source
      self.destination = destination
    }
  }

  public struct StreamClosed: Codable, Equatable, Sendable {
    /// As in `streamOpened`.
    public var id: UInt64
    public var edgeId: String
    public var seconds: Double
    /// Both directions ended; else it was reset.
    public var isComplete: Bool

    public init(id: UInt64, edgeId: String, seconds: Double, isComplete: Bool) {
      self.id = id
      self.edgeId = edgeId
      self.seconds = seconds
      self.isComplete = isComplete
    }
  }

  public var key: Name {
    switch self {
    case .edgeConnected: .edgeConnected
    case .edgeDisconnected: .edgeDisconnected
    case .streamOpened: .streamOpened
    case .streamClosed: .streamClosed
    case .crashRecovered: .crashRecovered
    case .crashRecoveryFailed: .crashRecoveryFailed
    }
  }

  public var payload: any Encodable {
    switch self {
    case .edgeConnected(let data): data
    case .edgeDisconnected(let data): data
    case .streamOpened(let data): data
    case .streamClosed(let data): data
    case .crashRecovered(let data): data
    case .crashRecoveryFailed(let data): data
    }
  }

  public init(_ name: Name, from members: KeyedDecodingContainer<Name>) throws {
    self =
      switch name {
      case .edgeConnected: .edgeConnected(try members.value(name))
      case .edgeDisconnected: .edgeDisconnected(try members.value(name))
      case .streamOpened: .streamOpened(try members.value(name))
      case .streamClosed: .streamClosed(try members.value(name))
      case .crashRecovered: .crashRecovered(try members.value(name))
      case .crashRecoveryFailed: .crashRecoveryFailed(try members.value(name))
      }
  }

  /// Whether it is one of those that come with every connection of a client.
  public var isOfStream: Bool { key == .streamOpened || key == .streamClosed }
}
