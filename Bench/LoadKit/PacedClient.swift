// Messages at fixed times: an open loop. A message is sent when it is due, whether or not the one
// before it was answered, and its latency counts from when it was due, so that a stall shows in
// every message that falls into it.

import CLoadIO
import Glibc

/// Sends on each connection every interval: on all of them at once, or, where a rate is given, on
/// one after the other. Answers come in order, so the bytes received so far say which message is
/// answered.
struct PacedClient: ~Copyable {
  /// How long after the last message its answer counts.
  private static let answerNanosecondsMax: UInt64 = 2_000_000_000
  private static let timerNumber = -1
  /// The timer fires no more often than this.
  private static let tickNanosecondsMin: UInt64 = 50_000

  private struct Lane {
    var socket: Int32
    var sentBytes = 0
    var receivedBytes = 0
    /// Messages that the client has come to, sent or refused by a full socket.
    var begun = 0
    var answered = 0
  }

  private let order: LoadOrder
  private let messageBytes: Int
  /// From one message of a connection to its next.
  private let interval: UInt64
  /// From the message of one connection to that of the next one.
  private let laneGap: UInt64
  private let poller = Poller()
  private let pattern = Pattern()
  private let timer: Int32
  private let buffer: UnsafeMutableRawPointer
  private var lanes: [Lane] = []
  /// When the first message is due.
  private var firstDue: UInt64 = 0
  /// Messages of all connections, those that the client has come to and those answered.
  private var begun = 0
  private var answered = 0
  /// Messages that are due within it are recorded.
  private var measured: Range<UInt64>?
  private var latencies = Histogram()
  private var lateness = Histogram()

  static func run(_ order: LoadOrder) throws(LoadError) -> LoadResult {
    var client = try PacedClient(order)
    return try client.run()
  }

  private init(_ order: LoadOrder) throws(LoadError) {
    self.order = order
    messageBytes = order.workload.messageBytes ?? 1
    if let rate = order.workload.messagesPerSecond {
      laneGap = 1_000_000_000 / UInt64(rate)
      interval = laneGap * UInt64(order.workload.connections)
    } else {
      laneGap = 0
      interval = UInt64(order.workload.intervalMilliseconds ?? 1) * 1_000_000
    }
    timer = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK | TFD_CLOEXEC))
    buffer = .allocate(byteCount: Pattern.runBytesMax, alignment: 64)
    guard timer >= 0 else { throw .system("timerfd_create") }
    // The kernel may delay a timer by 50 us otherwise: prctl(2).
    load_exact_timers()
  }

  deinit {
    close(timer)
    buffer.deallocate()
  }

  private mutating func run() throws(LoadError) -> LoadResult {
    lanes = try connectAll(order, to: poller, interest: Poller.readable).map { Lane(socket: $0) }
    for lane in lanes { try awaitWritable(lane.socket) }
    try startTimer()
    var window = MeasuredWindow(order)
    var now = clockNanoseconds()
    while window.goesOn(at: now, units: UInt64(answered)) {
      if window.isMeasuring, measured == nil { measured = now..<window.nextChange }
      try handleEvents(until: window.nextChange, sends: true)
      now = clockNanoseconds()
    }
    let deadline = now + Self.answerNanosecondsMax
    while answered < begun, now < deadline {
      try handleEvents(until: deadline, sends: false)
      now = clockNanoseconds()
    }
    var result = try window.result(
      latency: latencies, congestion: congestionControl(of: lanes[0].socket))
    result.paced = PacedCounts(sent: begun, answered: answered, lateness: Latency(lateness))
    return result
  }

  private func due(_ message: Int, on lane: Int) -> UInt64 {
    firstDue + UInt64(message) * interval + UInt64(lane) * laneGap
  }

  /// The next connection in turn, and when its message is due.
  private var next: (lane: Int, due: UInt64) {
    let lane = begun % lanes.count
    return (lane, due(begun / lanes.count, on: lane))
  }

  private mutating func startTimer() throws(LoadError) {
    let tick = max(laneGap > 0 ? laneGap : interval, Self.tickNanosecondsMin)
    firstDue = clockNanoseconds() + tick
    var times = itimerspec()
    times.it_value = timespec(
      tv_sec: Int(firstDue / 1_000_000_000), tv_nsec: Int(firstDue % 1_000_000_000))
    times.it_interval = timespec(
      tv_sec: Int(tick / 1_000_000_000), tv_nsec: Int(tick % 1_000_000_000))
    guard timerfd_settime(timer, Int32(TFD_TIMER_ABSTIME), &times, nil) == 0 else {
      throw .system("timerfd_settime")
    }
    poller.add(timer, Poller.readable, number: Self.timerNumber)
  }

  private mutating func handleEvents(until deadline: UInt64, sends: Bool) throws(LoadError) {
    for i in 0..<poller.wait(until: deadline) {
      let (number, _) = poller.event(i)
      if number != Self.timerNumber {
        try receive(number)
      } else {
        var expirations: UInt64 = 0
        _ = read(timer, &expirations, MemoryLayout<UInt64>.size)
        if sends { try sendWhatIsDue() }
      }
    }
  }

  private mutating func sendWhatIsDue() throws(LoadError) {
    let now = clockNanoseconds()
    var (lane, time) = next
    while time <= now {
      if let measured, measured.contains(time) { lateness.record(now - time) }
      lanes[lane].begun += 1
      begun += 1
      try send(lane)
      (lane, time) = next
    }
  }

  /// Sends what is due and has not gone yet. What a full socket refuses goes with the next message.
  private mutating func send(_ number: Int) throws(LoadError) {
    let wanted = lanes[number].begun * messageBytes
    while lanes[number].sentBytes < wanted {
      let offset = lanes[number].sentBytes
      let count = Glibc.send(
        lanes[number].socket, pattern.bytes(at: UInt64(offset)),
        min(wanted - offset, Pattern.runBytesMax), 0)
      guard count > 0 else {
        if errno == EAGAIN { return }
        throw ended(number, count)
      }
      lanes[number].sentBytes += count
    }
  }

  private mutating func receive(_ number: Int) throws(LoadError) {
    let count = recv(lanes[number].socket, buffer, Pattern.runBytesMax, 0)
    guard count > 0 else {
      if count < 0, errno == EAGAIN { return }
      throw ended(number, count)
    }
    let expected = pattern.bytes(at: UInt64(lanes[number].receivedBytes))
    guard memcmp(buffer, expected, count) == 0 else {
      throw LoadError("connection \(number): the echo is wrong")
    }
    let now = clockNanoseconds()
    lanes[number].receivedBytes += count
    while (lanes[number].answered + 1) * messageBytes <= lanes[number].receivedBytes {
      let time = due(lanes[number].answered, on: number)
      if let measured, measured.contains(time) { latencies.record(now - time) }
      lanes[number].answered += 1
      answered += 1
    }
  }
}
