// Keeps an engine running: from outside. The loop on its thread is in SupervisorLoop.swift.

import RIBase
import RIControl
import Synchronization

/// What to run.
struct EngineLaunch: Sendable {
  var executable: String
  var environment: [String: String]
  var start: EngineRequest.Start
  var policy = RecoveryPolicy()
}

/// What a supervisor tells its owner, on the supervisor's thread.
struct SupervisorReports: Sendable {
  var log: @Sendable (LogRecord) -> Void
  /// An event of hub or edge, or how many were lost.
  var message: @Sendable (EngineMessage) -> Void
  var recovered: @Sendable (CrashRecovered) -> Void
  var recoveryFailed: @Sendable (CrashRecoveryFailed) -> Void
}

/// What a supervisor's thread is told. Each reply is called once.
enum SupervisorCommand: Sendable {
  case updateAllowedEdges([AllowedEdge], reply: @Sendable (RemoteIngressError?) -> Void)
  case status(reply: @Sendable (EngineStatus?) -> Void)
  case watchStreams(Bool)
  case stop(drain: Duration, reply: @Sendable () -> Void)
}

/// Starts an engine, replaces it when it dies, ends it. For one start: it ends with the engine that
/// it was told to stop, or that it gave up.
final class EngineSupervisor: Sendable {
  typealias Mail = Mailbox<SupervisorCommand>

  private let mailbox: Mail
  private let snapshot = ProcessSnapshot()
  private let launch: EngineLaunch
  private let reports: SupervisorReports
  private let waker = Waker()

  init(_ launch: EngineLaunch, _ reports: SupervisorReports) {
    self.launch = launch
    self.reports = reports
    let waker = waker
    mailbox = Mail(capacity: Limits.mailboxMessagesMax) { waker.wake() }
  }

  /// Counts as running from here on.
  func begin() { snapshot.update { $0.state = .starting } }

  /// Starts the engine. Returns when it is in service, or throws what kept it from that.
  func start() async throws(RemoteIngressError) -> EngineMessage.Ready {
    let (launch, reports, mailbox, waker, snapshot) = (launch, reports, mailbox, waker, snapshot)
    let outcome = await withCheckedContinuation {
      (continuation: CheckedContinuation<Result<EngineMessage.Ready, RemoteIngressError>, Never>) in
      startSupervisorThread {
        SupervisorLoop(launch, reports, mailbox, waker, snapshot) {
          continuation.resume(returning: $0)
        }
        .run()
      }
    }
    return try outcome.get()
  }

  var status: EngineProcessStatus { snapshot.value }

  /// Whether an engine runs or is about to.
  var isRunning: Bool {
    switch status.state {
    case .stopped, .failed: false
    case .starting, .running, .draining, .recovering: true
    }
  }

  func stop(drain: Duration) async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      let reply = OnceReply<Void>(otherwise: ()) { continuation.resume() }
      try? mailbox.post(.stop(drain: drain) { reply.send(()) })
    }
  }

  /// Does not wait.
  func abandon() { try? mailbox.post(.stop(drain: .zero) {}) }

  func updateAllowedEdges(_ edges: [AllowedEdge]) async throws(RemoteIngressError) {
    let fault = await withCheckedContinuation {
      (continuation: CheckedContinuation<RemoteIngressError?, Never>) in
      let reply = OnceReply<RemoteIngressError?>(otherwise: .notRunning) {
        continuation.resume(returning: $0)
      }
      try? mailbox.post(.updateAllowedEdges(edges) { reply.send($0) })
    }
    if let fault { throw fault }
  }

  /// nil when there is no engine to ask.
  func engineStatus() async -> EngineStatus? {
    await withCheckedContinuation { (continuation: CheckedContinuation<EngineStatus?, Never>) in
      let reply = OnceReply<EngineStatus?>(otherwise: nil) { continuation.resume(returning: $0) }
      try? mailbox.post(.status { reply.send($0) })
    }
  }

  func watchStreams(_ isWanted: Bool) { try? mailbox.post(.watchStreams(isWanted)) }
}

/// How the process stands, for all threads.
final class ProcessSnapshot: Sendable {
  private let status = Mutex(EngineProcessStatus())

  var value: EngineProcessStatus { status.withLock { $0 } }

  func update(_ change: (inout EngineProcessStatus) -> Void) {
    status.withLock { change(&$0) }
  }
}

/// Replies once, also when whoever should have is gone: then with `otherwise`.
private final class OnceReply<Value: Sendable>: Sendable {
  private let body: Mutex<(@Sendable (Value) -> Void)?>
  private let otherwise: Value

  init(otherwise: Value, _ body: @escaping @Sendable (Value) -> Void) {
    self.otherwise = otherwise
    self.body = Mutex(body)
  }

  func send(_ value: Value) {
    let pending = body.withLock { body in
      defer { body = nil }
      return body
    }
    pending?(value)
  }

  deinit { send(otherwise) }
}
