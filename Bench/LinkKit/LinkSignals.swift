// The signals that end a link, as a descriptor that its loop can wait for.

import CLinkIO
import Glibc

/// SIGINT, SIGTERM, SIGHUP and SIGCHLD of this process, blocked and queued. Make it while the
/// process has one thread.
public final class LinkSignals {
  public let descriptor: Int32

  /// With the parent: SIGTERM comes when that ends.
  public init(withParent: Bool) throws(LinkError) {
    descriptor = link_signals()
    guard descriptor >= 0 else { throw .system("signalfd") }
    guard withParent else { return }
    let parent = getppid()
    guard link_signal_at_parents_end(SIGTERM) == 0 else { throw .system("prctl") }
    // It died before the tie was made.
    if getppid() != parent { kill(getpid(), SIGTERM) }
  }

  deinit { close(descriptor) }

  /// Takes what has come; whether one of them asks to end.
  public func isAskedToEnd() -> Bool {
    var isAsked = false
    while case let signal = link_next_signal(descriptor), signal != 0 {
      if signal != SIGCHLD { isAsked = true }
    }
    return isAsked
  }
}
