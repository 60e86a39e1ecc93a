// What the configurations of hub and edge have in common.

import RIBase
import RIControl

/// From which level on messages are logged.
public enum LogLevel: String, Codable, CaseIterable, Sendable {
  case trace, debug, info, notice, warning, error, critical
}

public enum LogFormat: String, CaseIterable, Sendable { case text, json }

/// The admin HTTP interface.
public struct AdminConfiguration: Equatable, Sendable {
  /// `host:port`, or `none`
  public var listen: String
  /// Asked of whoever wants to see or change something; a must on an address other than loopback.
  public var token: TextSource?

  public init(listen: String, token: TextSource? = nil) {
    self.listen = listen
    self.token = token
  }
}

/// The keys that mean the same on both sides (SPEC 6).
public protocol CommonConfiguration: Equatable, Sendable {
  associatedtype Settings: EngineSettings

  /// 1 to 1,024 engine threads; nil: one per core.
  var shards: Int? { get set }
  var memoryBudgetMB: Int { get set }
  var udpIdleSeconds: Int { get set }
  var udpSessionsMax: Int { get set }
  var drainSeconds: Int { get set }
  var admin: AdminConfiguration? { get set }
  /// Where the admin HTTP listens unless told.
  static var adminListenDefault: String { get }
  /// nil: nothing is remembered over a restart.
  var stateDir: String? { get set }
  var logLevel: LogLevel { get set }
  var logFormat: LogFormat { get set }

  /// Reads the files that are named and checks how the keys fit together.
  func settings() throws(ConfigurationError) -> Settings
  /// What is set and cannot do what it says: one line each.
  var warnings: [String] { get }
}

/// A configuration that can be read by a table of its keys.
protocol ReadableConfiguration: CommonConfiguration {
  init()
  static var schema: Schema<Self> { get }
}

extension CommonConfiguration {
  func applyCommon(to settings: inout some EngineSettings) {
    settings.shards = shards
    settings.memoryBudgetBytes = memoryBudgetMB * 1024 * 1024
    settings.udpIdleSeconds = udpIdleSeconds
    settings.udpSessionsMax = udpSessionsMax
    settings.drainSeconds = drainSeconds
    settings.stateDirectory = stateDir
  }

  static var commonFields: [Field<Self>] {
    [
      Field("shards", \.shards, .count(1...1_024), "engine threads; default one per core"),
      Field(
        "memoryBudgetMB", \.memoryBudgetMB, .count(16...1_048_576),
        "memory for stalled streams in MB; default 200"),
      Field(
        "udpIdleSeconds", \.udpIdleSeconds, .count(1...86_400),
        "end of a silent UDP session; default 60"),
      Field(
        "udpSessionsMax", \.udpSessionsMax, .count(1...1_048_576),
        "UDP sessions at once; default 65536"),
      Field(
        "drainSeconds", \.drainSeconds, .count(0...86_400),
        "time for live streams at a stop; default 30"),
      Field(
        "admin", \.admin, empty: AdminConfiguration(listen: adminListenDefault),
        Schema([
          Field(
            "listen", \.listen, .adminListen, "admin HTTP; default \(adminListenDefault); or none"),
          Field("token", \.token, .text, excludes: ["tokenFile"], "bearer token of the admin HTTP"),
          Field("tokenFile", \.token, .file, "file that holds it"),
        ])),
      Field("stateDir", \.stateDir, .path, "where certificates and pins are kept"),
      Field("logLevel", \.logLevel, .choice, "default info"),
      Field("logFormat", \.logFormat, .choice, "default text"),
    ]
  }
}
