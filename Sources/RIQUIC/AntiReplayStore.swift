// Remembers the ClientHellos of 0-RTT so that none is taken twice (RFC 8446 section 8.2).

import Glibc
import RIBase
import Synchronization

/// The ClientHellos of the last seconds, shared by all shards. When it is full of such as are not
/// old yet every other counts as seen: those clients shake hands in one round trip more.
final class AntiReplayStore: Sendable {
  private struct State {
    var expiry: [[UInt8]: Int64] = [:]
    var sweptAt: Int64 = 0
  }

  private let state = Mutex(State())
  private let capacity: Int

  init(capacity: Int = Limits.quicReplaysMax) { self.capacity = capacity }

  /// Whether a hello was seen before; it is from now on, until `expires` (seconds since 1970).
  func isReplayed(_ hello: [UInt8], expires: Int64, now: Int64) -> Bool {
    state.withLock { state in
      if state.expiry.count >= capacity, state.sweptAt < now {
        state.sweptAt = now
        state.expiry = state.expiry.filter { $0.value >= now }
      }
      if let known = state.expiry[hello], known >= now { return true }
      guard state.expiry.count < capacity else { return true }
      state.expiry[hello] = expires
      return false
    }
  }

  var count: Int { state.withLock { $0.expiry.count } }
}
