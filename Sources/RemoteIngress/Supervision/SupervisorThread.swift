// The thread that a supervisor lives on, and how others wake it.

import Glibc
import RIBase

/// Runs `body` on a thread of its own.
func startSupervisorThread(_ body: @escaping @Sendable () -> Void) {
  let box = Unmanaged.passRetained(ThreadBody(body))
  var thread = pthread_t()
  // SAFETY: the box is retained for the thread, which takes that reference over as its first act.
  let code = pthread_create(
    &thread, nil,
    { argument in
      guard let argument else { return nil }
      Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().body()
      return nil
    }, box.toOpaque())
  precondition(code == 0, "pthread_create failed: \(code)")
  pthread_detach(thread)
}

private final class ThreadBody: Sendable {
  let body: @Sendable () -> Void

  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Ends a poll(2) from another thread.
final class Waker: Sendable {
  let reading: Int32
  private let writing: Int32

  init() {
    var ends: [Int32] = [-1, -1]
    let kind = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
    let code = socketpair(AF_UNIX, Int32(kind), 0, &ends)
    precondition(code == 0, "socketpair: errno \(errno)")
    (reading, writing) = (ends[0], ends[1])
  }

  deinit {
    close(reading)
    close(writing)
  }

  /// A full one wakes too.
  func wake() {
    var byte: UInt8 = 0
    _ = send(writing, &byte, 1, Int32(MSG_NOSIGNAL))
  }

  func clear() {
    var bytes = [UInt8](repeating: 0, count: 64)
    while read(reading, &bytes, bytes.count) > 0 {}
  }
}
