// What io_uring offers beyond its oldest usable form (Linux 5.11), and how that is found out.

import CLinuxIO
import Glibc

/// Parts of io_uring that a ring uses when they are there. Each can be switched off by itself.
public struct UringFeatures: Hashable, Sendable {
  /// SINGLE_ISSUER and DEFER_TASKRUN: completions are made when we wait, not by interrupting (6.1).
  public var deferredTaskRun = false
  /// COOP_TASKRUN, where the former is missing (5.19).
  public var cooperativeTaskRun = false
  /// SUBMIT_ALL: a refused entry does not hold up those behind it (5.18).
  public var submitAll = false
  /// The ring's own descriptor is registered, which saves its lookup in each call (5.18).
  public var registeredRing = false
  /// POLL_FIRST and SOCK_NONEMPTY: no receive is tried on a socket known to be drained (5.19).
  public var pollFirst = false
  /// Provided-buffer rings: the kernel picks a buffer when data arrives (5.19). Without them we do
  /// the same by waiting for data and calling recv.
  public var bufferRings = false
  /// One accept for all connections (5.19).
  public var multishotAccept = false
  /// One receive for many buffers or datagrams (6.0).
  public var multishotReceive = false
  /// A multishot receive ends by itself after a number of bytes (6.17).
  public var multishotLimit = false
  /// One receive fills many buffers (6.10).
  public var receiveBundles = false
  /// A send that is taken whole at once makes no completion; one that is not tells how much was
  /// (CQE_SKIP_SUCCESS, 5.17; the count is right since 6.1).
  public var silentSends = false

  public init() {}

  /// The oldest form that a ring works with.
  public static let oldest = UringFeatures()

  /// Every feature by name; for logs, and for tests that switch them off one by one.
  public static var all: [(name: String, path: WritableKeyPath<UringFeatures, Bool> & Sendable)] {
    [
      ("deferred task run", \.deferredTaskRun),
      ("cooperative task run", \.cooperativeTaskRun),
      ("submit all", \.submitAll),
      ("registered ring", \.registeredRing),
      ("poll first", \.pollFirst),
      ("buffer rings", \.bufferRings),
      ("multishot accept", \.multishotAccept),
      ("multishot receive", \.multishotReceive),
      ("multishot limit", \.multishotLimit),
      ("receive bundles", \.receiveBundles),
      ("silent sends", \.silentSends),
    ]
  }

  /// One `name: yes|no` a line.
  var lines: [String] {
    Self.all.map { "\($0.name): \(self[keyPath: $0.path] ? "yes" : "no")" }
  }

  /// Switches off what needs something that is off.
  func consistent() -> UringFeatures {
    var features = self
    if !bufferRings {
      features.multishotReceive = false
      features.receiveBundles = false
    }
    if !features.multishotReceive { features.multishotLimit = false }
    return features
  }

  // MARK: Probe

  /// The features of this kernel, asked once for each process.
  public static let probed: Result<UringFeatures, RingError> = {
    do throws(RingError) {
      return .success(try probe())
    } catch {
      return .failure(error)
    }
  }()

  /// Asks the kernel. Fails with EPERM where io_uring is forbidden, ENOSYS where it is missing or
  /// older than Linux 5.11.
  private static func probe() throws(RingError) -> UringFeatures {
    var features = UringFeatures()
    let scratch = try UringQueue(entries: 8, completions: 16, features: features)
    let needed =
      IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG
    guard scratch.kernelFeatures & needed == needed else {
      throw RingError(call: "io_uring_setup", code: ENOSYS)
    }
    features.deferredTaskRun = accepts { $0.deferredTaskRun = true }
    features.cooperativeTaskRun = accepts { $0.cooperativeTaskRun = true }
    features.submitAll = accepts { $0.submitAll = true }
    var registered = UringFeatures()
    registered.registeredRing = true
    if let queue = try? UringQueue(entries: 8, completions: 16, features: registered) {
      features.registeredRing = queue.isRegistered
    }
    // IORING_OP_SOCKET came with the same release as multishot accept and POLL_FIRST (5.19).
    let since519 = scratch.supports(IORING_OP_SOCKET)
    features.pollFirst = since519
    features.multishotAccept = since519
    features.receiveBundles = scratch.kernelFeatures & RI_FEAT_RECVSEND_BUNDLE != 0
    probeReceives(scratch, &features)
    features.silentSends = keepsSilent(scratch)
    return features.consistent()
  }

  private static func accepts(_ change: (inout UringFeatures) -> Void) -> Bool {
    var features = UringFeatures()
    change(&features)
    return (try? UringQueue(entries: 8, completions: 16, features: features)) != nil
  }

  /// Tries receives on a socket pair: there is no flag to ask for these.
  private static func probeReceives(
    _ queue: borrowing UringQueue, _ features: inout UringFeatures
  ) {
    let bufferBytes = 64
    var memory = [UInt8](repeating: 0, count: 2 * bufferBytes)
    memory.withUnsafeMutableBytes { memory in
      guard let base = memory.baseAddress,
        let ring = BufferRing(queue, group: 0, entries: 2)
      else { return }
      features.bufferRings = true
      // SAFETY: slot < 2, and `memory` has room for two buffers. Bytes arrive in them only while
      // the pair is open: a receive that is still pending then finds the end of the stream.
      for slot in 0..<2 { ring.put(base + slot * bufferBytes, bufferBytes, at: slot) }
      ring.publish(tail: 2)
      var pair: [Int32] = [-1, -1]
      guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0 else { return }
      // With a limit of one byte the receive of one byte is the last; without one it goes on.
      let last = receiveOneByte(queue, pair, flags: UInt16(IORING_RECV_MULTISHOT), total: 1)
      features.multishotLimit = last == .some(false)
      let goesOn = receiveOneByte(queue, pair, flags: UInt16(IORING_RECV_MULTISHOT), total: 0)
      features.multishotReceive = goesOn == .some(true)
      Glibc.close(pair[0])
      Glibc.close(pair[1])
      queue.unregister(ring)
    }
  }

  /// Whether a send that is to keep silent does so when the socket takes all of it, and tells the
  /// count when it takes a part.
  private static func keepsSilent(_ queue: borrowing UringQueue) -> Bool {
    var pair: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0 else { return false }
    defer { for descriptor in pair { Glibc.close(descriptor) } }
    // Completions of receives that were tried before may still come.
    let ours: UInt64 = 2
    // More than the pair's buffers hold.
    let bytes = [UInt8](repeating: 0, count: 4 << 20)
    var results: [Int32] = []
    for count in [1, bytes.count] {
      bytes.withUnsafeBytes { bytes in
        // SAFETY: an entry of the mapped queue, ours until `enter` submits it. The send is tried
        // then and never again (MSG_DONTWAIT), so it is done with `bytes` when `enter` returns.
        guard let entry = queue.nextEntry() else { return }
        io_uring_prep_send(entry, pair[0], bytes.baseAddress, count, UringRing.silentFlags)
        entry.pointee.flags |= RI_IOSQE_CQE_SKIP_SUCCESS
        entry.pointee.user_data = ours
        _ = queue.enter(waitFor: 0, timeout: -1)
      }
      queue.reap { userData, result, _ in if userData == ours { results.append(result) } }
    }
    return results.count == 1 && results[0] > 0 && results[0] < bytes.count
  }

  /// Whether the receive goes on after one byte; nil when it was refused.
  private static func receiveOneByte(
    _ queue: borrowing UringQueue, _ pair: [Int32], flags: UInt16, total: UInt32
  ) -> Bool? {
    // SAFETY: an entry of the mapped queue, ours until `enter` submits it. It points to no memory
    // of ours (the kernel picks the buffer), and send and recv are done with `byte` when they
    // return.
    guard let entry = queue.nextEntry() else { return nil }
    ri_prep_recv_select(entry, pair[0], 0, 0, flags, total)
    entry.pointee.user_data = UInt64(total)
    var byte: UInt8 = 1
    guard send(pair[1], &byte, 1, Int32(MSG_NOSIGNAL)) == 1 else { return nil }
    _ = queue.enter(waitFor: 1, timeout: 1_000_000_000)
    var result: Bool?
    queue.reap { _, received, flags in
      if received == 1 { result = flags & IORING_CQE_F_MORE != 0 }
    }
    if result == nil { recv(pair[0], &byte, 1, Int32(MSG_DONTWAIT)) }
    return result
  }
}
