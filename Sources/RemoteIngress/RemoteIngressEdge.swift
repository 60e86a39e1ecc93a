// An edge, to be run from Swift: its engine is a child process (SPEC 9).

import RIControl
import RIWire
import Synchronization

/// An edge.
///
/// `start` returns when its engine runs and dials the hub; `tunnelConnected` tells of its success.
/// An engine that dies is replaced. An edge that is let go of without `stop` ends at once.
public final class RemoteIngressEdge: Sendable {
  private let owner: EngineOwner<EdgeEvent>
  private let edgeID = Mutex<String?>(nil)

  /// `executable`: where the `remoteingress` program is, which the engine is a part of. `log` is
  /// handed what the engine and its supervision have to say, on a thread of theirs.
  public init(
    executable: EngineExecutable = .automatic,
    log: @escaping @Sendable (LogRecord) -> Void = { _ in }
  ) {
    owner = EngineOwner(executable, RecoveryPolicy(), log)
  }

  package init(
    executable: EngineExecutable, recovery: RecoveryPolicy,
    log: @escaping @Sendable (LogRecord) -> Void
  ) {
    owner = EngineOwner(executable, recovery, log)
  }

  /// Starts the edge.
  public func start(_ configuration: EdgeConfiguration) async throws(RemoteIngressError) {
    let settings: EdgeSettings
    do throws(ConfigurationError) {
      settings = try configuration.settings()
    } catch {
      throw .configuration(error)
    }
    try await start(settings)
  }

  /// Starts an edge that knows its hub from a connection token.
  public func start(token: String) async throws(RemoteIngressError) {
    do throws(TokenError) {
      _ = try ConnectionToken(decoding: token)
    } catch {
      throw .token(error)
    }
    var configuration = EdgeConfiguration()
    configuration.token = .text(token)
    try await start(configuration)
  }

  package func start(_ settings: EdgeSettings) async throws(RemoteIngressError) {
    try await owner.start(.edge(settings))
    edgeID.withLock { $0 = settings.edgeID }
  }

  /// Stops the edge: no new streams; the live ones get `drain` to end in. At once by default, and
  /// when it is called again. Returns when nothing is left of the engine.
  public func stop(drain: Duration = .zero) async { await owner.stop(drain: drain) }

  public func status() async -> EdgeStatus {
    let engine = await engineStatus()
    var status = EdgeStatus(engine, owner.process)
    status.running = isRunning
    status.edgeId = edgeID.withLock { $0 }
    return status
  }

  /// The engine's own status, shard by shard; nil while none runs.
  public func engineStatus() async -> EngineStatus? { await owner.running?.engineStatus() }

  /// Started and neither stopped nor given up; also while a dead engine is being replaced.
  public var isRunning: Bool { owner.running != nil }

  /// A new listener's events from now on.
  public var events: EventSequence<EdgeEvent> { owner.broadcaster.subscribe() }
}
