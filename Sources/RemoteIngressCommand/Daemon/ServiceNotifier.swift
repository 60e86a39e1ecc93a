// What systemd wants to hear (sd_notify(3)): a datagram to the socket that it names. Without one
// all of this does nothing.

import Glibc
import RemoteIngress

struct ServiceNotifier: Sendable {
  private let path: String?
  /// How often systemd wants to hear that we live; nil: it does not.
  private let watchdog: Duration?

  init(_ environment: [String: String] = environmentVariables()) {
    path = environment["NOTIFY_SOCKET"].flatMap { $0.isEmpty ? nil : $0 }
    let isForUs = environment["WATCHDOG_PID"].map { Int32($0) == getpid() } ?? true
    watchdog = environment["WATCHDOG_USEC"].flatMap { Int64($0) }
      .flatMap { isForUs && $0 > 0 ? .microseconds($0) : nil }
  }

  /// Sends assignments, one a line.
  func send(_ message: String) {
    guard let path, var address = socketAddress(path) else { return }
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    let bytes = Array(message.utf8)
    // SAFETY: sendto(2) reads the address within this call, and no more of it than its length.
    _ = withUnsafePointer(to: &address.value) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(
          descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0,
          socklen_t(address.count))
      }
    }
  }

  /// The answer to a request to reload; READY=1 ends it.
  func sendReloading() {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
    send("RELOADING=1\nMONOTONIC_USEC=\(microseconds)")
  }

  /// Live streams have `seconds` to end; systemd's own patience must not be shorter.
  func sendStopping(within seconds: Int) {
    let microseconds = (Int64(clamping: seconds) + 10) * 1_000_000
    send("STOPPING=1\nEXTEND_TIMEOUT_USEC=\(microseconds)")
  }

  /// Says that we live, twice in the time that systemd gives us, as long as `isAlive`.
  func startWatchdog(_ isAlive: @escaping @Sendable () -> Bool) {
    guard path != nil, let watchdog else { return }
    Task {
      while isAlive() {
        send("WATCHDOG=1")
        try? await Task.sleep(for: watchdog / 2)
      }
    }
  }

  /// Says how things stand, when it has changed.
  func startStatus(_ line: @escaping @Sendable () async -> String) {
    guard path != nil else { return }
    Task {
      var last = ""
      while true {
        let now = await line()
        if now != last { send("STATUS=\(now)") }
        last = now
        try? await Task.sleep(for: .seconds(5))
      }
    }
  }

  /// A path, or a name in the abstract space, which is written with an @ (unix(7)).
  private func socketAddress(_ path: String) -> (value: sockaddr_un, count: Int)? {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    let room = MemoryLayout.size(ofValue: address.sun_path)
    guard bytes.first == 0x2F || bytes.first == 0x40, bytes.count < room else { return nil }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    if bytes.first == 0x40 { address.sun_path.0 = 0 }
    let isPath = bytes.first == 0x2F
    let start = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
    return (address, start + bytes.count + (isPath ? 1 : 0))
  }
}
