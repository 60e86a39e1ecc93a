// A child process with its output in files: started, awaited with a deadline, and gone with its
// owner. Should the test process itself die, the leash ends every child.

import Foundation
import Glibc

/// What went wrong, with what the processes said about it.
struct Failure: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

final class ChildProcess {
  enum Exit: Equatable {
    case code(Int32)
    case signal(Int32)
  }

  let name: String
  let pid: pid_t
  /// Where its standard output and its standard error go.
  let outputFile: String
  let logFile: String
  private var exit: Exit?

  /// Starts `arguments` (the program is looked up in PATH); output goes to files in `directory`.
  init(
    _ name: String, _ arguments: [String], in directory: String,
    environment extra: [String: String] = [:]
  ) throws {
    self.name = name
    outputFile = "\(directory)/\(name).out"
    logFile = "\(directory)/\(name).log"
    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    defer { posix_spawn_file_actions_destroy(&files) }
    let append = O_WRONLY | O_CREAT | O_APPEND
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&files, 1, outputFile, append, 0o600)
    posix_spawn_file_actions_addopen(&files, 2, logFile, append, 0o600)
    var environment = ProcessInfo.processInfo.environment.merging(extra) { $1 }
    // Ours; the product would take it for a mistyped key.
    environment["REMOTEINGRESS_BINARY"] = nil
    pid = try spawn(arguments, environment, files: &files, group: Leash.shared.group)
  }

  deinit {
    send(SIGKILL)
    _ = try? waitForExit(within: 10)
  }

  func send(_ signal: Int32) {
    if exit == nil { kill(pid, signal) }
  }

  /// The process that moves the traffic, which a hub or an edge has for that; 0 when there is none.
  var engine: pid_t {
    let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
    // Children are listed by the thread that started them (proc_pid_task_children(5)).
    let children = threads.lazy.flatMap {
      self.text(of: "/proc/\(self.pid)/task/\($0)/children").split(separator: " ")
    }
    return children.first.flatMap { pid_t($0) } ?? 0
  }

  /// How it ended, or nil while it runs.
  func poll() -> Exit? {
    var status: Int32 = 0
    if exit == nil, waitpid(pid, &status, WNOHANG) == pid {
      exit = status & 0x7F == 0 ? .code(status >> 8 & 0xFF) : .signal(status & 0x7F)
    }
    return exit
  }

  func waitForExit(within seconds: Double) throws -> Exit {
    try wait(within: seconds, for: "\(name) to end") { poll() != nil }
    return exit ?? .code(-1)
  }

  /// Waits until the log holds `text`, from byte `offset` on.
  func waitForLog(_ text: String, from offset: Int = 0, within seconds: Double = 15) throws {
    try wait(within: seconds, for: "\(name) to log '\(text)'") {
      // Looked at in this order, for it may say it and end between the two looks.
      let exit = poll()
      if log.dropFirst(offset).contains(text) { return true }
      if let exit { throw Failure("\(name) ended (\(exit))\n\(logTail)") }
      return false
    }
  }

  var log: String { text(of: logFile) }
  var output: String { text(of: outputFile) }

  /// The last lines of what it said, for reports.
  var logTail: String {
    let lines = log.split(separator: "\n").suffix(25).joined(separator: "\n")
    return "--- \(name), pid \(pid), \(poll().map { "\($0)" } ?? "running")\n\(lines)\n"
  }

  private func text(of file: String) -> String {
    String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self)
  }
}

/// Polls `condition` until it holds; the deadline is a guard against hanging, not an assertion:
/// three times what a test thinks is long, for a machine that is busy with other things.
func wait(
  within seconds: Double, for what: String, until condition: () throws -> Bool
) throws {
  let deadline = ContinuousClock.now + .seconds(3 * seconds)
  while try !condition() {
    guard ContinuousClock.now < deadline else {
      throw Failure("waited \(3 * seconds) s for \(what)")
    }
    usleep(5_000)
  }
}

/// Kills the group of all children when its standard input ends, which it does with this process.
private final class Leash: Sendable {
  static let shared = Leash()
  let group: pid_t

  private init() {
    var pipe: [Int32] = [0, 0]
    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    // Both ends close at exec; the child's standard input is a copy of the reading end. The writing
    // end stays open as long as this process.
    guard Glibc.pipe(&pipe) == 0 else { preconditionFailure("pipe: errno \(errno)") }
    for end in pipe { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    posix_spawn_file_actions_adddup2(&files, pipe[0], 0)
    do {
      group = try spawn(["sh", "-c", "read end; kill -9 0"], [:], files: &files, group: 0)
    } catch {
      preconditionFailure("\(error)")
    }
    close(pipe[0])
  }
}

/// posix_spawn into process group `group` (0: its own).
private func spawn(
  _ arguments: [String], _ environment: [String: String],
  files: inout posix_spawn_file_actions_t, group: pid_t
) throws -> pid_t {
  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  posix_spawnattr_setpgroup(&attributes, group)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
  let argv = arguments.map { strdup($0) } + [nil]
  let envp = environment.map { strdup("\($0)=\($1)") } + [nil]
  defer { for text in argv + envp { free(text) } }
  var pid: pid_t = 0
  let code = posix_spawnp(&pid, arguments[0], &files, &attributes, argv, envp)
  guard code == 0 else { throw Failure("cannot start \(arguments[0]): errno \(code)") }
  return pid
}
