// A hub, to be run from Swift: its engine is a child process (SPEC 9).

import RIControl

/// A hub.
///
/// `start` returns when edges can connect. Events come from `events`, a look from `status()`. An
/// engine that dies is replaced, with the edges of the last `updateAllowedEdges`.
public final class RemoteIngressHub: Sendable {
  private let broadcaster = EventBroadcaster<HubEvent>()

  /// `executable`: where the `remoteingress` program is, which the engine is a part of. `log` is
  /// handed what the engine and its supervision have to say.
  public init(
    executable: EngineExecutable = .automatic,
    log: @escaping @Sendable (LogRecord) -> Void = { _ in }
  ) {}

  /// Starts the hub, and returns when it accepts edges.
  public func start(
    _ configuration: HubConfiguration
  ) async throws(RemoteIngressError) { throw .notRunning }

  /// Stops the hub: no new streams; the live ones get `drain` to end in. At once by default, and
  /// when it is called again. Returns when nothing is left of the engine.
  public func stop(drain: Duration = .zero) async {}

  /// Replaces the edges that may connect: who is not among them any more, or has another secret, is
  /// disconnected; changed ports, STUN intervals and firewalls are pushed at once; nothing else is
  /// touched.
  ///
  /// While the engine is being replaced, the next one gets them. Throws what is wrong with one of
  /// them: then nothing changes.
  public func updateAllowedEdges(
    _ edges: [AllowedEdge]
  ) async throws(RemoteIngressError) { throw .notRunning }

  public func status() async -> HubStatus { HubStatus() }

  /// The engine's own status, shard by shard; nil while none runs.
  public func engineStatus() async -> EngineStatus? { nil }

  /// Started and neither stopped nor given up; also while a dead engine is being replaced.
  public var isRunning: Bool { false }

  /// A new listener's events from now on. Those of streams are made only while someone listens.
  public var events: EventSequence<HubEvent> { broadcaster.subscribe() }

  /// The same without `streamOpened` and `streamClosed`, which cost something at each connection.
  public var eventsWithoutStreams: EventSequence<HubEvent> {
    broadcaster.subscribe(wantsStreams: false) { !$0.isOfStream }
  }
}
