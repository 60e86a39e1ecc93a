// An edge, to be run from Swift: its engine is a child process (SPEC 9).

import RIControl
import RIWire

/// An edge.
///
/// `start` returns when its engine runs and dials the hub; `tunnelConnected` tells of its success.
/// An engine that dies is replaced.
public final class RemoteIngressEdge: Sendable {
  private let broadcaster = EventBroadcaster<EdgeEvent>()

  /// `executable`: where the `remoteingress` program is, which the engine is a part of. `log` is
  /// handed what the engine and its supervision have to say.
  public init(
    executable: EngineExecutable = .automatic,
    log: @escaping @Sendable (LogRecord) -> Void = { _ in }
  ) {}

  /// Starts the edge.
  public func start(
    _ configuration: EdgeConfiguration
  ) async throws(RemoteIngressError) { throw .notRunning }

  /// Starts an edge that knows its hub from a connection token.
  public func start(token: String) async throws(RemoteIngressError) { throw .notRunning }

  /// Stops the edge: no new streams; the live ones get `drain` to end in. At once by default, and
  /// when it is called again. Returns when nothing is left of the engine.
  public func stop(drain: Duration = .zero) async {}

  public func status() async -> EdgeStatus { EdgeStatus() }

  /// The engine's own status, shard by shard; nil while none runs.
  public func engineStatus() async -> EngineStatus? { nil }

  /// Started and neither stopped nor given up; also while a dead engine is being replaced.
  public var isRunning: Bool { false }

  /// A new listener's events from now on.
  public var events: EventSequence<EdgeEvent> { broadcaster.subscribe() }
}
