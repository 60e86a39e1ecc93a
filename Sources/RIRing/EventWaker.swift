// Wakes a ring from other threads by an eventfd.

import CLinuxIO
import Glibc

/// An eventfd that makes its ring's `wait` return. Any thread may wake it for as long as it holds
/// the object; the descriptor is closed with the last reference.
final class EventWaker: RingWaker {
  /// Readable after a wake, until read. Blocking: only the ring reads it, and only when readable.
  let descriptor: Int32

  init() throws(RingError) {
    descriptor = eventfd(0, Int32(EFD_CLOEXEC))
    if descriptor < 0 { throw RingError(call: "eventfd", code: errno) }
  }

  deinit { Glibc.close(descriptor) }

  /// Waits for a wake unless there was one, and clears it; false when that failed.
  func awaitWake() -> Bool {
    var wakes: eventfd_t = 0
    while eventfd_read(descriptor, &wakes) != 0 {
      if errno != EINTR { return false }
    }
    return true
  }

  func wake() {
    _ = eventfd_write(descriptor, 1)
  }
}
