// What the epoll ring knows of each descriptor.

import RIBase

/// One descriptor: its readiness and at most one operation in each direction. Trivial.
struct EpollDescriptor {
  enum Input: UInt8 { case none, accept, receive, receiveDatagrams }
  enum Output: UInt8 { case none, connect, send }

  /// Whether epoll watches the descriptor: from the first operation on that has to wait.
  var isWatched = false
  /// Whether a read may bring something; false once a read came back empty or short, until the next
  /// edge.
  var mayRead = false
  /// Whether a write may be taken; false once one was not or only in part, until the next edge.
  var mayWrite = true
  /// The end of the stream or an error is waiting behind the bytes: no further edge announces it,
  /// so reading goes on past a short read.
  var isEnding = false
  /// Whether the descriptor stands in the ready list. Outlives a close, like `next`.
  var isListed = false
  var next: Int32 = -1

  var input = Input.none
  var inputPool = PoolID(0)
  /// Buffers for the next receive: grows while receives fill all of theirs.
  var inputBuffers: UInt8 = 1
  var inputToken = Token(0)
  var inputLeft = 0

  var output = Output.none
  var outputMode = SendMode.all
  var outputToken = Token(0)
  var outputQueue = SliceQueue()
  var outputSent: Int32 = 0
  var outputTotal: Int32 = 0
  /// A patient send is being tried for the first time.
  var isOutputPatient = false

  /// Why the connection failed, once a send has learned it: the kernel tells it only once, and a
  /// receive would then take the failure for the end of the stream.
  var failure: Int32 = 0
}

/// States by descriptor number, and the list of descriptors that have work to do. Grows with the
/// highest descriptor, which RLIMIT_NOFILE bounds.
struct EpollTable: ~Copyable {
  private var states: UnsafeMutablePointer<EpollDescriptor>
  private var capacity = 64
  private var head: Int32 = -1
  private var tail: Int32 = -1
  /// Descriptors in the ready list.
  private(set) var readyCount = 0

  init() {
    states = .allocate(capacity: capacity)
    states.initialize(repeating: EpollDescriptor(), count: capacity)
  }

  deinit { states.deallocate() }

  /// The state of a descriptor, in place. The pointer is valid until a higher descriptor is named.
  mutating func state(_ descriptor: Int32) -> UnsafeMutablePointer<EpollDescriptor> {
    precondition(descriptor >= 0, "not a descriptor")
    if Int(descriptor) >= capacity { grow(past: Int(descriptor)) }
    // SAFETY: descriptor < capacity, and all `capacity` states are initialised.
    return states + Int(descriptor)
  }

  /// Forgets what was known of a descriptor that has been closed.
  mutating func reset(_ descriptor: Int32) {
    let state = state(descriptor)
    var fresh = EpollDescriptor()
    fresh.isListed = state.pointee.isListed
    fresh.next = state.pointee.next
    state.pointee = fresh
  }

  /// Puts a descriptor at the end of the ready list unless it is there.
  mutating func list(_ descriptor: Int32) {
    let state = state(descriptor)
    guard !state.pointee.isListed else { return }
    state.pointee.isListed = true
    state.pointee.next = -1
    if tail < 0 { head = descriptor } else { states[Int(tail)].next = descriptor }
    tail = descriptor
    readyCount += 1
  }

  /// Takes the first descriptor of the ready list.
  mutating func popReady() -> Int32? {
    guard head >= 0 else { return nil }
    let descriptor = head
    head = states[Int(descriptor)].next
    if head < 0 { tail = -1 }
    states[Int(descriptor)].isListed = false
    readyCount -= 1
    return descriptor
  }

  private mutating func grow(past descriptor: Int) {
    var grown = capacity
    while grown <= descriptor { grown *= 2 }
    let states = UnsafeMutablePointer<EpollDescriptor>.allocate(capacity: grown)
    // SAFETY: EpollDescriptor is trivial; the first `capacity` are initialised, the rest set here.
    states.update(from: self.states, count: capacity)
    (states + capacity).initialize(repeating: EpollDescriptor(), count: grown - capacity)
    self.states.deallocate()
    self.states = states
    capacity = grown
  }
}
