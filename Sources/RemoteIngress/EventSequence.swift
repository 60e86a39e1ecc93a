// Events for many listeners, each of which may be slow: a bounded queue for each, that keeps the
// newest and counts what it lost.

import Synchronization

/// The events from when it was made on, for one listener. Ends when the hub or edge is gone.
///
/// Holds the newest 4,096 that were not taken yet; older ones are dropped and counted in `lost`.
public struct EventSequence<Event: Sendable>: AsyncSequence, Sendable {
  public typealias Element = Event
  public typealias Failure = Never

  fileprivate let stream: AsyncStream<Event>
  fileprivate let losses: Losses

  /// Events that this listener has lost so far, because it did not take them in time or because the
  /// engine had more of them than it could tell.
  public var lost: Int { losses.count.load(ordering: .relaxed) }

  public func makeAsyncIterator() -> AsyncStream<Event>.Iterator { stream.makeAsyncIterator() }
}

private final class Losses: Sendable {
  let count = Atomic(0)
}

/// Hands each event to all who listen.
final class EventBroadcaster<Event: Sendable>: Sendable {
  private struct Listener {
    var continuation: AsyncStream<Event>.Continuation
    var losses: Losses
    var wants: @Sendable (Event) -> Bool
    var wantsStreams: Bool
  }

  private struct State {
    var listeners: [UInt64: Listener] = [:]
    var nextID: UInt64 = 0
  }

  private let state = Mutex(State())
  /// Called when the first listener who wants events of streams comes, and when the last has gone.
  private let streamsWanted: @Sendable (Bool) -> Void

  init(streamsWanted: @escaping @Sendable (Bool) -> Void = { _ in }) {
    self.streamsWanted = streamsWanted
  }

  deinit {
    for listener in state.withLock({ $0.listeners.values }) { listener.continuation.finish() }
  }

  /// A new listener's events, of those that `wants` lets through.
  func subscribe(
    capacity: Int = 4_096, wantsStreams: Bool = true,
    where wants: @escaping @Sendable (Event) -> Bool = { _ in true }
  ) -> EventSequence<Event> {
    let (stream, continuation) = AsyncStream.makeStream(
      of: Event.self, bufferingPolicy: .bufferingNewest(capacity))
    let losses = Losses()
    let id = state.withLock { state in
      state.nextID += 1
      state.listeners[state.nextID] = Listener(
        continuation: continuation, losses: losses, wants: wants, wantsStreams: wantsStreams)
      return state.nextID
    }
    continuation.onTermination = { [weak self] _ in self?.remove(id) }
    if wantsStreams { streamsWanted(hasStreamListeners) }
    return EventSequence(stream: stream, losses: losses)
  }

  private func remove(_ id: UInt64) {
    let gone = state.withLock { $0.listeners.removeValue(forKey: id) }
    if let gone, gone.wantsStreams { streamsWanted(hasStreamListeners) }
  }

  /// Whether anyone wants the events of single streams.
  var hasStreamListeners: Bool {
    state.withLock { $0.listeners.values.contains { $0.wantsStreams } }
  }

  func send(_ event: Event) {
    for listener in state.withLock({ Array($0.listeners.values) }) where listener.wants(event) {
      if case .dropped = listener.continuation.yield(event) {
        _ = listener.losses.count.wrappingAdd(1, ordering: .relaxed)
      }
    }
  }

  /// Events were lost before they got here.
  func addLost(_ count: Int) {
    for listener in state.withLock({ Array($0.listeners.values) }) where listener.wantsStreams {
      _ = listener.losses.count.wrappingAdd(count, ordering: .relaxed)
    }
  }
}
