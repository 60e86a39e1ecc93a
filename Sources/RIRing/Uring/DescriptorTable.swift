// What a ring knows of each descriptor: its operations under way and whether it is being closed.

import RIBase

/// One descriptor. Trivial.
struct DescriptorState {
  /// The first of its operations under way, or `OperationTable.none`.
  var firstOperation = OperationTable.none
  var isClosing = false
  var closeMode = CloseMode.graceful
  /// The last receive left nothing to read behind.
  var isDrained = false
  /// The errno that broke the connection, when a send was told of it: the kernel tells it once, and
  /// shows an end of stream to a receive that asks later. 0: none.
  var failure: Int32 = 0
  var closeToken = Token(.max)
}

/// The states by descriptor: the kernel gives the lowest free number, so a plain array is dense. It
/// grows to the highest descriptor used, which RLIMIT_NOFILE bounds.
struct DescriptorTable: ~Copyable {
  private var states: UnsafeMutablePointer<DescriptorState>
  private var capacity = 1024

  init() {
    states = .allocate(capacity: capacity)
    states.initialize(repeating: DescriptorState(), count: capacity)
  }

  deinit { states.deallocate() }

  subscript(descriptor: Int32) -> UnsafeMutablePointer<DescriptorState> {
    mutating get {
      precondition(descriptor >= 0)
      if Int(descriptor) >= capacity { grow(to: Int(descriptor) + 1) }
      // SAFETY: below capacity, and all states are initialised; valid until the table grows, so no
      // caller keeps it across a call that may name another descriptor.
      return states + Int(descriptor)
    }
  }

  private mutating func grow(to needed: Int) {
    var larger = capacity
    while larger < needed { larger *= 2 }
    let moved = UnsafeMutablePointer<DescriptorState>.allocate(capacity: larger)
    moved.moveInitialize(from: states, count: capacity)
    (moved + capacity).initialize(repeating: DescriptorState(), count: larger - capacity)
    states.deallocate()
    states = moved
    capacity = larger
  }
}
