// The system's clock and random source.

import CLinuxIO
import Glibc
import RIBase

/// The monotonic and the wall clock; answered by the vDSO without a system call.
enum KernelClock {
  /// CLOCK_MONOTONIC.
  static func now() -> Instant {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }

  /// CLOCK_REALTIME in seconds since 1970.
  static func wallClockSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}

/// Random numbers of the kernel, fetched 32 at a time.
struct KernelRandom: ~Copyable {
  private static let words = 32
  private let buffer = UnsafeMutablePointer<UInt64>.allocate(capacity: words)
  private var left = 0

  init() {}

  deinit { buffer.deallocate() }

  /// 64 bits of getrandom(2).
  mutating func next() -> UInt64 {
    if left == 0 { fill() }
    left -= 1
    return buffer[left]
  }

  private mutating func fill() {
    // SAFETY: `buffer` holds `words` words; requests up to 256 bytes are answered whole once the
    // pool is seeded (getrandom(2)), so only a signal before that can make a call come back early.
    let size = Self.words * MemoryLayout<UInt64>.size
    while getrandom(buffer, size, 0) != size {
      precondition(errno == EINTR, "getrandom: \(errnoText(errno))")
    }
    left = Self.words
  }
}
