// What the tests of real links drive: a child process and sockets inside a link's namespaces.

import CLinkIO
import Glibc
import LoadKit
import Testing

@testable import LinkKit

/// A child process with pipes for its output. Asked to end with its object.
final class LinkProcess {
  let identifier: pid_t
  private let output: Int32
  private let errors: Int32
  private var isRunning = true

  /// `ri-link`, which is built beside the tests.
  static func binary() throws -> String {
    let own = try #require(realpath("/proc/self/exe", nil))
    defer { free(own) }
    let path = String(cString: own)
    return path.prefix(through: try #require(path.lastIndex(of: "/"))) + "ri-link"
  }

  convenience init(_ arguments: [String]) throws {
    try self.init(words: [try Self.binary()] + arguments)
  }

  init(words: [String]) throws {
    var (out, err): ([Int32], [Int32]) = ([0, 0], [0, 0])
    try #require(pipe(&out) == 0 && pipe(&err) == 0)
    // Tests run side by side: no other child may keep an end open.
    for end in out + err { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, out[1], 1)
    posix_spawn_file_actions_adddup2(&actions, err[1], 2)
    var strings: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { strings.forEach { free($0) } }
    var process: pid_t = 0
    let result = posix_spawnp(&process, words[0], &actions, nil, &strings, environ)
    close(out[1])
    close(err[1])
    (identifier, output, errors) = (process, out[0], err[0])
    isRunning = result == 0
    try #require(result == 0, "\(words[0]) does not run")
  }

  deinit {
    if isRunning {
      kill(identifier, SIGTERM)
      _ = end()
    }
    close(output)
    close(errors)
  }

  /// The next line of its output; nil at its end.
  func line() -> String? { readLine(from: output).map { String(decoding: $0, as: UTF8.self) } }

  func errorLine() -> String? {
    readLine(from: errors).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Waits for its end and gives its exit code, negative for a signal.
  func end() -> Int32 {
    var status: Int32 = 0
    while waitpid(identifier, &status, 0) < 0, errno == EINTR {}
    isRunning = false
    let signal = status & 0x7F
    return signal == 0 ? (status >> 8) & 0xFF : -signal
  }
}

/// A TCP socket that was made inside one end of a link, and the address it is for.
final class LinkSocket {
  let descriptor: Int32
  private let found: UnsafeMutablePointer<addrinfo>

  init(in end: LinkDescription.End, _ address: String, port: UInt16 = 0) throws {
    var hints = addrinfo()
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    try #require(getaddrinfo(address, "\(port)", &hints, &list) == 0)
    found = try #require(list)
    let (family, type) = (found.pointee.ai_family, found.pointee.ai_socktype)
    descriptor = try withinNamespace(end.namespace) {
      socket(family, type | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    try #require(descriptor >= 0)
  }

  deinit {
    close(descriptor)
    freeaddrinfo(found)
  }

  var address: UnsafeMutablePointer<sockaddr> { found.pointee.ai_addr }
  var length: socklen_t { found.pointee.ai_addrlen }
  /// In IPv4 and in IPv6 addresses the port stands at the same place.
  var boundPort: UInt16 { localPort(descriptor) }
}
