// A pair of processes of other software as a tunnel: plain in and encrypted out at the edge,
// encrypted in and plain out at the hub. On loopback only, with a configuration and keys of their
// own, in a directory that is gone when they are.

import FoundationEssentials
import Glibc
import LoadKit

/// The ports of a pair, all on 127.0.0.1.
struct PeerPorts {
  var edge, hub, target: UInt16
}

/// A running pair. It ends with its object.
final class PeerPair {
  private let directory: String
  private let ends: [ChildProcess]
  /// Processes that the ends have started, by end.
  private let started: [[pid_t]]
  private let madeSSHDirectory: Bool

  /// Of each end, the edge first.
  var processes: [[pid_t]] { zip(ends, started).map { [$0.identifier] + $1 } }

  /// Starts both; they accept connections when this returns.
  static func start(
    _ software: PeerSoftware, edgePort: UInt16, hubPort: UInt16, targetPort: UInt16
  ) throws -> PeerPair {
    try PeerPair(software, PeerPorts(edge: edgePort, hub: hubPort, target: targetPort))
  }

  private init(_ software: PeerSoftware, _ ports: PeerPorts) throws {
    let directory = try makeDirectory()
    let madeSSHDirectory = software == .ssh && mkdir("/run/sshd", 0o755) == 0
    do {
      let orders = try software.prepare(ports, in: directory)
      func run(_ words: [String], _ port: UInt16) throws -> ChildProcess {
        let complaints = "\(directory)/complaints"
        let end = try ChildProcess.program(
          words[0], Array(words.dropFirst()), errorsTo: complaints)
        if awaitListener(port, of: end) { return end }
        throw LoadError("did not start: \(readSmallFile(complaints) ?? "it does not say why")")
      }
      let hub = try run(orders.hub, ports.hub)
      let edge = try run(orders.edge, ports.edge)
      ends = [edge, hub]
      started = ends.map { descendants(of: $0.identifier) }
    } catch {
      removeDirectory(directory)
      if madeSSHDirectory { rmdir("/run/sshd") }
      throw error
    }
    self.directory = directory
    self.madeSSHDirectory = madeSSHDirectory
  }

  deinit { stop() }

  func stop() {
    for (end, others) in zip(ends, started) where !end.hasEnded() {
      // Its children are its own as long as it lives.
      for process in others { kill(process, SIGKILL) }
      end.stop()
    }
    removeDirectory(directory)
    if madeSSHDirectory { rmdir("/run/sshd") }
  }
}

/// A directory that only this user reads.
private func makeDirectory() throws(LoadError) -> String {
  var template = Array("/tmp/ri-bench-peer-XXXXXX".utf8CString)
  guard mkdtemp(&template) != nil else { throw .init("mkdtemp failed") }
  return String(decoding: template.map { UInt8(bitPattern: $0) }.prefix { $0 != 0 }, as: UTF8.self)
}

private func removeDirectory(_ path: String) {
  guard let entries = opendir(path) else { return }
  while let entry = readdir(entries) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    unlink("\(path)/\(name)")
  }
  closedir(entries)
  rmdir(path)
}

/// False when it has ended or does not accept anything within 10 s.
private func awaitListener(_ port: UInt16, of child: ChildProcess) -> Bool {
  let deadline = clockNanoseconds() + 10_000_000_000
  while clockNanoseconds() < deadline, !child.hasEnded() {
    if isListening(port) { return true }
    usleep(10_000)
  }
  return false
}

private func isListening(_ port: UInt16) -> Bool {
  guard let socket = try? connectToLoopback(port) else { return false }
  defer { close(socket) }
  var wanted = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
  return poll(&wanted, 1, 1_000) == 1 && wanted.revents & Int16(POLLERR | POLLHUP) == 0
}

/// The children of a process and theirs, by the parent that /proc/PID/stat names (proc(5)).
private func descendants(of root: pid_t) -> [pid_t] {
  guard let entries = opendir("/proc") else { return [] }
  defer { closedir(entries) }
  var parents: [(child: pid_t, parent: pid_t)] = []
  while let entry = readdir(entries) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    // The name in parentheses may hold anything; behind it come the state and the parent.
    guard let child = pid_t(name), let stat = readSmallFile("/proc/\(name)/stat"),
      let end = stat.lastIndex(of: ")")
    else { continue }
    let fields = stat[end...].split(separator: " ")
    if fields.count > 2, let parent = pid_t(fields[2]) { parents.append((child, parent)) }
  }
  var found = [root]
  var next = 0
  while next < found.count {
    found += parents.filter { $0.parent == found[next] }.map(\.child)
    next += 1
  }
  return Array(found.dropFirst())
}
