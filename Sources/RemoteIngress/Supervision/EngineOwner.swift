// What a hub and an edge have in common: one engine at a time, and who hears of its events.

import Synchronization

/// Holds the supervisor of the engine that was started last.
final class EngineOwner<Event: NamedEvent>: Sendable {
  private struct Current {
    var supervisor: EngineSupervisor?
    var ready: EngineMessage.Ready?
  }

  private final class Slot: Sendable {
    let current = Mutex(Current())
  }

  let broadcaster: EventBroadcaster<Event>
  private let slot = Slot()
  private let executable: EngineExecutable
  private let recovery: RecoveryPolicy
  private let log: @Sendable (LogRecord) -> Void

  init(
    _ executable: EngineExecutable, _ recovery: RecoveryPolicy,
    _ log: @escaping @Sendable (LogRecord) -> Void
  ) {
    self.executable = executable
    self.recovery = recovery
    self.log = log
    let slot = slot
    broadcaster = EventBroadcaster { isWanted in
      slot.current.withLock { $0.supervisor }?.watchStreams(isWanted)
    }
  }

  deinit { slot.current.withLock { $0.supervisor }?.abandon() }

  func start(_ start: EngineRequest.Start) async throws(RemoteIngressError) {
    let environment = environmentVariables()
    let launch = EngineLaunch(
      executable: try executable.resolved(environment),
      environment: engineEnvironment(environment), start: start, policy: recovery)
    let supervisor = EngineSupervisor(launch, reports)
    let isFree = slot.current.withLock { current in
      if let other = current.supervisor, other.isRunning { return false }
      supervisor.begin()
      current = Current(supervisor: supervisor)
      return true
    }
    guard isFree else { throw .alreadyRunning }
    if broadcaster.hasStreamListeners { supervisor.watchStreams(true) }
    let ready = try await supervisor.start()
    slot.current.withLock { current in
      if current.supervisor === supervisor { current.ready = ready }
    }
  }

  /// Events go to who listens; the supervisor's own are events of the same kind.
  private var reports: SupervisorReports {
    let broadcaster = broadcaster
    return SupervisorReports(
      log: log,
      message: { message in
        switch message {
        case .hub(let event as Event): broadcaster.send(event)
        case .edge(let event as Event): broadcaster.send(event)
        case .lost(let count): broadcaster.addLost(count)
        default: break
        }
      },
      recovered: { broadcaster.send(.crashRecovered($0)) },
      recoveryFailed: { broadcaster.send(.crashRecoveryFailed($0)) })
  }

  func stop(drain: Duration) async {
    await slot.current.withLock { $0.supervisor }?.stop(drain: drain)
  }

  /// The supervisor, while it has an engine or is about to.
  var running: EngineSupervisor? {
    slot.current.withLock { $0.supervisor }.flatMap { $0.isRunning ? $0 : nil }
  }

  var ready: EngineMessage.Ready? { slot.current.withLock { $0.ready } }

  var process: EngineProcessStatus {
    slot.current.withLock { $0.supervisor }?.status ?? EngineProcessStatus()
  }
}
