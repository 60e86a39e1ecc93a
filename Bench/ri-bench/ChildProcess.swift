// A child process with a line of JSON for its input and lines for its output. It is killed with
// its object; nothing is left behind.

import CLoadIO
import FoundationEssentials
import Glibc
import LoadKit

/// A running child.
final class ChildProcess {
  let identifier: pid_t
  private let input: Int32
  private let output: Int32
  private var isRunning = true

  /// Starts this binary in a role. `counters` becomes descriptor 3 of the child.
  static func role(
    _ arguments: [String], order: some Encodable, counters: Int32? = nil
  ) throws -> ChildProcess {
    let binary = realPath("/proc/self/exe") ?? "/proc/self/exe"
    let child = try ChildProcess(binary, ["ri-bench"] + arguments, counters: counters)
    let json = try JSONEncoder().encode(order)
    writeText(String(decoding: json, as: UTF8.self) + "\n", to: child.input)
    return child
  }

  /// Starts a program that is not ours and ends it with this process, however that ends. What it
  /// complains about goes to the file.
  static func program(
    _ path: String, _ arguments: [String], errorsTo file: String
  ) throws -> ChildProcess {
    let binary = realPath("/proc/self/exe") ?? "/proc/self/exe"
    return try ChildProcess(
      binary, ["ri-bench", "program", "--", path] + arguments, errorsTo: file)
  }

  /// What a program prints, when it ends with 0 and is silent for no longer than `seconds`.
  static func output(
    of program: String, _ arguments: [String], within seconds: Double = 5
  ) -> String? {
    guard let child = try? ChildProcess(program, [program] + arguments, errorsTo: "/dev/null")
    else {
      return nil
    }
    var lines: [String] = []
    while let line = child.readLine(within: seconds) { lines.append(line) }
    return child.waitForEnd() == 0 ? lines.joined(separator: "\n") : nil
  }

  private init(
    _ program: String, _ arguments: [String], counters: Int32? = nil, errorsTo errors: String? = nil
  ) throws {
    var toChild: [Int32] = [-1, -1]
    var fromChild: [Int32] = [-1, -1]
    guard load_pipe(&toChild) == 0, load_pipe(&fromChild) == 0 else {
      throw LoadError("pipe: \(String(cString: strerror(errno)))")
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, toChild[0], 0)
    posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1)
    if let errors {
      posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    }
    if let counters {
      posix_spawn_file_actions_adddup2(&actions, counters, countersDescriptor)
    }
    var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    words.append(nil)
    defer { words.forEach { free($0) } }
    var process: pid_t = 0
    let result = posix_spawnp(&process, program, &actions, nil, words, environ)
    close(toChild[0])
    close(fromChild[1])
    input = toChild[1]
    output = fromChild[0]
    identifier = process
    guard result == 0 else {
      isRunning = false
      throw LoadError("\(program): \(String(cString: strerror(result)))")
    }
  }

  deinit {
    stop()
    close(input)
    close(output)
  }

  /// The next line of its output; nil at its end or when the time is over.
  func readLine(within seconds: Double) -> String? {
    let deadline = clockNanoseconds() + UInt64(seconds * 1e9)
    var line: [UInt8] = []
    while true {
      let now = clockNanoseconds()
      var wanted = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      guard now < deadline, poll(&wanted, 1, Int32((deadline - now) / 1_000_000) + 1) > 0 else {
        return nil
      }
      var byte: UInt8 = 0
      guard read(output, &byte, 1) == 1 else { return nil }
      if byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
      line.append(byte)
    }
  }

  /// Waits for the line `ready`, which says that it accepts connections.
  func awaitReady(_ name: String) throws {
    guard readLine(within: 10) == "ready" else { throw LoadError("\(name) did not start") }
  }

  /// Asks it to end; the last line that it prints, if it does within the time.
  func end(within seconds: Double) -> String? {
    guard isRunning else { return nil }
    kill(identifier, SIGTERM)
    var last: String?
    while let line = readLine(within: seconds) { last = line }
    stop()
    return last
  }

  /// Whether it has ended by itself.
  func hasEnded() -> Bool {
    var status: Int32 = 0
    if isRunning, waitpid(identifier, &status, WNOHANG) == identifier { isRunning = false }
    return !isRunning
  }

  /// Kills it and waits until it is gone.
  func stop() {
    guard isRunning else { return }
    kill(identifier, SIGKILL)
    _ = waitForEnd()
  }

  private func waitForEnd() -> Int32 {
    var status: Int32 = 0
    while waitpid(identifier, &status, 0) < 0, errno == EINTR {}
    isRunning = false
    return status
  }
}
