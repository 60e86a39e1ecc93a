// Where the program is that the engine runs in, and what it sees of our environment.

import FoundationEssentials
import Glibc
import RIBase

/// Where the program is that the engine runs in.
public enum EngineExecutable: Equatable, Sendable {
  /// REMOTEINGRESS_ENGINE, else `remoteingress` beside the running program, else in PATH.
  case automatic
  case path(String)

  /// The running program itself, also after its file was replaced.
  package static let running = EngineExecutable.path("/proc/self/exe")

  static let variable = "REMOTEINGRESS_ENGINE"

  /// The path to start.
  func resolved(_ environment: [String: String]) throws(RemoteIngressError) -> String {
    if case .path(let path) = self { return path }
    if let path = environment[Self.variable], !path.isEmpty { return path }
    var places = (environment["PATH"] ?? "").split(separator: ":").map(String.init)
    if let own = ownDirectory() { places.insert(own, at: 0) }
    for place in places {
      let path = "\(place)/remoteingress"
      if access(path, X_OK) == 0 { return path }
    }
    throw .noExecutable(
      "there is no remoteingress program beside this one or in PATH; "
        + "name it by EngineExecutable or \(Self.variable)")
  }
}

private func ownDirectory() -> String? {
  var path = [CChar](repeating: 0, count: Int(PATH_MAX))
  let count = readlink("/proc/self/exe", &path, path.count)
  guard count > 0 else { return nil }
  let bytes = path[..<count].map { UInt8(bitPattern: $0) }
  guard let slash = bytes.lastIndex(of: 0x2F) else { return nil }
  return String(decoding: bytes[..<slash], as: UTF8.self)
}

/// 1: the processes may leave core dumps and reports of crashes, with the secrets in them.
package let coreDumpsVariable = "REMOTEINGRESS_CORE_DUMPS"

/// Variables that the engine itself reads.
let engineVariables = [
  "REMOTEINGRESS_RING", "REMOTEINGRESS_EXTENSIONS", "REMOTEINGRESS_TLS_RECORDS",
  "REMOTEINGRESS_QUIC_PATIENCE", "REMOTEINGRESS_QUIC_RETRY", "REMOTEINGRESS_QUIC_CONGESTION",
  coreDumpsVariable,
]

/// The environment without the configuration that may be in it, with its secrets, and without what
/// is meant for the supervisor alone.
func engineEnvironment(_ environment: [String: String]) -> [String: String] {
  environment.filter { name, _ in
    engineVariables.contains(name)
      || !name.hasPrefix(FlatKey.variablePrefix) && name != "NOTIFY_SOCKET"
        && name != "WATCHDOG_USEC"
  }
}

/// The variables of this process.
package func environmentVariables() -> [String: String] { ProcessInfo.processInfo.environment }

/// The time of day.
package func secondsSince1970() -> Double {
  var now = timespec()
  clock_gettime(CLOCK_REALTIME, &now)
  return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}
