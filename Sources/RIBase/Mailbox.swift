// Messages from any thread to the one that owns a shard.

import Synchronization

/// Why a message was not taken.
public enum MailboxRefusal: Error, Equatable, Sendable {
  /// The owner is `capacity` messages behind.
  case full(capacity: Int)
  /// The owner takes no more.
  case closed
}

/// A bounded queue with many senders and one owner.
///
/// The owner is woken when a message arrives in an empty mailbox, and not again before it took
/// all: it must `takeAll` each time it wakes. `isEmpty` costs one load, so a loop may ask every
/// turn.
public final class Mailbox<Message: Sendable>: Sendable {
  public let capacity: Int
  private let wake: @Sendable () -> Void
  private let state = Mutex(State())
  private let hasMessages = Atomic(false)

  private struct State {
    var messages: [Message] = []
    var isClosed = false
  }

  /// `wake` is called on the sender's thread, without a lock held, and must make the owner look.
  public init(capacity: Int, wake: @escaping @Sendable () -> Void) {
    precondition(capacity > 0)
    self.capacity = capacity
    self.wake = wake
  }

  /// Leaves a message. From any thread.
  public func post(_ message: Message) throws(MailboxRefusal) {
    let result: Result<Bool, MailboxRefusal> = state.withLock { state in
      if state.isClosed { return .failure(.closed) }
      if state.messages.count >= capacity { return .failure(.full(capacity: capacity)) }
      state.messages.append(message)
      hasMessages.store(true, ordering: .releasing)
      return .success(state.messages.count == 1)
    }
    if try result.get() { wake() }
  }

  /// Whether nothing waits. A message posted at this moment may be missed; its wake is not.
  public var isEmpty: Bool { !hasMessages.load(ordering: .acquiring) }

  /// Moves all messages, in the order of their posting, into `batch`, which must be empty. The
  /// two exchange their memory, so a batch that is used again makes this free of allocation.
  public func takeAll(into batch: inout [Message]) {
    precondition(batch.isEmpty)
    state.withLock { state in
      swap(&state.messages, &batch)
      hasMessages.store(false, ordering: .releasing)
    }
  }

  /// Refuses all further messages. Those that wait can still be taken.
  public func close() { state.withLock { $0.isClosed = true } }
}
