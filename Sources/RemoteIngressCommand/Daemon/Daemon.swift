// `hub` and `edge` as services: the engine's supervisor, with signals in, log lines out, a
// configuration that is read again when it changes, and an exit code at the end.

import Glibc
import Logging
import RIAdmin
import RIControl
import RemoteIngress

/// What a daemon waits for.
enum DaemonEvent: Sendable {
  case started(RemoteIngressError?)
  case signal(Int32)
  /// The configuration file has other content.
  case fileChanged
  /// The engine could not be kept running.
  case gaveUp(String)
  case stopped
}

/// Runs one hub or edge until the process is told to stop.
///
/// SIGTERM and SIGINT drain, a second one ends at once; SIGHUP and a changed file have the
/// configuration read again; SIGUSR1 has the status logged.
struct Daemon<Role: DaemonRole> {
  private let role: Role
  private let source: ConfigurationSource
  private let log: DaemonLog
  private let notifier = ServiceNotifier()
  private let inbox: AsyncStream<DaemonEvent>.Continuation
  private let events: AsyncStream<DaemonEvent>
  private var configuration: LoadedConfiguration<Role.Configuration>
  private var admin: AdminServer?
  private var lastRefusal: String?
  private var isReady = false
  /// A reload that came too early, to be made up for once it is ready: whether somebody asked for
  /// it; nil when there is none.
  private var earlyReload: Bool?
  private var isDraining = false

  static func run(_ source: ConfigurationSource, _ signals: SignalThread) async throws {
    let configuration = try Role.load(source)
    protectMemory()
    var daemon = Daemon(source, configuration)
    let inbox = daemon.inbox
    signals.start { inbox.yield(.signal($0)) }
    try await daemon.run()
  }

  private init(
    _ source: ConfigurationSource, _ configuration: LoadedConfiguration<Role.Configuration>
  ) {
    self.source = source
    self.configuration = configuration
    log = DaemonLog(configuration.configuration)
    (events, inbox) = AsyncStream.makeStream()
    role = Role(log: log.write)
    for warning in configuration.warnings { log.write(.warning, warning) }
  }

  private mutating func run() async throws {
    let (role, inbox, settings) = (role, inbox, configuration.settings)
    role.watchRecovery { inbox.yield(.gaveUp($0)) }
    Task {
      do throws(RemoteIngressError) {
        try await role.start(settings)
        inbox.yield(.started(nil))
      } catch {
        inbox.yield(.started(error))
      }
    }
    let watch = source.file.flatMap { FileWatch($0) { inbox.yield(.fileChanged) } }
    if watch == nil, source.file != nil {
      log.write(.warning, "the configuration file cannot be watched: send SIGHUP to have it read")
    }
    do {
      for await event in events {
        if try await !handle(event) { break }
      }
    } catch {
      // The engine ends in order, and takes its firewall with it.
      await role.stop(drain: .zero)
      throw error
    }
    log.write(.info, "stopped")
    endProcess(0)
  }

  /// False when it is over.
  private mutating func handle(_ event: DaemonEvent) async throws -> Bool {
    switch event {
    case .started(let error):
      if let error { try startFailed(error) }
      guard error == nil else { return false }
      try await ready()
    case .signal(SIGUSR1): await logStatus()
    case .signal(SIGHUP): await reload(isAsked: true)
    case .fileChanged: await reload(isAsked: false)
    case .signal: stop()
    case .gaveUp(let reason): throw CommandFailure(reason: "the engine is given up: \(reason)")
    case .stopped: return false
    }
    return true
  }

  /// A start that was cut short by a signal is none that failed.
  private func startFailed(_ error: RemoteIngressError) throws {
    guard !isDraining else { return }
    throw CommandFailure(reason: error.description)
  }

  private mutating func ready() async throws {
    isReady = true
    try await startAdmin()
    notifier.send("READY=1")
    notifier.startWatchdog { [role] in role.isRunning }
    notifier.startStatus { [role] in await role.summary() }
    if let isAsked = earlyReload { await reload(isAsked: isAsked) }
  }

  /// An address that nobody asked for may be another's: then there is no admin HTTP.
  private mutating func startAdmin() async throws {
    guard let settings = try configuration.configuration.adminSettings() else { return }
    let server = AdminServer(role.adminSource, settings)
    do throws(AdminServerError) {
      try await server.start()
      admin = server
      log.write(.info, "admin HTTP on \(settings.address)")
    } catch {
      guard settings.isDefault else { throw CommandFailure(reason: "admin HTTP: \(error)") }
      log.write(.warning, "no admin HTTP: \(error)")
    }
  }

  private mutating func stop() {
    let (role, inbox) = (role, inbox)
    let limit = isDraining ? 0 : configuration.settings.drainSeconds
    if !isDraining {
      log.write(.info, "draining: no new streams, live ones have \(limit) s")
      notifier.sendStopping(within: limit)
    }
    isDraining = true
    Task {
      await role.stop(drain: .seconds(limit))
      inbox.yield(.stopped)
    }
  }

  private func logStatus() async {
    guard let status = await role.engineStatus() else {
      return log.write(.info, "status: no engine runs")
    }
    log.write(.info, "status \(status.line)")
  }

  // MARK: Configuration

  /// A bad file is refused whole and changes nothing. What was said already is not said again
  /// unless somebody asked.
  private mutating func reload(isAsked: Bool) async {
    guard !isDraining else { return }
    guard isReady else {
      earlyReload = isAsked || earlyReload == true
      return
    }
    notifier.sendReloading()
    defer { notifier.send("READY=1") }
    do {
      let new = try Role.load(source)
      let changes = Role.Configuration.changes(from: configuration, to: new)
      try await role.apply(new.settings)
      log.configure(new.configuration)
      for warning in new.warnings where !configuration.warnings.contains(warning) {
        log.write(.warning, warning)
      }
      // What needs a restart stays as it was until then, so it is named again each time.
      configuration = changes.merged
      lastRefusal = nil
      guard isAsked || changes.areAny else { return }
      log.write(.info, "reloaded: \(changes.summary)")
      if !changes.needRestart.isEmpty {
        log.write(
          .warning, "needs a restart to change: \(changes.needRestart.joined(separator: ", "))")
      }
    } catch {
      if isAsked || lastRefusal != "\(error)" { log.write(.error, "not reloaded: \(error)") }
      lastRefusal = "\(error)"
    }
  }
}

/// Ends the process and nothing else: exit handlers would take down what other threads still use.
private func endProcess(_ code: Int32) -> Never { _exit(code) }
