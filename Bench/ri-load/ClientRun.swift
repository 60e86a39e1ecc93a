// A run of a client: one thread, one epoll, a timer for what is due, a line a second.

import CLoadIO
import Glibc
import LoadKit
import Synchronization

/// A kind of load. What it throws is wrong bytes, which end the run.
protocol LoadDriver: AnyObject {
  /// Begins what is due.
  func work(at now: UInt64) throws(LoadError)
  func handle(_ number: Int, _ what: UInt32) throws(LoadError)
  /// Nothing more is begun. What is under way may still be answered.
  func stopSending() throws(LoadError)
  var isAnswered: Bool { get }
}

/// Set by SIGINT and SIGTERM.
private let isAskedToEnd = Atomic(false)

func endOnSignals() {
  isAskedToEnd.store(false, ordering: .relaxed)
  for number in [SIGINT, SIGTERM] {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in
      isAskedToEnd.store(true, ordering: .relaxed)
    }
    sigaction(number, &action, nil)
  }
  signal(SIGPIPE, SIG_IGN)
}

var isEndRequested: Bool { isAskedToEnd.load(ordering: .relaxed) }

/// What all drivers share.
struct LoadContext {
  var plan: ClientPlan
  var edge: Endpoint
  var tally: ClientTally
  var pattern = Pattern()
}

enum ClientRun {
  /// How long answers count after the last message, and those to datagrams.
  private static let answerNanoseconds: (stream: UInt64, datagram: UInt64) = (
    5_000_000_000, 1_000_000_000
  )
  private static let timerNumber = -1
  private static let tickNanoseconds: ClosedRange<Double> = 50_000...1_000_000

  static func run(_ plan: ClientPlan, edge: Endpoint) -> ClientResult {
    let context = LoadContext(plan: plan, edge: edge, tally: ClientTally(plan))
    var seconds = 0.0
    do throws(LoadError) {
      let poller = PollerBox()
      let driver: any LoadDriver =
        switch plan.mode {
        case .echo: EchoDriver(context, poller)
        case .churn: ChurnDriver(context, poller)
        case .download, .upload: BulkDriver(context, poller)
        case .udp: try DatagramDriver(context, poller)
        }
      try drive(driver, context, poller, &seconds)
    } catch {
      return context.tally.result(seconds: seconds, failure: "\(error)")
    }
    return context.tally.result(seconds: seconds, failure: nil)
  }

  private static func drive(
    _ driver: any LoadDriver, _ context: LoadContext, _ poller: PollerBox, _ seconds: inout Double
  ) throws(LoadError) {
    let timer = try startTimer(perSecond: context.plan.rate, poller)
    defer { close(timer) }
    let start = clockNanoseconds()
    let end = start + UInt64(context.plan.seconds * 1e9)
    var report = Report(context.tally, start)
    func turn(until deadline: UInt64) throws(LoadError) {
      for i in 0..<poller.poller.wait(until: min(deadline, report.next)) {
        let (number, what) = poller.poller.event(i)
        if number == timerNumber {
          var expirations: UInt64 = 0
          _ = read(timer, &expirations, MemoryLayout<UInt64>.size)
        } else {
          try driver.handle(number, what)
        }
      }
      report.sayWhenDue()
    }
    defer { seconds = Double(clockNanoseconds() - start) / 1e9 }
    while clockNanoseconds() < end, !isEndRequested {
      try driver.work(at: clockNanoseconds())
      try turn(until: end)
    }
    try driver.stopSending()
    let deadline =
      clockNanoseconds()
      + (context.plan.mode == .udp ? answerNanoseconds.datagram : answerNanoseconds.stream)
    while !driver.isAnswered, clockNanoseconds() < deadline { try turn(until: deadline) }
  }

  private static func startTimer(
    perSecond: Double, _ poller: PollerBox
  ) throws(LoadError) -> Int32 {
    let timer = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK | TFD_CLOEXEC))
    guard timer >= 0 else { throw failure("timerfd_create") }
    load_exact_timers()
    let tick = min(
      max(1e9 / perSecond, tickNanoseconds.lowerBound), tickNanoseconds.upperBound)
    var times = itimerspec()
    times.it_interval = timespec(tv_sec: 0, tv_nsec: Int(tick))
    times.it_value = times.it_interval
    guard timerfd_settime(timer, 0, &times, nil) == 0 else { throw failure("timerfd_settime") }
    poller.poller.add(timer, Poller.readable, number: timerNumber)
    return timer
  }

  /// The line of each second.
  private struct Report {
    private let tally: ClientTally
    private var second = 0
    private var last: UInt64
    private(set) var next: UInt64

    init(_ tally: ClientTally, _ start: UInt64) {
      self.tally = tally
      last = start
      next = start + 1_000_000_000
    }

    mutating func sayWhenDue() {
      let now = clockNanoseconds()
      guard now >= next else { return }
      second += 1
      let line = tally.line(second, seconds: Double(now - last) / 1e9)
      writeText("\(line)\n", to: 2)
      last = now
      next += 1_000_000_000
    }
  }
}

/// One epoll for a run and its driver.
final class PollerBox {
  let poller = Poller(capacity: 512)
}
