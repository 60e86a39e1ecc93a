// One engine process: started, talked to by lines, ended and waited for.

import CLinuxProcess
import FoundationEssentials
import Glibc
import RIBase
import RIWire

/// How a process ended.
enum ProcessEnd: Equatable, Sendable, CustomStringConvertible {
  case code(Int32)
  case signal(Int32)

  /// From what waitpid(2) says.
  init(status: Int32) {
    self = status & 0x7F == 0 ? .code(status >> 8 & 0xFF) : .signal(status & 0x7F)
  }

  var description: String {
    switch self {
    case .code(let code): "it ended with exit code \(code)"
    case .signal(let signal):
      "it was ended by signal \(signal) (\(String(cString: strsignal(signal))))"
    }
  }
}

/// A running engine. For one thread, which must live as long as the engine is to: the kernel ends
/// an engine with the thread that started it (PR_SET_PDEATHSIG).
final class EngineProcess {
  let pid: pid_t
  /// Our end of its standard streams; never blocks.
  let socket: Int32
  private var lines = LineAssembler(bytesMax: Limits.engineLineBytesMax)
  private var unsent: [UInt8] = []
  private var chunk = [UInt8](repeating: 0, count: Limits.engineReadBytes)

  /// Starts `executable engine` with nothing open but its standard streams; the third is ours.
  init(executable: String, environment: [String: String]) throws(RemoteIngressError) {
    var ends: [Int32] = [-1, -1]
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else {
      throw .engine("socketpair: \(errnoText())")
    }
    defer { close(ends[1]) }
    let result = spawnEngine(executable, environment, streams: ends[1])
    guard let pid = result.pid else {
      close(ends[0])
      throw .noExecutable("cannot start \(quoted(executable)): \(errnoText(result.code))")
    }
    _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
    self.pid = pid
    socket = ends[0]
  }

  deinit { close(socket) }

  var hasUnsent: Bool { !unsent.isEmpty }

  /// Queues a line, and sends what the engine takes.
  func send(_ line: EngineLine) {
    unsent += line.text.utf8
    sendOn()
  }

  /// Sends what waits. A dead engine takes nothing: its end shows when it is read.
  func sendOn() {
    var sent = 0
    while sent < unsent.count {
      let count = unsent[sent...].withUnsafeBytes {
        Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      sent += count
    }
    if sent == unsent.count { unsent = [] } else { unsent.removeFirst(sent) }
  }

  /// Reads what has arrived. False when there will be nothing more.
  func receive(_ handle: (EngineMessage) -> Void) -> Bool {
    while true {
      let count = recv(socket, &chunk, chunk.count, 0)
      if count < 0, errno == EINTR { continue }
      if count < 0, errno == EAGAIN { return true }
      guard count > 0 else { return false }
      let isInBounds = lines.append(chunk[..<count]) { line in
        // What is no message is a fault of the engine's; the watchdog finds what matters.
        if let message = try? JSONDecoder().decode(EngineMessage.self, from: Data(line)) {
          handle(message)
        }
      }
      guard isInBounds else { return false }
    }
  }

  func kill() { _ = Glibc.kill(pid, SIGKILL) }

  /// Whether somebody has stopped it (SIGSTOP): it will answer nothing before it is continued. One
  /// that a debugger holds does not count (waitid(2): its tracer is told).
  var isStopped: Bool {
    var info = siginfo_t()
    let result = waitid(P_PID, id_t(pid), &info, WSTOPPED | WNOHANG | WNOWAIT)
    return result == 0 && info.si_signo == SIGCHLD
  }

  /// Waits for its end, which must be near.
  func wait() -> ProcessEnd {
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return ProcessEnd(status: status)
  }
}

/// A request as it is sent.
struct EngineLine {
  let text: String

  /// nil when it is longer than an engine reads, which can happen to those with edges in them.
  init?(_ request: EngineRequest) {
    let line = jsonLine(request)
    guard line.utf8.count <= Limits.engineLineBytesMax else { return nil }
    text = line + "\n"
  }
}

private func spawnEngine(
  _ executable: String, _ environment: [String: String], streams: Int32
) -> (pid: pid_t?, code: Int32) {
  var files = posix_spawn_file_actions_t()
  var attributes = posix_spawnattr_t()
  posix_spawn_file_actions_init(&files)
  posix_spawnattr_init(&attributes)
  defer {
    posix_spawn_file_actions_destroy(&files)
    posix_spawnattr_destroy(&attributes)
  }
  posix_spawn_file_actions_adddup2(&files, streams, STDIN_FILENO)
  posix_spawn_file_actions_adddup2(&files, streams, STDOUT_FILENO)
  // What our owner left open at exec is none of the engine's business.
  ri_spawn_close_from(&files, STDERR_FILENO + 1)
  var all = sigset_t()
  var none = sigset_t()
  sigfillset(&all)
  sigemptyset(&none)
  posix_spawnattr_setsigdefault(&attributes, &all)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
  let arguments = cStrings(["remoteingress", "engine"])
  let variables = cStrings(environment.map { "\($0.key)=\($0.value)" })
  defer { for text in arguments + variables { free(text) } }
  var pid: pid_t = 0
  let code = posix_spawn(&pid, executable, &files, &attributes, arguments, variables)
  return (code == 0 ? pid : nil, code)
}

func errnoText(_ code: Int32 = errno) -> String { String(cString: strerror(code)) }

/// Copies that end with a null pointer, to be freed.
private func cStrings(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
  texts.map { strdup($0) } + [nil]
}
