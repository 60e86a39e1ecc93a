// epoll, level-triggered, with the caller's number in each event.

import CLoadIO
import Glibc

/// An epoll descriptor and the events of its last wait.
public struct Poller: ~Copyable {
  public static let readable = EPOLLIN.rawValue
  public static let writable = EPOLLOUT.rawValue
  /// The other side has ended its direction; a failed or reset socket reports this too.
  public static let ended = EPOLLRDHUP.rawValue

  let descriptor: Int32
  let events: UnsafeMutablePointer<epoll_event>
  let capacity: Int

  public init(capacity: Int = 128) {
    descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
    precondition(descriptor >= 0, "epoll_create1 failed")
    events = .allocate(capacity: capacity)
    events.initialize(repeating: epoll_event(), count: capacity)
    self.capacity = capacity
  }

  deinit {
    close(descriptor)
    events.deallocate()
  }

  public func add(_ socket: Int32, _ interest: UInt32, number: Int) {
    control(EPOLL_CTL_ADD, socket, interest, number)
  }

  public func change(_ socket: Int32, _ interest: UInt32, number: Int) {
    control(EPOLL_CTL_MOD, socket, interest, number)
  }

  public func remove(_ socket: Int32) {
    control(EPOLL_CTL_DEL, socket, 0, 0)
  }

  private func control(_ operation: Int32, _ socket: Int32, _ interest: UInt32, _ number: Int) {
    var event = epoll_event(
      events: interest, data: epoll_data_t(u64: UInt64(bitPattern: Int64(number))))
    let result = epoll_ctl(descriptor, operation, socket, &event)
    precondition(result == 0, "epoll_ctl failed")
  }

  /// The number of events, waiting for the first until the clock reads `deadline` (nil: for ever).
  public func wait(until deadline: UInt64? = nil) -> Int {
    var milliseconds: Int32 = -1
    if let deadline {
      let now = clockNanoseconds()
      milliseconds = deadline <= now ? 0 : Int32(min((deadline - now) / 1_000_000 + 1, 60_000))
    }
    return max(0, Int(epoll_wait(descriptor, events, Int32(capacity), milliseconds)))
  }

  /// Event `index` of the last wait: whose it is, and what happened (EPOLLIN, EPOLLOUT, …).
  public func event(_ index: Int) -> (number: Int, what: UInt32) {
    (Int(truncatingIfNeeded: events[index].data.u64), events[index].events)
  }
}
