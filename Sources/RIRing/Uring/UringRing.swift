// The ring on io_uring: set-up, submission, and the reaping of completions. One system call for
// each `wait` in the steady state, which submits, runs what the kernel has ready and waits.
//
// The user data of an entry is the slot of its operation. Sockets are named by plain descriptors:
// direct ones would have to be handed back for every call that acts at once. Registered buffers are
// not used: they were measured slower for sockets.

import CLinuxIO
import Glibc
import RIBase

/// The `IORing` of Linux 5.11 and newer.
///
/// Its state is used by one thread and no closure calls back into it, so it goes without the
/// dynamic exclusivity checks that would cost a call for each access.
public final class UringRing: IORing {
  /// User data of entries that are no caller's operation.
  enum UserData {
    static let ignored = UInt64.max
    static let wake = UInt64.max - 1
  }

  public let backendName = "uring"
  public let store: BufferStore
  @exclusivity(unchecked) public private(set) var now: Instant
  /// What this ring uses.
  public let used: UringFeatures

  let sockets = Sockets(nonblocking: false)
  let queue: UringQueue
  @exclusivity(unchecked) var operations = OperationTable()
  @exclusivity(unchecked) var descriptors = DescriptorTable()
  @exclusivity(unchecked) private var arena = SubmitArena()
  /// The buffers that the kernel holds, by pool.
  let lent: UnsafeMutablePointer<LentBuffers?>
  /// Completions of the next `wait`, beside those of the last that the caller may still be reading.
  @exclusivity(unchecked) private var completions = CompletionQueue()
  /// Completions taken off a queue that had to be emptied to go on submitting.
  @exclusivity(unchecked) private var stashed: [(userData: UInt64, result: Int32, flags: UInt32)] =
    []

  /// Slots of silent sends that have not been settled; so many of them the kernel has taken.
  @exclusivity(unchecked) var silentSends: [UInt32] = []
  @exclusivity(unchecked) var silentTaken = 0
  /// Something waits for one of them.
  @exclusivity(unchecked) var isHurried = false

  private let eventWaker: EventWaker
  @exclusivity(unchecked) private var isWoken = false
  @exclusivity(unchecked) private var resolver: Resolver
  @exclusivity(unchecked) private var randomSource = KernelRandom()

  /// What this kernel offers. Fails with EPERM where io_uring is forbidden, ENOSYS where it is
  /// missing or older than Linux 5.11.
  public static func probe() throws(RingError) -> UringFeatures {
    try UringFeatures.probed.get()
  }

  /// A ring for the calling thread. `features` (nil: all that there are) must be a subset of what
  /// `probe` reports. Fails as `probe` does, and with the error of the call that failed.
  public init(
    store: BufferStore, entries: Int = 1024, features: UringFeatures? = nil
  ) throws(RingError) {
    let offered = try Self.probe()
    used = (features ?? offered).consistent()
    queue = try UringQueue(entries: entries, completions: 8 * entries, features: used)
    eventWaker = try EventWaker()
    self.store = store
    now = KernelClock.now()
    resolver = Resolver(waker: eventWaker)
    // SAFETY: the ring's own, a place for each pool (a store never gains one), all initialised
    // here; deinitialised and freed in deinit.
    lent = .allocate(capacity: store.poolCount)
    lent.initialize(repeating: nil, count: store.poolCount)
    armWaker()
  }

  deinit {
    // Operations still pending end with the queue. Deferred work runs only inside our own calls, so
    // none of them touches a buffer from here on.
    for pool in 0..<store.poolCount {
      guard let buffers = lent[pool] else { continue }
      queue.unregister(buffers.ring)
      buffers.giveBack()
    }
    lent.deinitialize(count: store.poolCount)
    lent.deallocate()
  }

  public var features: [String] { used.lines }

  // MARK: Time and chance

  public func updateNow() -> Instant {
    now = KernelClock.now()
    return now
  }

  public var wallClockSeconds: Double { KernelClock.wallClockSeconds() }
  public func random() -> UInt64 { randomSource.next() }
  public var waker: any RingWaker { eventWaker }

  // MARK: Names

  public func resolve(host: String, port: Port, token: Token) {
    resolver.start(host: host, port: port, token: token)
  }

  public func takeAddresses(_ token: Token) -> [SocketAddress] {
    resolver.takeAddresses(token)
  }

  func cancelResolve(_ token: Token) {
    if resolver.cancel(token) { emit(token, -ECANCELED) }
  }

  // MARK: Submission

  /// Takes an entry to fill in, with room for `arenaBytes` in the arena. Submits what is queued
  /// when either is full.
  func entry(arenaBytes: Int = 0) -> UnsafeMutablePointer<io_uring_sqe> {
    while true {
      if arena.hasRoom(arenaBytes), let entry = queue.nextEntry() { return entry }
      submitNow()
    }
  }

  /// Memory for the entry just taken; the sum of all calls for it stays below its `arenaBytes`.
  func arenaBytes(_ count: Int) -> UnsafeMutableRawPointer { arena.take(count) }

  private func submitNow() {
    let result = queue.enter(waitFor: 0, timeout: -1)
    if !accept(result) {
      queue.reap { stashed.append(($0, $1, $2)) }
    }
  }

  /// Whether the kernel took what it was given; false when it wants its completions reaped first.
  private func accept(_ result: Int32) -> Bool {
    if queue.unsubmittedCount == 0 {
      arena.reset()
      silentTaken = silentSends.count
    }
    switch result {
    case 0..., -EINTR, -ETIME: return true
    case -EBUSY, -EAGAIN: return false
    default: preconditionFailure("io_uring_enter: \(errnoText(-result))")
    }
  }

  private func armWaker() {
    // SAFETY: an entry of the mapped queue, ours to fill in until the next submit.
    let entry = entry()
    io_uring_prep_poll_add(entry, eventWaker.descriptor, UInt32(POLLIN))
    entry.pointee.user_data = UserData.wake
  }

  // MARK: Completions

  public func wait(until deadline: Instant?) -> UnsafeBufferPointer<Completion> {
    isWoken = false
    dispatchStashed()
    pollResolver()
    repeat {
      for pool in 0..<store.poolCount { lent[pool]?.refill() }
      let isDue = completions.endsWait || isWoken || isHurried || queue.hasCompletions
      let timeout = isDue ? 0 : deadline.map { max(0, ($0 - now).nanoseconds) } ?? -1
      _ = accept(queue.enter(waitFor: timeout == 0 ? 0 : 1, timeout: timeout == 0 ? -1 : timeout))
      now = KernelClock.now()
      queue.reap(take)
      while queue.hasOverflow {
        _ = accept(queue.enter(waitFor: 0, timeout: -1))
        queue.reap(take)
      }
      dispatchStashed()
      isHurried = false
      settleSilentSends()
      if isWoken { pollResolver() }
    } while !completions.endsWait && !isWoken && deadline.map { now < $0 } ?? true
    return completions.lend()
  }

  /// Completions stay in order: once some are stashed, those behind them are.
  private func take(_ userData: UInt64, _ result: Int32, _ flags: UInt32) {
    if stashed.isEmpty {
      dispatch(userData, result, flags)
    } else {
      stashed.append((userData, result, flags))
    }
  }

  private func dispatchStashed() {
    while !stashed.isEmpty {
      let batch = stashed
      stashed = []
      for completion in batch {
        dispatch(completion.userData, completion.result, completion.flags)
      }
    }
  }

  private func dispatch(_ userData: UInt64, _ result: Int32, _ flags: UInt32) {
    guard userData < UserData.wake else {
      if userData == UserData.wake {
        isWoken = eventWaker.awaitWake()
        armWaker()
      }
      return
    }
    let slot = UInt32(truncatingIfNeeded: userData)
    switch operations[slot].pointee.kind {
    case .receive: received(slot, result, flags)
    case .polledReceive: readyToReceive(slot, result)
    case .datagrams: receivedDatagram(slot, result, flags)
    case .polledDatagrams: readyForDatagrams(slot, result)
    case .send: sent(slot, result)
    case .accept: accepted(slot, result, flags)
    case .single: finish(slot, result)
    case .timeout: finish(slot, result == -ETIME ? 0 : result)
    }
  }

  /// Reports what the resolver has. Its addresses stay until it is asked again, so once a `wait`.
  private func pollResolver() {
    guard resolver.isActive else { return }
    resolver.poll { token, result in emit(token, result) }
  }

  /// Adds a completion to those of the next `wait`.
  func emit(
    _ token: Token, _ result: Int32, more: Bool = false, slice: Slice? = nil,
    isPatient: Bool = false
  ) {
    completions.append(token, result, more: more, slice: slice, isPatient: isPatient)
  }

  // MARK: Operations

  /// Takes a slot for an operation, or completes it with -ENOMEM when there is none.
  func begin(_ operation: Operation) -> UInt32? {
    guard let slot = operations.insert(operation) else {
      emit(operation.token, -ENOMEM)
      return nil
    }
    guard operation.descriptor >= 0 else { return slot }
    // SAFETY: the state stays in place until another descriptor is named, and none is before we
    // return. Operations never move; the neighbours in the list are under way.
    let state = descriptors[operation.descriptor]
    let first = state.pointee.firstOperation
    operations[slot].pointee.next = first
    if first != OperationTable.none { operations[first].pointee.previous = slot }
    state.pointee.firstOperation = slot
    return slot
  }

  /// Completes an operation for the last time.
  func finish(
    _ slot: UInt32, _ result: Int32, slice: Slice? = nil, isPatient: Bool = false
  ) {
    let operation = operations[slot].pointee
    emit(operation.token, result, slice: slice, isPatient: isPatient)
    guard operation.descriptor >= 0 else { return operations.remove(slot) }
    // SAFETY: as in `begin`; `operation` is a copy, for its slot is free before we are done.
    let state = descriptors[operation.descriptor]
    if operation.next != OperationTable.none {
      operations[operation.next].pointee.previous = operation.previous
    }
    if operation.previous != OperationTable.none {
      operations[operation.previous].pointee.next = operation.next
    } else {
      state.pointee.firstOperation = operation.next
    }
    operations.remove(slot)
    if state.pointee.isClosing, state.pointee.firstOperation == OperationTable.none {
      closeDescriptor(operation.descriptor)
    }
  }
}
