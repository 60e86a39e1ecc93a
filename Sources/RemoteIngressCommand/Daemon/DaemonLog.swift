// The log of a daemon: what it, its library and its engine have to say, on standard error.

import Logging
import RemoteIngress
import Synchronization

/// Sends all logs of the process to standard error. Made once; its level and format may change.
struct DaemonLog: Sendable {
  private final class State: Sendable {
    let logger: Mutex<Logger>
    let format: Mutex<(level: Logger.Level, format: LogFormat)>

    init(_ level: Logger.Level, _ format: LogFormat) {
      logger = Mutex(Logger(label: "remoteingress"))
      self.format = Mutex((level, format))
    }
  }

  private let state: State

  init(_ configuration: some CommonConfiguration) {
    let state = State(level(of: configuration), configuration.logFormat)
    self.state = state
    LoggingSystem.bootstrap { label in
      let (level, format) = state.format.withLock { $0 }
      return LineLogHandler(label: label, format: format, logLevel: level)
    }
    renew()
  }

  /// Takes the level and the format of a new configuration.
  func configure(_ configuration: some CommonConfiguration) {
    state.format.withLock { $0 = (level(of: configuration), configuration.logFormat) }
    renew()
  }

  /// A logger keeps the handler that it was made with.
  private func renew() {
    state.logger.withLock { $0 = Logger(label: "remoteingress") }
  }

  var write: @Sendable (LogRecord) -> Void {
    let state = state
    return { record in
      let logger = state.logger.withLock { $0 }
      logger.log(level: Logger.Level(record.level), "\(record.message)")
    }
  }

  func write(_ level: LogLevel, _ message: String) { write(LogRecord(level, message)) }
}

private func level(of configuration: some CommonConfiguration) -> Logger.Level {
  Logger.Level(configuration.logLevel)
}

extension Logger.Level {
  fileprivate init(_ level: LogLevel) { self = Logger.Level(rawValue: level.rawValue) ?? .info }
}
