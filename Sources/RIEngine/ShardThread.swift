// A thread that runs one shard, and the way to talk to it.

import Dispatch
import Glibc
import RIBase
import RIControl
import RIRing
import Synchronization

/// Owns a shard's thread. The ring is made on that thread: only it may use it (io_uring's
/// SINGLE_ISSUER).
final class ShardThread: Sendable {
  let index: Int
  /// Where a hub's shard accepts edges.
  let tunnelPort: Port?
  private let mailbox: ShardMailbox
  private let finished: DispatchGroup

  private struct Started: Sendable {
    var mailbox: ShardMailbox
    var tunnelPort: Port?
  }

  /// Starts the thread and returns when the shard runs, or throws what kept it from running.
  init(
    index: Int, budgetBytes: Int, report: @escaping Engine.Report,
    role: @escaping @Sendable () -> Shard.Role
  ) throws(EngineError) {
    self.index = index
    let outcome = StartOutcome()
    let finished = DispatchGroup()
    finished.enter()
    startThread(name: "ri-shard-\(index)") {
      defer { finished.leave() }
      Self.run(
        index: index, budgetBytes: budgetBytes, report: report, role: role, outcome: outcome)
    }
    let started = try outcome.wait().get()
    mailbox = started.mailbox
    tunnelPort = started.tunnelPort
    self.finished = finished
  }

  /// The thread's body: makes the ring and the shard, says so, runs it to its end.
  private static func run(
    index: Int, budgetBytes: Int, report: @escaping Engine.Report,
    role: @Sendable () -> Shard.Role, outcome: StartOutcome
  ) {
    do {
      requestTimeSlice(Limits.shardTimeSlice)
      let store = BufferStore(ShardPool.shapes(memoryBudgetBytes: budgetBytes))
      let (ring, note) = try makeRing(store: store, preference: try .fromEnvironment())
      if index == 0 {
        if let note { report(.warning(note)) }
        report(.note("ring: \(ring.backendName)"))
      }
      let waker = ring.waker
      let mailbox = ShardMailbox(capacity: Limits.mailboxMessagesMax) { waker.wake() }
      let shard = Shard(index: index, ring: ring, role: role(), mailbox: mailbox, report: report)
      shard.descriptorsMax = raiseDescriptorLimit()
      try shard.start()
      outcome.set(.success(Started(mailbox: mailbox, tunnelPort: shard.tunnelPort)))
      shard.run()
      mailbox.close()
      // Who waits for an answer to what was left gets none.
      var left: [ShardCommand] = []
      mailbox.takeAll(into: &left)
    } catch let error as EngineError {
      outcome.set(.failure(error))
    } catch let error as RingError {
      outcome.set(.failure(.ring(error)))
    } catch {
      outcome.set(.failure(.settings("\(error)")))
    }
  }

  /// Dropped when the shard has ended, or has not read its mailbox for a thousand commands.
  func send(_ command: ShardCommand) { try? mailbox.post(command) }

  func join() { finished.wait() }

  /// The shard's status, or nil when it has ended.
  func status() async -> ShardStatus? {
    await withCheckedContinuation { (continuation: CheckedContinuation<ShardStatus?, Never>) in
      let once = OnceReply { continuation.resume(returning: $0) }
      send(.status { once.reply($0) })
    }
  }

  /// What the starting thread waits for.
  private final class StartOutcome: Sendable {
    private let result = Mutex<Result<Started, EngineError>?>(nil)
    private let ready = DispatchSemaphore(value: 0)

    func set(_ outcome: Result<Started, EngineError>) {
      result.withLock { $0 = outcome }
      ready.signal()
    }

    func wait() -> Result<Started, EngineError> {
      ready.wait()
      return result.withLock { $0 } ?? .failure(.settings("the shard ended at its start"))
    }
  }
}

/// Answers once, also when whoever should have answered is gone: then with nil.
private final class OnceReply: Sendable {
  private let body: Mutex<(@Sendable (ShardStatus?) -> Void)?>

  init(_ body: @escaping @Sendable (ShardStatus?) -> Void) { self.body = Mutex(body) }

  func reply(_ status: ShardStatus?) {
    let pending = body.withLock { body in
      defer { body = nil }
      return body
    }
    pending?(status)
  }

  deinit { reply(nil) }
}

/// Runs `body` on a thread of its own.
private func startThread(name: String, _ body: @escaping @Sendable () -> Void) {
  let box = Unmanaged.passRetained(ThreadBody(name: name, body: body))
  var thread = pthread_t()
  // SAFETY: the box is retained for the thread, which takes that reference over as its first act.
  let code = pthread_create(
    &thread, nil,
    { argument in
      guard let argument else { return nil }
      let box = Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue()
      nameThread(box.name)
      box.body()
      return nil
    }, box.toOpaque())
  precondition(code == 0, "pthread_create failed: \(code)")
  pthread_detach(thread)
}

private final class ThreadBody: Sendable {
  let name: String
  let body: @Sendable () -> Void

  init(name: String, body: @escaping @Sendable () -> Void) {
    self.name = name
    self.body = body
  }
}
