// The process around an engine: signals in, log lines out, the exit code at the end.

import Dispatch
import Glibc
import Logging
import RIBase
import RIControl
import RIEngine
import RemoteIngress

enum EngineHost {
  enum Role {
    case hub(HubSettings)
    case edge(EdgeSettings)
  }

  /// Runs until the process is told to stop. `source` loads the configuration again.
  ///
  /// SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reloads a hub's allowed edges;
  /// SIGUSR1 has the status logged.
  static func run(_ role: Role, source: ConfigurationSource) throws {
    let signals = blockSignals()
    let logger = Logger(label: "remoteingress")
    let engine = try start(role, logger)
    let drainSeconds: Int
    switch role {
    case .hub(let settings): drainSeconds = settings.drainSeconds
    case .edge(let settings): drainSeconds = settings.drainSeconds
    }
    DispatchQueue(label: "engine.end").async {
      engine.waitUntilStopped()
      logger.info("stopped")
      endProcess()
    }
    var isDraining = false
    while true {
      switch nextSignal(of: signals) {
      case SIGHUP: reload(role, engine, source, logger)
      case SIGUSR1: logStatus(engine, logger)
      case _ where isDraining:
        engine.cleanUp()
        endProcess()
      default:
        isDraining = true
        logger.info("draining: no new streams, live ones have \(drainSeconds) s")
        engine.drain(for: .seconds(Int64(drainSeconds)))
      }
    }
  }

  private static func start(_ role: Role, _ logger: Logger) throws -> Engine {
    let report: Engine.Report = { $0.log(to: logger) }
    do {
      return switch role {
      case .hub(let settings): try Engine(hub: settings, report: report)
      case .edge(let settings): try Engine(edge: settings, report: report)
      }
    } catch {
      throw CommandFailure(reason: "\(error)")
    }
  }

  /// A bad file is refused whole and changes nothing.
  private static func reload(
    _ role: Role, _ engine: Engine, _ source: ConfigurationSource, _ logger: Logger
  ) {
    guard case .hub = role else {
      logger.warning("SIGHUP: an edge has nothing to reload")
      return
    }
    do {
      let settings = try source.hub().settings
      try engine.updateAllowedEdges(settings.allowedEdges)
      logger.info("reloaded: \(settings.allowedEdges.count) allowed edges")
    } catch {
      logger.error("not reloaded: \(error)")
    }
  }

  private static func logStatus(_ engine: Engine, _ logger: Logger) {
    Task {
      let line = await engine.status().line
      logger.info("status \(line)")
    }
  }

  /// Ends the process with exit code 0 and nothing else: exit(3) would have OpenSSL take down what
  /// a shard's thread still uses while it ends, or does not end. Nothing waits to be written.
  private static func endProcess() -> Never { _exit(0) }

  // MARK: Signals

  /// Blocks what `run` waits for, in this thread and all it starts.
  private static func blockSignals() -> sigset_t {
    var signals = sigset_t()
    sigemptyset(&signals)
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] { sigaddset(&signals, signal) }
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    return signals
  }

  private static func nextSignal(of signals: sigset_t) -> Int32 {
    var signals = signals
    var signal: Int32 = 0
    while sigwait(&signals, &signal) != 0 {}
    return signal
  }
}

extension EngineEvent {
  /// The event as a line of the log.
  func log(to logger: Logger) {
    switch self {
    case .note(let text): logger.info("\(text)")
    case .warning(let text): logger.warning("\(text)")
    case .hubReady(let address): logger.info("hub ready on \(address)")
    case .edgeConnected(let id, let address, let transport):
      logger.info("edge \(id) connected from \(address) over \(transport.label)")
    case .edgeMoved(let id, let former, let address):
      logger.info("edge \(id) moved from \(former) to \(address)")
    case .edgeDraining(let id, let address):
      logger.info("edge \(id) is draining, at \(address)")
    case .edgeDisconnected(let id, let address, let reason):
      logger.info("edge \(id) disconnected from \(address): \(reason)")
    case .edgeRefused(let address, let reason, let leftOut):
      let more = leftOut > 0 ? "; \(leftOut) more before it" : ""
      logger.info("refused \(address): \(reason)\(more)")
    case .tunnelUp(let hub, let transport, let cipher):
      logger.info("tunnel up to \(hub) over \(transport.label), \(cipher)")
    case .tunnelDown(let reason, let retryAfter):
      let milliseconds = retryAfter.nanoseconds / 1_000_000
      logger.warning("no tunnel: \(reason); next attempt in \(milliseconds) ms")
    case .tunnelMoved(let hub, let transport):
      logger.info("new streams go to \(hub) over \(transport.label)")
    case .tunnelDraining(let hub):
      logger.info("the hub at \(hub) is draining: dialling anew")
    case .tunnelDrained(let hub, let reason):
      logger.info("old tunnel to \(hub) ended: \(reason)")
    case .messagesLeftOut(.refusal, let count): logger.info("refused \(count) more")
    case .messagesLeftOut(.memoryBudget, let count):
      logger.warning("memory budget spent: reset \(count) more streams")
    case .hubTrustedOnFirstUse(let pin):
      logger.warning("the hub is trusted at first use: \(pin)")
    case .listening(let transport, let address):
      logger.info("listening \(transport.rawValue) \(address)")
    case .listenFailed(let transport, let address, let error):
      logger.warning("cannot listen on \(transport.rawValue) \(address): \(error)")
    case .listenerClosed(let transport, let port):
      logger.info("closed \(transport.rawValue) \(port)")
    case .firewallUpdated(let status): status.log(to: logger)
    case .publicAddressDiscovered(let address): logger.info("public address \(address)")
    case .streamSustained(let edgeID, let stream, let bytes):
      let edge = edgeID.map { " of edge \($0)" } ?? ""
      logger.debug("stream \(stream)\(edge) is a sustained flow, after \(bytes) bytes")
    }
  }
}

extension FirewallStatus {
  fileprivate func log(to logger: Logger) {
    switch state {
    case .off: logger.info("firewall off")
    case .applied:
      logger.info(
        "firewall applied: \(rules) rules, \(blockedIps) blocked, \(rateLimits) rate limits")
    case .refused, .failed, .unavailable:
      logger.warning("firewall \(state.rawValue): \(reason ?? "")")
    }
  }
}
