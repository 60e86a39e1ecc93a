// The submission and completion queues that a thread shares with the kernel (io_uring(7)).

import CLinuxIO
import Glibc

/// One io_uring instance. It is used, and given up, by the thread that made it.
struct UringQueue: ~Copyable {
  private let ring: UnsafeMutablePointer<io_uring>
  /// IORING_FEAT_*.
  let kernelFeatures: UInt32
  /// Whether the ring's descriptor is registered.
  let isRegistered: Bool
  private let enterFlags: UInt32

  /// `entries` submissions and `completions` completions fit, or as many as the kernel allows.
  init(entries: Int, completions: Int, features: UringFeatures) throws(RingError) {
    var parameters = io_uring_params()
    parameters.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE
    parameters.cq_entries = UInt32(clamping: completions)
    if features.deferredTaskRun {
      parameters.flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
    } else if features.cooperativeTaskRun {
      parameters.flags |= IORING_SETUP_COOP_TASKRUN
    }
    if features.submitAll { parameters.flags |= IORING_SETUP_SUBMIT_ALL }
    let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
    ring.initialize(to: io_uring())
    let result = io_uring_queue_init_params(UInt32(clamping: entries), ring, &parameters)
    guard result == 0 else {
      ring.deallocate()
      throw RingError(call: "io_uring_setup", code: -result)
    }
    self.ring = ring
    kernelFeatures = parameters.features
    isRegistered = features.registeredRing && io_uring_register_ring_fd(ring) == 1
    enterFlags = IORING_ENTER_GETEVENTS | (isRegistered ? IORING_ENTER_REGISTERED_RING : 0)
    // Entry i of the queue is always submission i: the index array never changes.
    for i in 0..<ring.pointee.sq.ring_entries {
      ring.pointee.sq.array[Int(i)] = i
    }
  }

  deinit {
    io_uring_queue_exit(ring)
    ring.deallocate()
  }

  /// Whether the kernel knows an opcode (IORING_REGISTER_PROBE).
  func supports(_ operation: io_uring_op) -> Bool {
    guard let probe = io_uring_get_probe_ring(ring) else { return false }
    defer { io_uring_free_probe(probe) }
    return io_uring_opcode_supported(probe, Int32(operation.rawValue)) != 0
  }

  // MARK: Submissions

  /// Entries filled in and not taken by the kernel yet.
  var unsubmittedCount: UInt32 {
    ring.pointee.sq.sqe_tail &- ri_load_acquire(ring.pointee.sq.khead)
  }

  var isFull: Bool { unsubmittedCount == ring.pointee.sq.ring_entries }

  /// The next entry to fill in, or nil when the queue is full.
  func nextEntry() -> UnsafeMutablePointer<io_uring_sqe>? {
    guard !isFull else { return nil }
    let tail = ring.pointee.sq.sqe_tail
    ring.pointee.sq.sqe_tail = tail &+ 1
    // SAFETY: masked to the mapped array; the kernel has consumed what was in it (not full).
    return ring.pointee.sq.sqes + Int(tail & ring.pointee.sq.ring_mask)
  }

  /// Submits all entries and waits for `waitFor` completions, at most `timeout` nanoseconds
  /// (negative: for ever). Returns the number of entries taken, or a negated errno.
  func enter(waitFor: UInt32, timeout: Int64) -> Int32 {
    ri_store_release(ring.pointee.sq.ktail, ring.pointee.sq.sqe_tail)
    return ri_uring_enter(ring, unsubmittedCount, waitFor, enterFlags, timeout)
  }

  // MARK: Completions

  /// Whether a completion can be reaped at once.
  var hasCompletions: Bool {
    ri_load_acquire(ring.pointee.cq.ktail) != ring.pointee.cq.khead.pointee
  }

  /// Whether completions wait in the kernel for room in the queue; `enter` moves them here.
  var hasOverflow: Bool {
    ri_load_acquire(ring.pointee.sq.kflags) & IORING_SQ_CQ_OVERFLOW != 0
  }

  /// Takes each completion (user data, result, flags) off the queue and hands it to `body`, which
  /// may reap by itself.
  @inline(__always)
  func reap(_ body: (UInt64, Int32, UInt32) -> Void) {
    guard let cqes = ring.pointee.cq.cqes, let head = ring.pointee.cq.khead else { return }
    let mask = ring.pointee.cq.ring_mask
    while head.pointee != ri_load_acquire(ring.pointee.cq.ktail) {
      // SAFETY: masked to the mapped array; entries before the tail were written by the kernel.
      let entry = cqes + Int(head.pointee & mask)
      let (userData, result, flags) = (
        entry.pointee.user_data, entry.pointee.res, entry.pointee.flags
      )
      ri_store_release(head, head.pointee &+ 1)
      body(userData, result, flags)
    }
  }

  // MARK: Buffer rings

  /// 0 or a negated errno.
  func register(_ registration: inout io_uring_buf_reg) -> Int32 {
    io_uring_register_buf_ring(ring, &registration, 0)
  }

  func unregister(_ buffers: BufferRing) {
    io_uring_unregister_buf_ring(ring, Int32(buffers.group))
    buffers.unmap()
  }
}
