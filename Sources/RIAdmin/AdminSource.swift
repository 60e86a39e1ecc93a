// What the admin HTTP shows and changes: a hub or an edge, as it sees them.

import RIControl
import RemoteIngress

/// A look at a hub or an edge, for metrics and readiness.
public struct AdminSnapshot: Sendable {
  public var role: EngineStatus.Role
  /// The status of SPEC 9 as JSON.
  public var json: String
  /// Hub: edges can connect; edge: a tunnel is up.
  public var isReady: Bool
  public var process: EngineProcessStatus
  public var tunnels: [LinkStatus]
  public var shards: [ShardStatus]
  /// An edge's.
  public var firewall: FirewallStatus?
  public var listeners: [ListenerStatus]

  public init(
    role: EngineStatus.Role, json: String = "{}", isReady: Bool = false,
    process: EngineProcessStatus = EngineProcessStatus(), tunnels: [LinkStatus] = [],
    shards: [ShardStatus] = [], firewall: FirewallStatus? = nil, listeners: [ListenerStatus] = []
  ) {
    self.role = role
    self.json = json
    self.isReady = isReady
    self.process = process
    self.tunnels = tunnels
    self.shards = shards
    self.firewall = firewall
    self.listeners = listeners
  }
}

/// An event as it goes out.
public struct AdminEvent: Sendable {
  /// A name of SPEC 9.
  public var name: String
  /// JSON in one line.
  public var data: String
  /// Events that were lost before this one, since the start of the stream.
  public var lost: Int

  public init(name: String, data: String, lost: Int = 0) {
    self.name = name
    self.data = data
    self.lost = lost
  }
}

/// Events since it was made, for one listener.
public struct AdminSubscription: Sendable {
  /// Calls `body` with each event until it returns false, the task is cancelled or the source ends.
  public let forEach: @Sendable (_ body: Body) async -> Void

  public typealias Body = @Sendable (AdminEvent) -> Bool

  public init(_ forEach: @escaping @Sendable (_ body: Body) async -> Void) {
    self.forEach = forEach
  }

  init<Event: NamedEvent>(_ events: EventSequence<Event>) {
    self.init { body in
      for await event in events {
        let passed = AdminEvent(name: event.name, data: event.data, lost: events.lost)
        guard body(passed) else { return }
      }
    }
  }
}

/// A hub or an edge as the admin HTTP sees it.
public protocol AdminSource: Sendable {
  func snapshot() async -> AdminSnapshot

  /// The events from now on. Those of single streams come only if they are wanted: each costs
  /// something.
  func subscribe(withStreams: Bool) -> AdminSubscription

  /// Replaces the allowed edges; throws what is wrong, in one line. An edge has none.
  func replaceAllowedEdges(_ edges: [AllowedEdge]) async throws(AdminRefusal)
}

/// Why a list of edges was not taken.
public enum AdminRefusal: Error, Sendable {
  /// Something is wrong with it.
  case wrong(String)
  /// Not now: the hub is not running.
  case unavailable(String)
  /// An edge has no edges.
  case noHub
}

extension RemoteIngressHub: AdminSource {
  public func snapshot() async -> AdminSnapshot {
    let status = await status()
    let isServing = status.process.state == .running || status.process.state == .draining
    return AdminSnapshot(
      role: .hub, json: status.json, isReady: status.running && isServing,
      process: status.process, tunnels: status.connectedEdges, shards: status.shards)
  }

  public func subscribe(withStreams: Bool) -> AdminSubscription {
    AdminSubscription(withStreams ? events : eventsWithoutStreams)
  }

  public func replaceAllowedEdges(_ edges: [AllowedEdge]) async throws(AdminRefusal) {
    do throws(RemoteIngressError) {
      try await updateAllowedEdges(edges)
    } catch {
      switch error {
      case .allowedEdges(let reason): throw .wrong(reason)
      default: throw .unavailable("\(error)")
      }
    }
  }
}

extension RemoteIngressEdge: AdminSource {
  public func snapshot() async -> AdminSnapshot {
    let status = await status()
    return AdminSnapshot(
      role: .edge, json: status.json, isReady: status.running && status.connected,
      process: status.process, tunnels: status.tunnels, shards: status.shards,
      firewall: status.firewall, listeners: status.listeners)
  }

  public func subscribe(withStreams: Bool) -> AdminSubscription { AdminSubscription(events) }

  public func replaceAllowedEdges(_ edges: [AllowedEdge]) async throws(AdminRefusal) {
    throw .noHub
  }
}
