// The supervisor's thread: one engine after the other, until it is told to stop or gives up.
//
//            ready              stop            ended
//   starting ─────▶ running ──────────▶ stopping ─────▶ over
//      ▲  │ died       │ died                             ▲
//      │  ▼            ▼            too often             │
//      └──────────  waiting ──────────────────────────────┘

import Glibc
import RIBase
import RIControl

final class SupervisorLoop {
  private typealias Clock = SuspendingClock
  private typealias Time = SuspendingClock.Instant

  private enum Phase {
    case starting(deadline: Time)
    case running
    case stopping(deadline: Time)
    /// For the next start.
    case waiting(until: Time)
    case over
  }

  private let policy: RecoveryPolicy
  private let reports: SupervisorReports
  private let mailbox: EngineSupervisor.Mail
  private let waker: Waker
  private let snapshot: ProcessSnapshot
  private let executable: String
  private let environment: [String: String]
  /// What the next engine is told: with the port that the first took, and the last edges.
  private var start: EngineRequest.Start
  /// nil once it was called: the outcome of the first start.
  private var started: ((Result<EngineMessage.Ready, RemoteIngressError>) -> Void)?

  private var phase = Phase.over
  private var engine: EngineProcess?
  private var watchdog = Watchdog()
  private var pings: Time?
  private var readyAt: Time?
  /// When the engine died that is to be replaced.
  private var diedAt: Time?
  /// Starts since an engine lived for long …
  private var attempts = 0
  /// … and since the last was in service.
  private var attemptsOfOutage = 0
  /// Why the engine is to be killed by us, or said that it cannot start.
  private var verdict: String?
  private var watchesStreams = false
  private var nextID: UInt64 = 0
  private var statusReplies: [UInt64: @Sendable (EngineStatus?) -> Void] = [:]
  private var updateReplies: [UInt64: @Sendable (RemoteIngressError?) -> Void] = [:]
  private var stopReplies: [@Sendable () -> Void] = []

  init(
    _ launch: EngineLaunch, _ reports: SupervisorReports, _ mailbox: EngineSupervisor.Mail,
    _ waker: Waker, _ snapshot: ProcessSnapshot,
    started: @escaping (Result<EngineMessage.Ready, RemoteIngressError>) -> Void
  ) {
    policy = launch.policy
    executable = launch.executable
    environment = launch.environment
    start = launch.start
    self.reports = reports
    self.mailbox = mailbox
    self.waker = waker
    self.snapshot = snapshot
    self.started = started
  }

  /// Blocks its thread to the end.
  func run() {
    launchEngine()
    while true {
      if case .over = phase { break }
      waitForSomething()
      takeCommands()
      if let engine, !engine.receive({ handle($0) }) { engineEnded() }
      engine?.sendOn()
      passTime()
    }
    mailbox.close()
    takeCommands()
    for reply in stopReplies { reply() }
  }

  // MARK: Waiting

  private func waitForSomething() {
    var polled = [pollfd(fd: waker.reading, events: Int16(POLLIN), revents: 0)]
    if let engine {
      let events = POLLIN | (engine.hasUnsent ? POLLOUT : 0)
      polled.append(pollfd(fd: engine.socket, events: Int16(events), revents: 0))
    }
    let until = nextDeadline.map { $0 - Clock.now }
    let milliseconds = until.map { max(0, Int32(($0 / .milliseconds(1)).rounded(.up))) } ?? -1
    guard poll(&polled, nfds_t(polled.count), milliseconds) > 0 else { return }
    if polled[0].revents != 0 { waker.clear() }
  }

  private var nextDeadline: Time? {
    switch phase {
    case .starting(let deadline), .stopping(let deadline): deadline
    case .waiting(let until): until
    case .running: pings
    case .over: nil
    }
  }

  private func passTime() {
    let now = Clock.now
    switch phase {
    case .starting(let deadline) where now >= deadline:
      kill("it was not ready within \(policy.startTimeout.components.seconds) s")
    case .stopping(let deadline) where now >= deadline: kill("it did not end when told to")
    case .waiting(let until) where now >= until: launchEngine()
    case .running: keepWatch(now)
    default: break
    }
  }

  /// Asks the engine whether it is there. A question that is late itself tells nothing: this
  /// machine has stood still, or has no time for anyone.
  private func keepWatch(_ now: Time) {
    guard let due = pings, now >= due, let engine else { return }
    pings = now + policy.pingInterval
    guard now - due < policy.pingInterval else { return }
    if let why = watchdog.verdict(policy, isStopped: engine.isStopped) { return kill(why) }
    send(.ping(watchdog.ask()))
  }

  /// What follows comes when its socket ends.
  private func kill(_ why: String) {
    guard let engine else { return }
    verdict = verdict ?? why
    engine.kill()
    engineEnded()
  }

  // MARK: Starts

  private func launchEngine() {
    verdict = nil
    watchdog = Watchdog()
    if started == nil {
      attempts += 1
      attemptsOfOutage += 1
    }
    do throws(RemoteIngressError) {
      guard let line = EngineLine(.start(start)) else { throw .allowedEdges(Self.tooLong) }
      let engine = try EngineProcess(executable: executable, environment: environment)
      self.engine = engine
      phase = .starting(deadline: Clock.now + policy.startTimeout)
      snapshot.update { $0.pid = Int(engine.pid) }
      engine.send(line)
    } catch {
      if started != nil { return end(.stopped, error) }
      recover(from: "\(error)")
    }
  }

  private func engineReady(_ ready: EngineMessage.Ready) {
    guard case .starting = phase else { return }
    let now = Clock.now
    phase = .running
    readyAt = now
    pings = now + policy.pingInterval
    if case .hub(var settings) = start, let port = ready.tunnelPort {
      settings.tunnelPort = port
      start = .hub(settings)
    }
    let outage = diedAt.map { now - $0 }
    snapshot.update { status in
      status.state = .running
      status.startedAt = secondsSince1970()
      if outage != nil { status.crashesRecovered += 1 }
    }
    if watchesStreams { send(.watchStreams(true)) }
    if let started {
      self.started = nil
      started(.success(ready))
    }
    guard let outage else { return }
    diedAt = nil
    let seconds = outage / .seconds(1)
    reports.log(
      LogRecord(.warning, "the engine is back after \(Int((seconds * 1_000).rounded())) ms"))
    reports.recovered(
      CrashRecovered(
        reason: snapshot.value.lastCrash ?? "", attempts: attemptsOfOutage, seconds: seconds))
    attemptsOfOutage = 0
  }

  // MARK: Messages

  private func handle(_ message: EngineMessage) {
    switch message {
    case .ready(let ready): engineReady(ready)
    case .failed(let reason): verdict = reason
    case .log(let record): reports.log(record)
    case .hub, .edge, .lost: reports.message(message)
    case .done(let id): updateReplies.removeValue(forKey: id)?(nil)
    case .status(let id, let status): statusReplies.removeValue(forKey: id)?(status)
    case .pong(let number, let shards): watchdog.answered(number, shards: shards)
    }
  }

  private func takeCommands() {
    var commands: [SupervisorCommand] = []
    mailbox.takeAll(into: &commands)
    for command in commands { handle(command) }
  }

  private func handle(_ command: SupervisorCommand) {
    nextID += 1
    switch command {
    case .updateAllowedEdges(let edges, let reply): updateAllowedEdges(edges, reply)
    case .status(let reply):
      guard engine != nil, readyAt != nil else { return reply(nil) }
      statusReplies[nextID] = reply
      send(.status(id: nextID))
    case .watchStreams(let isWanted):
      guard isWanted != watchesStreams else { return }
      watchesStreams = isWanted
      if readyAt != nil { send(.watchStreams(isWanted)) }
    case .stop(let drain, let reply):
      stopReplies.append(reply)
      stop(drain)
    }
  }

  private func updateAllowedEdges(
    _ edges: [AllowedEdge], _ reply: @escaping @Sendable (RemoteIngressError?) -> Void
  ) {
    guard case .hub(var settings) = start, !isEnding else { return reply(.notRunning) }
    guard let line = EngineLine(.updateAllowedEdges(id: nextID, edges: edges)) else {
      return reply(.allowedEdges(Self.tooLong))
    }
    // The next engine starts with them. One that is starting reads this line after its first.
    settings.allowedEdges = edges
    start = .hub(settings)
    guard let engine else { return reply(nil) }
    updateReplies[nextID] = reply
    engine.send(line)
  }

  private static let tooLong =
    "the edges take more than \(Limits.engineLineBytesMax >> 20) MiB together"

  /// Requests without edges are short.
  private func send(_ request: EngineRequest) {
    if let line = EngineLine(request) { engine?.send(line) }
  }

  private var isEnding: Bool {
    switch phase {
    case .stopping, .over: true
    case .starting, .running, .waiting: false
    }
  }

  // MARK: Ends

  /// The second time cuts a drain short.
  private func stop(_ drain: Duration) {
    let drain = max(.zero, min(drain, .nanoseconds(Limits.drainTimeMax.nanoseconds)))
    let deadline = Clock.now + drain + policy.stopTimeout
    switch phase {
    case .over: break
    case .waiting: end(.stopped)
    case .starting:
      phase = .stopping(deadline: deadline)
      kill("it was stopped while it started")
    case .running, .stopping:
      phase = .stopping(deadline: deadline)
      snapshot.update { $0.state = .draining }
      let seconds = drain / .seconds(1)
      send(drain > .zero ? .drain(seconds: seconds) : .stop)
    }
  }

  /// It has ended, or closed its side and is ended.
  private func engineEnded() {
    guard let engine else { return }
    engine.kill()
    let end = engine.wait()
    let why = verdict ?? "\(end)"
    self.engine = nil
    snapshot.update { status in
      status.pid = nil
      if status.state == .running { status.state = .recovering }
    }
    let lived = readyAt.map { Clock.now - $0 }
    readyAt = nil
    for reply in statusReplies.values { reply(nil) }
    // The next engine starts with the edges that this one was told.
    for reply in updateReplies.values { reply(isEnding ? .notRunning : nil) }
    statusReplies = [:]
    updateReplies = [:]
    if case .stopping = phase {
      if end != .code(0), started == nil { reports.log(LogRecord(.warning, "the engine: \(why)")) }
      return self.end(.stopped, .engine(why))
    }
    if started != nil { return self.end(.stopped, .engine(why)) }
    if let lived, lived >= policy.stableAfter { attempts = 0 }
    diedAt = diedAt ?? Clock.now
    recover(from: why)
  }

  private func recover(from why: String) {
    snapshot.update { status in
      status.state = .recovering
      status.lastCrash = why
    }
    guard attempts < policy.attemptsMax else {
      reports.log(
        LogRecord(.critical, "the engine died: \(why); given up after \(attempts) starts"))
      end(.failed)
      return reports.recoveryFailed(CrashRecoveryFailed(reason: why, attempts: attempts))
    }
    let delay = policy.delay(after: attempts)
    let next = delay == .zero ? "now" : "in \(Int((delay / .milliseconds(1)).rounded())) ms"
    reports.log(LogRecord(.error, "the engine died: \(why); it is started again \(next)"))
    phase = .waiting(until: Clock.now + delay)
  }

  /// It is over. `failure` is for who waits for the first start.
  private func end(_ state: EngineProcessStatus.State, _ failure: RemoteIngressError? = nil) {
    phase = .over
    snapshot.update { status in
      status.state = state
      status.pid = nil
      status.startedAt = nil
    }
    guard let failure, let started else { return }
    self.started = nil
    started(.failure(failure))
  }
}
