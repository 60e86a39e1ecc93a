// Signals as calls: blocked everywhere, waited for on a thread.

import Dispatch
import Glibc

/// The signals of a daemon.
struct SignalThread {
  private let signals: sigset_t

  /// Blocks them in this thread and in all that are started later: to be called on the first
  /// thread, before there is another.
  static func block(_ numbers: [Int32] = [SIGTERM, SIGINT, SIGHUP, SIGUSR1]) -> SignalThread {
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in numbers { sigaddset(&signals, number) }
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    return SignalThread(signals: signals)
  }

  /// Hands each to `handle`, on one thread.
  func start(_ handle: @escaping @Sendable (Int32) -> Void) {
    let signals = signals
    DispatchQueue(label: "signals").async {
      var signals = signals
      var number: Int32 = 0
      while true {
        if sigwait(&signals, &number) == 0 { handle(number) }
      }
    }
  }
}
