// The command that runs while a link stands.

import Glibc
import LinkKit

/// A child process. Its deadline after a request to end is the caller's patience: a second request
/// kills it.
final class LinkChild {
  private let identifier: pid_t
  private var isAsked = false
  private var status: Int32?

  init(_ command: [String], _ link: LinkDescription) throws {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // This process blocks the signals that it waits for; the command starts with none blocked.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    let variables = [
      "RI_LINK_A=\(link.a.namespace)", "RI_LINK_A_IP=\(link.a.address4)",
      "RI_LINK_B=\(link.b.namespace)", "RI_LINK_B_IP=\(link.b.address4)",
    ]
    var environment = variables.map { strdup($0) }
    var place = environ
    while let variable = place.pointee {
      environment.append(strdup(variable))
      place += 1
    }
    environment.append(nil)
    var words = command.map { strdup($0) } + [nil]
    defer { (words + environment).forEach { free($0) } }
    var process: pid_t = 0
    let result = posix_spawnp(&process, command[0], nil, &attributes, &words, &environment)
    guard result == 0 else {
      throw LinkError("\(command[0]): \(String(cString: strerror(result)))")
    }
    identifier = process
  }

  /// Asks it to end; kills it when it was asked before.
  func terminate() {
    guard status == nil else { return }
    kill(identifier, isAsked ? SIGKILL : SIGTERM)
    isAsked = true
  }

  func hasEnded() -> Bool {
    var ended: Int32 = 0
    if status == nil, waitpid(identifier, &ended, WNOHANG) == identifier { status = ended }
    return status != nil
  }

  /// As a shell gives it: 128 and the signal's number for a death by signal. It has ended.
  var exitCode: Int32 {
    guard let status else { return 1 }
    let signal = status & 0x7F
    return signal == 0 ? (status >> 8) & 0xFF : 128 + signal
  }
}
