// A network namespace for one closure: a thread takes one of its own, and it is gone with the
// thread, however that ends. libnftables, and every process the thread starts, act in there.

import Foundation
import Glibc
import Testing

/// unshare(2), which Swift's C library module lacks.
@_silgen_name("unshare")
private func unshare(_ flags: Int32) -> Int32

private let newNetwork: Int32 = 0x4000_0000  // CLONE_NEWNET

enum Namespace {
  /// Says so, loudly, where there is no privilege to make one.
  static let isAvailable: Bool = {
    if (try? run {}) != nil { return true }
    print("SKIPPED: every test that needs a network namespace: not permitted (be root)")
    return false
  }()

  struct NotPermitted: Error { var code: Int32 }

  private final class Outcome<Value: Sendable>: @unchecked Sendable {
    var result: Result<Value, any Error>?
  }

  /// Runs `body` on a thread in a new network namespace, and waits for it.
  static func run<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
  ) throws -> Value {
    let outcome = Outcome<Value>()
    let done = DispatchSemaphore(value: 0)
    let thread = Thread {
      outcome.result = Result {
        guard unshare(newNetwork) == 0 else { throw NotPermitted(code: errno) }
        return try body()
      }
      done.signal()
    }
    thread.stackSize = 8 << 20
    thread.start()
    done.wait()
    guard let result = outcome.result else { throw NotPermitted(code: 0) }
    return try result.get()
  }

  /// What nft prints, run as a process in the calling thread's namespace. (Foundation's `Process`
  /// does not end when several threads use it.)
  static func nft(_ arguments: String...) throws -> String {
    let file = "\(NSTemporaryDirectory())nft-\(UUID().uuidString)"
    defer { unlink(file) }
    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    defer { posix_spawn_file_actions_destroy(&files) }
    posix_spawn_file_actions_addopen(&files, 1, file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    let words = (["nft"] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var pid: pid_t = 0
    let code = posix_spawn(&pid, "/usr/sbin/nft", &files, nil, words, environ)
    guard code == 0 else { throw NotPermitted(code: code) }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return try String(contentsOfFile: file, encoding: .utf8)
  }
}
