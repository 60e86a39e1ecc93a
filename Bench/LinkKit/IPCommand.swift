// `ip` of iproute2, as a child process.

import CLoadIO
import Glibc

/// Runs `ip` and waits for it; throws what it said when it failed. `batch` goes to its standard
/// input, one command a line.
func runIP(_ arguments: [String], batch: [String] = []) throws(LinkError) {
  let input = load_memory_file("ip-batch")
  let errors = load_memory_file("ip-errors")
  guard input >= 0, errors >= 0 else { throw .system("memfd_create") }
  defer {
    close(input)
    close(errors)
  }
  let text = Array(batch.joined(separator: "\n").utf8)
  guard text.isEmpty || write(input, text, text.count) == text.count else {
    throw .system("write of a batch")
  }
  lseek(input, 0, SEEK_SET)
  let status = try spawnIP(["ip"] + arguments, input: input, errors: errors)
  guard status != 0 else { return }
  var said = [UInt8](repeating: 0, count: 1024)
  let count = max(0, pread(errors, &said, said.count, 0))
  let first = String(decoding: said.prefix(count), as: UTF8.self).split(separator: "\n").first
  throw LinkError("ip \(arguments.joined(separator: " ")): \(first ?? "failed")")
}

private func spawnIP(_ words: [String], input: Int32, errors: Int32) throws(LinkError) -> Int32 {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_adddup2(&actions, input, 0)
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
  posix_spawn_file_actions_adddup2(&actions, errors, 2)
  var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
  arguments.append(nil)
  defer { arguments.forEach { free($0) } }
  var process: pid_t = 0
  let result = posix_spawnp(&process, "ip", &actions, nil, arguments, environ)
  guard result == 0 else {
    throw LinkError("ip does not run (iproute2 needed): \(String(cString: strerror(result)))")
  }
  var status: Int32 = 0
  while waitpid(process, &status, 0) < 0, errno == EINTR {}
  return status
}
