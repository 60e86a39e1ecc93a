// Network namespaces with a name, as `ip netns` keeps them, and how to work inside one.

import CLinkIO
import Glibc
import LoadKit

/// Runs the body with the calling thread inside a named network namespace. Sockets that it makes
/// and processes that it starts stay there.
public func withinNamespace<Result>(_ name: String, _ body: () throws -> Result) throws -> Result {
  let network = open("\(NetworkNamespace.directory)/\(name)", O_RDONLY | O_CLOEXEC)
  guard network >= 0 else { throw LinkError.system("open of namespace \(name)") }
  defer { close(network) }
  return try NetworkNamespace.within(network, body)
}

/// A network namespace that was made for a link, and ends with its object.
final class NetworkNamespace {
  static let directory = "/run/netns"
  private static let prefix = "ri-link-"

  let name: String
  /// What its TUN device is first called. The kernel names the device's thread after it, so this is
  /// unique in the system.
  let deviceName: String
  private let descriptor: Int32

  /// `ri-link-<process>-<end>`. Names that a dead process left behind are removed first.
  init(end: String) throws(LinkError) {
    Self.removeStale()
    name = "\(Self.prefix)\(getpid())-\(end)"
    deviceName = "ri\(getpid())\(end)"
    try runIP(["netns", "add", name])
    descriptor = open("\(Self.directory)/\(name)", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      let error = LinkError.system("open of namespace \(name)")
      try? runIP(["netns", "delete", name])
      throw error
    }
  }

  deinit {
    close(descriptor)
    try? runIP(["netns", "delete", name])
  }

  /// Runs `ip` inside.
  func configure(_ batch: [String]) throws(LinkError) {
    try runIP(["-n", name, "-batch", "-"], batch: batch)
  }

  /// Runs the body with the calling thread inside.
  func within<Result>(_ body: () throws -> Result) throws -> Result {
    try NetworkNamespace.within(descriptor, body)
  }

  fileprivate static func within<Result>(
    _ network: Int32, _ body: () throws -> Result
  ) throws -> Result {
    let home = link_current_network()
    guard home >= 0 else { throw LinkError.system("open of the own network namespace") }
    defer { close(home) }
    guard link_enter_network(network) == 0 else { throw LinkError.system("setns") }
    defer {
      // A thread in the wrong network would do no end of harm.
      precondition(link_enter_network(home) == 0, "no way back to the own network namespace")
    }
    return try body()
  }

  /// Gives the device's received packets a kernel thread of their own (threaded NAPI, Linux 5.12),
  /// which merges them as a network card's driver does; nil where there is no such thing.
  func startReceiver() -> pid_t? {
    let setting = "/sys/class/net/\(deviceName)/threaded"
    try? runIP(["netns", "exec", name, "sh", "-c", "echo 1 > \(setting)"])
    guard let entries = opendir("/proc") else { return nil }
    defer { closedir(entries) }
    while let entry = readdir(entries) {
      guard let process = pid_t(entryName(entry)),
        readSmallFile("/proc/\(process)/comm")?.hasPrefix("napi/\(deviceName)") == true
      else { continue }
      return process
    }
    return nil
  }

  private static func removeStale() {
    guard let entries = opendir(directory) else { return }
    defer { closedir(entries) }
    while let entry = readdir(entries) {
      let name = entryName(entry)
      guard let owner = owner(of: name), kill(owner, 0) != 0, errno == ESRCH else { continue }
      try? runIP(["netns", "delete", name])
    }
  }

  /// The process in a name of ours; nil for others' names.
  static func owner(of name: String) -> pid_t? {
    guard name.hasPrefix(prefix) else { return nil }
    let parts = name.dropFirst(prefix.count).split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, parts[1] == "a" || parts[1] == "b", let process = pid_t(parts[0]),
      process > 0
    else { return nil }
    return process
  }
}

private func entryName(_ entry: UnsafeMutablePointer<dirent>) -> String {
  withUnsafeBytes(of: &entry.pointee.d_name) {
    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
  }
}
