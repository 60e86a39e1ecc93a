// What can go wrong with a hub or an edge as a whole, and what it has to say.

import RIControl
import RIWire

/// Why a hub or an edge did not do as it was told. Never holds a secret.
public enum RemoteIngressError: Error, Equatable, Sendable, CustomStringConvertible {
  /// It has been started already.
  case alreadyRunning
  case notRunning
  case configuration(ConfigurationError)
  case token(TokenError)
  /// What is wrong with one of the edges.
  case allowedEdges(String)
  /// There is no program to run the engine with.
  case noExecutable(String)
  /// The engine did not start, or not do as told.
  case engine(String)

  public var description: String {
    switch self {
    case .alreadyRunning: "it is running already"
    case .notRunning: "it is not running"
    case .configuration(let error): "\(error)"
    case .token(let error): "\(error)"
    case .allowedEdges(let reason): reason
    case .noExecutable(let reason): reason
    case .engine(let reason): reason
    }
  }
}

/// A line for a log.
public struct LogRecord: Codable, Equatable, Sendable {
  public var level: LogLevel
  public var message: String

  public init(_ level: LogLevel, _ message: String) {
    self.level = level
    self.message = message
  }
}
