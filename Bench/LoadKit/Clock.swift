// The monotonic clock, CPU clocks of processes, and the machine's time in total: what a measured
// window is made of.

import Glibc

/// CLOCK_MONOTONIC.
public func clockNanoseconds() -> UInt64 { read(CLOCK_MONOTONIC) }

/// Returns when CLOCK_MONOTONIC has reached the time.
func sleep(until deadline: UInt64) {
  var time = timespec(
    tv_sec: Int(deadline / 1_000_000_000), tv_nsec: Int(deadline % 1_000_000_000))
  while clock_nanosleep(CLOCK_MONOTONIC, Int32(TIMER_ABSTIME), &time, nil) == EINTR {}
}

/// CPU time that a live process and all its threads have used; nil when it is gone.
public func processCPUNanoseconds(_ process: pid_t) -> UInt64? {
  var clock: clockid_t = 0
  guard clock_getcpuclockid(process, &clock) == 0 else { return nil }
  return read(clock)
}

private func read(_ clock: clockid_t) -> UInt64 {
  var time = timespec()
  guard clock_gettime(clock, &time) == 0 else { return 0 }
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Time of all cores since boot, from the first line of /proc/stat (proc(5)).
public struct MachineTime: Equatable, Sendable {
  /// In processes: user, nice and system. Interrupts belong to nobody and are not counted.
  public var processNanoseconds: UInt64
  /// Taken by the hypervisor.
  public var stealNanoseconds: UInt64

  /// Nil unless the text begins like /proc/stat.
  public init?(parsing text: some StringProtocol, ticksPerSecond: Int) {
    let fields = text.prefix { $0 != "\n" }.split(separator: " ")
    guard fields.count >= 9, fields[0] == "cpu" else { return nil }
    let ticks = fields.dropFirst().map { UInt64($0) ?? 0 }
    let tickNanoseconds = UInt64(1_000_000_000 / ticksPerSecond)
    processNanoseconds = (ticks[0] + ticks[1] + ticks[2]) * tickNanoseconds
    stealNanoseconds = ticks[7] * tickNanoseconds
  }

  public static func read() -> MachineTime? {
    guard let text = readSmallFile("/proc/stat") else { return nil }
    return MachineTime(parsing: text, ticksPerSecond: sysconf(Int32(_SC_CLK_TCK)))
  }
}

/// The first 4 KiB of a file as text; nil when it cannot be read.
public func readSmallFile(_ path: String) -> String? {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { return nil }
  defer { close(file) }
  var bytes = [UInt8](repeating: 0, count: 4096)
  let count = Glibc.read(file, &bytes, bytes.count)
  guard count > 0 else { return nil }
  return String(decoding: bytes.prefix(count), as: UTF8.self)
}

/// The resident set (VmRSS) of a process in bytes; nil when it is gone.
public func residentBytes(_ process: pid_t) -> Int? {
  guard let status = readSmallFile("/proc/\(process)/status") else { return nil }
  for line in status.split(separator: "\n") where line.hasPrefix("VmRSS:") {
    return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
  }
  return nil
}
