// Downloads without end: receives as much as comes, and checks it against the pattern.

import CLoadIO
import Glibc

/// One thread reads all downloads. Where they have appetites, each has a receive size, a write size
/// at the target and a start of its own; an event moves the same number of bytes for all of them,
/// so that none gets less because it asks in small pieces.
struct BulkDownClient: ~Copyable {
  /// What one event moves at most.
  static let eventBytes = 256 * 1024

  private struct Download {
    var socket: Int32
    var receiveBytes: Int
    var offset: UInt64 = 0
    /// Where it stood when the window began.
    var offsetAtBegin: UInt64 = 0
  }

  private let order: LoadOrder
  private let poller = Poller()
  private let pattern = Pattern()
  private let buffer: UnsafeMutableRawPointer
  private let start = clockNanoseconds()
  private var downloads: [Download] = []
  private var total: UInt64 = 0

  static func run(_ order: LoadOrder) throws(LoadError) -> LoadResult {
    guard order.workload.appetites == nil || order.asks else {
      throw LoadError("appetites need a target that can be asked")
    }
    var client = BulkDownClient(order)
    return try client.run()
  }

  private init(_ order: LoadOrder) {
    self.order = order
    buffer = .allocate(byteCount: Self.eventBytes, alignment: 4096)
  }

  deinit { buffer.deallocate() }

  private mutating func run() throws(LoadError) -> LoadResult {
    if order.workload.appetites == nil {
      downloads = try connectAll(order, to: poller, interest: Poller.readable).map {
        Download(socket: $0, receiveBytes: Self.eventBytes)
      }
    }
    var window = MeasuredWindow(order)
    var isMeasuring = false
    while window.goesOn(at: clockNanoseconds(), units: total) {
      if window.isMeasuring, !isMeasuring {
        isMeasuring = true
        for number in downloads.indices {
          downloads[number].offsetAtBegin = downloads[number].offset
        }
      }
      try connectWhatIsDue()
      for i in 0..<poller.wait(until: min(window.nextChange, nextStart ?? .max)) {
        try receive(poller.event(i).number)
      }
    }
    guard let first = downloads.first else { throw LoadError("no download began") }
    var result = try window.result(
      latency: nil, congestion: congestionControl(of: first.socket))
    result.streamUnits = downloads.map { $0.offset - $0.offsetAtBegin }
    return result
  }

  /// When the next download is to begin.
  private var nextStart: UInt64? {
    guard let appetites = order.workload.appetites, downloads.count < appetites.count else {
      return nil
    }
    return start + UInt64(appetites[downloads.count].startMilliseconds) * 1_000_000
  }

  private mutating func connectWhatIsDue() throws(LoadError) {
    while let due = nextStart, due <= clockNanoseconds(),
      let appetite = order.workload.appetites?[downloads.count]
    {
      let socket = try connectTo(order.host, order.port, congestion: order.congestion)
      try ask(TargetRequest(.source, writeBytes: appetite.writeBytes), on: socket)
      poller.add(socket, Poller.readable, number: downloads.count)
      downloads.append(Download(socket: socket, receiveBytes: appetite.receiveBytes))
    }
  }

  private mutating func receive(_ number: Int) throws(LoadError) {
    var budget = Self.eventBytes
    while budget > 0 {
      let download = downloads[number]
      let wanted = min(download.receiveBytes, budget)
      let count = recv(download.socket, buffer, wanted, 0)
      guard count > 0 else {
        if count < 0, errno == EAGAIN { return }
        throw ended(number, count)
      }
      guard pattern.matches(buffer, count: count, at: download.offset) else {
        throw LoadError("connection \(number): wrong bytes at or after \(download.offset)")
      }
      downloads[number].offset += UInt64(count)
      total += UInt64(count)
      budget -= count
      if count < wanted { return }
    }
  }
}
