// Server-sent events for one listener (HTML standard, section 9.2), who may be slow.

import HummingbirdCore
import NIOCore
import Synchronization

/// Writes events as they come, with a comment now and then so that nobody in between takes the
/// connection for dead.
///
/// ```
///  source ─▶ queue, the newest `eventsQueuedMax` ─▶ socket
///               ▲ heartbeat
/// ```
/// Who does not read fills the queue and loses the oldest: an event `eventsLost` says how many.
struct EventStream: Sendable {
  private enum Item: Sendable {
    case event(AdminEvent)
    case heartbeat
  }

  let limits: AdminLimits

  /// Runs until the listener has gone, the source ends or the task is cancelled.
  func run(
    _ subscription: AdminSubscription, on channel: any Channel,
    to writer: inout any ResponseBodyWriter
  ) async throws {
    let (items, feed) = AsyncStream.makeStream(
      of: Item.self, bufferingPolicy: .bufferingNewest(limits.eventsQueuedMax))
    let dropped = Dropped()
    let yield: @Sendable (Item) -> Bool = { item in
      switch feed.yield(item) {
      case .dropped(.event): dropped.count.add(1, ordering: .relaxed)
      case .terminated: return false
      default: break
      }
      return true
    }
    channel.closeFuture.whenComplete { _ in feed.finish() }
    let pump = Task {
      await subscription.forEach { yield(.event($0)) }
      feed.finish()
    }
    let interval = Duration.seconds(limits.heartbeatSeconds)
    let heart = Task {
      while (try? await Task.sleep(for: interval)) != nil, yield(.heartbeat) {}
    }
    defer {
      pump.cancel()
      heart.cancel()
    }
    try await writer.write(ByteBuffer(string: "retry: 2000\n: events from here on\n\n"))
    var (lost, told) = (0, 0)
    for await item in items {
      var text = ": alive\n\n"
      if case .event(let event) = item {
        lost = event.lost
        text = Self.message(event.name, event.data)
      }
      let gone = lost + dropped.count.load(ordering: .relaxed)
      if gone > told { text = Self.message("eventsLost", #"{"count":\#(gone - told)}"#) + text }
      told = max(told, gone)
      try await writer.write(ByteBuffer(string: text))
    }
    try await writer.finish(nil)
  }

  private final class Dropped: Sendable {
    let count = Atomic(0)
  }

  /// One message; a line break in the data begins a new line of it.
  static func message(_ name: String, _ data: String) -> String {
    let lines = data.split(separator: "\n", omittingEmptySubsequences: false)
    return "event: \(name)\n" + lines.map { "data: \($0)\n" }.joined() + "\n"
  }
}

/// How many listen to events, of how many that may.
final class EventSeats: Sendable {
  /// A listener's place, given back when nobody holds it any more.
  final class Seat: Sendable {
    private let seats: EventSeats

    fileprivate init(_ seats: EventSeats) { self.seats = seats }

    deinit { seats.taken.subtract(1, ordering: .relaxed) }
  }

  private let taken = Atomic(0)
  private let most: Int

  init(_ most: Int) { self.most = most }

  /// nil when all are taken.
  func take() -> Seat? {
    guard taken.add(1, ordering: .relaxed).newValue <= most else {
      taken.subtract(1, ordering: .relaxed)
      return nil
    }
    return Seat(self)
  }
}
