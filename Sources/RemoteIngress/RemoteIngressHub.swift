// A hub, to be run from Swift: its engine is a child process (SPEC 9).

import RIBase
import RIControl
import RIWire

/// A hub.
///
/// `start` returns when edges can connect. Events come from `events`, a look from `status()`. An
/// engine that dies is replaced, with the edges of the last `updateAllowedEdges`. A hub that is let
/// go of without `stop` ends at once.
public final class RemoteIngressHub: Sendable {
  private let owner: EngineOwner<HubEvent>

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

  /// Starts the hub, and returns when it accepts edges.
  public func start(_ configuration: HubConfiguration) async throws(RemoteIngressError) {
    let settings: HubSettings
    do throws(ConfigurationError) {
      settings = try configuration.settings()
    } catch {
      throw .configuration(error)
    }
    try await start(settings)
  }

  package func start(_ settings: HubSettings) async throws(RemoteIngressError) {
    try check(settings.allowedEdges)
    try await owner.start(.hub(settings))
  }

  /// Stops the hub: no new streams; the live ones get `drain` to end in. At once by default, and
  /// when it is called again. Returns when nothing is left of the engine.
  public func stop(drain: Duration = .zero) async { await owner.stop(drain: drain) }

  /// Replaces the edges that may connect: who is not among them any more, or has another secret, is
  /// disconnected; changed ports, STUN intervals and firewalls are pushed at once; nothing else is
  /// touched.
  ///
  /// While the engine is being replaced, the next one gets them. Throws what is wrong with one of
  /// them: then nothing changes.
  public func updateAllowedEdges(_ edges: [AllowedEdge]) async throws(RemoteIngressError) {
    try check(edges)
    guard let supervisor = owner.running else { throw .notRunning }
    try await supervisor.updateAllowedEdges(edges)
  }

  private func check(_ edges: [AllowedEdge]) throws(RemoteIngressError) {
    do throws(AllowedEdgeFault) {
      try AllowedEdges.check(edges)
    } catch {
      throw .allowedEdges("\(error)")
    }
  }

  public func status() async -> HubStatus {
    let engine = await engineStatus()
    var status = HubStatus(engine, owner.process)
    status.running = isRunning
    if status.running, let ready = owner.ready {
      status.tunnelPort = ready.tunnelPort
      status.pin = ready.pin
    }
    return status
  }

  /// The engine's own status, shard by shard; nil while none runs.
  public func engineStatus() async -> EngineStatus? { await owner.running?.engineStatus() }

  /// Started and neither stopped nor given up; also while a dead engine is being replaced.
  public var isRunning: Bool { owner.running != nil }

  /// A new listener's events from now on. Those of streams are made only while someone listens.
  public var events: EventSequence<HubEvent> { owner.broadcaster.subscribe() }

  /// The same without `streamOpened` and `streamClosed`, which cost something at each connection.
  public var eventsWithoutStreams: EventSequence<HubEvent> {
    owner.broadcaster.subscribe(wantsStreams: false) { !$0.isOfStream }
  }
}
