// Which ring a shard gets.

import Glibc
import RIBase

/// Which backend is wanted.
public enum RingPreference: String, Sendable {
  /// io_uring where it can be had, epoll elsewhere.
  case automatic = "auto"
  /// io_uring or nothing.
  case uring
  case epoll

  /// What `REMOTEINGRESS_RING` says; automatic when it is not set. Fails with EINVAL on a value
  /// that names no preference.
  public init(environment: [String: String]) throws(RingError) {
    try self.init(named: environment["REMOTEINGRESS_RING"])
  }

  /// The same from this process's environment.
  public static func fromEnvironment() throws(RingError) -> RingPreference {
    try RingPreference(named: getenv("REMOTEINGRESS_RING").map { String(cString: $0) })
  }

  private init(named name: String?) throws(RingError) {
    guard let name, !name.isEmpty else {
      self = .automatic
      return
    }
    guard let preference = RingPreference(rawValue: name) else {
      throw RingError(call: "REMOTEINGRESS_RING=\(name)", code: EINVAL)
    }
    self = preference
  }
}

/// A ring for the calling thread. `note` is a line for the log when it is not the one that was
/// preferred, and says why. Fails when the wanted ring cannot be had, with the error of its call.
public func makeRing(
  store: BufferStore, preference: RingPreference
) throws(RingError) -> (ring: any IORing, note: String?) {
  switch preference {
  case .epoll: return (try EpollRing(store: store), nil)
  case .uring: return (try UringRing(store: store), nil)
  case .automatic:
    let reason: RingError
    do throws(RingError) {
      return (try UringRing(store: store), nil)
    } catch {
      reason = error
    }
    return (try EpollRing(store: store), "using epoll: io_uring is not available: \(reason)")
  }
}
