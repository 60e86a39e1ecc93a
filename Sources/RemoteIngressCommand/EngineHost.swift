// The place where the command line meets the engine.
// Replace: this one has no engine to run.

import RIControl
import RemoteIngress

enum EngineHost {
  enum Role {
    case hub(HubSettings)
    case edge(EdgeSettings)
  }

  /// Runs until the process is told to stop. `source` loads the configuration again.
  static func run(_ role: Role, source: ConfigurationSource) throws {
    throw CommandFailure(reason: "this build has no engine")
  }
}
