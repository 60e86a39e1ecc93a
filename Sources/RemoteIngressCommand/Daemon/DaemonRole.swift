// The two things that a daemon can be.

import RIAdmin
import RIControl
import RemoteIngress

/// A hub or an edge, as far as a daemon has to do with it.
protocol DaemonRole: Sendable {
  associatedtype Configuration: ReloadableConfiguration

  init(log: @escaping @Sendable (LogRecord) -> Void)
  static func load(
    _ source: ConfigurationSource
  ) throws(ConfigurationError) -> LoadedConfiguration<Configuration>

  func start(_ settings: Configuration.Settings) async throws(RemoteIngressError)
  /// Does what can be done to one that runs.
  func apply(_ settings: Configuration.Settings) async throws(RemoteIngressError)
  func stop(drain: Duration) async
  func engineStatus() async -> EngineStatus?
  /// What the admin HTTP shows.
  var adminSource: any AdminSource { get }
  var isRunning: Bool { get }
  /// One line for systemd.
  func summary() async -> String
  /// Calls `gaveUp` when the engine is given up.
  func watchRecovery(gaveUp: @escaping @Sendable (String) -> Void)
}

struct HubDaemon: DaemonRole {
  let hub: RemoteIngressHub

  init(log: @escaping @Sendable (LogRecord) -> Void) {
    hub = RemoteIngressHub(executable: .running, log: log)
  }

  static func load(
    _ source: ConfigurationSource
  ) throws(ConfigurationError) -> LoadedConfiguration<HubConfiguration> { try source.hub() }

  func start(_ settings: HubSettings) async throws(RemoteIngressError) {
    try await hub.start(settings)
  }

  func apply(_ settings: HubSettings) async throws(RemoteIngressError) {
    try await hub.updateAllowedEdges(settings.allowedEdges)
  }

  func stop(drain: Duration) async { await hub.stop(drain: drain) }

  func engineStatus() async -> EngineStatus? { await hub.engineStatus() }

  var adminSource: any AdminSource { hub }

  var isRunning: Bool { hub.isRunning }

  func summary() async -> String {
    let status = await hub.status()
    return "\(status.connectedEdges.count) edges, \(status.activeStreams) streams, "
      + "\(status.udpSessions) UDP sessions"
  }

  func watchRecovery(gaveUp: @escaping @Sendable (String) -> Void) {
    let events = hub.eventsWithoutStreams
    Task {
      for await case .crashRecoveryFailed(let failure) in events { gaveUp(failure.reason) }
    }
  }
}

struct EdgeDaemon: DaemonRole {
  let edge: RemoteIngressEdge

  init(log: @escaping @Sendable (LogRecord) -> Void) {
    edge = RemoteIngressEdge(executable: .running, log: log)
  }

  static func load(
    _ source: ConfigurationSource
  ) throws(ConfigurationError) -> LoadedConfiguration<EdgeConfiguration> { try source.edge() }

  func start(_ settings: EdgeSettings) async throws(RemoteIngressError) {
    try await edge.start(settings)
  }

  func apply(_ settings: EdgeSettings) async throws(RemoteIngressError) {}

  func stop(drain: Duration) async { await edge.stop(drain: drain) }

  func engineStatus() async -> EngineStatus? { await edge.engineStatus() }

  var adminSource: any AdminSource { edge }

  var isRunning: Bool { edge.isRunning }

  func summary() async -> String {
    let status = await edge.status()
    return status.connected
      ? "\(status.activeStreams) streams, \(status.udpSessions) UDP sessions" : "no tunnel"
  }

  func watchRecovery(gaveUp: @escaping @Sendable (String) -> Void) {
    let events = edge.events
    Task {
      for await case .crashRecoveryFailed(let failure) in events { gaveUp(failure.reason) }
    }
  }
}
