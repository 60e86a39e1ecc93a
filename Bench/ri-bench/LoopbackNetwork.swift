// The network that everything runs in: loopback of a namespace of its own, whose routes say cubic,
// so that all systems are measured under the same congestion control (bbr paces loopback).

import CLoadIO
import Glibc
import LoadKit

/// How congestion control is set, and what connections really got.
struct LoopbackNetwork {
  var isPrivate: Bool
  /// What sockets have to ask for themselves; nil where the route does it.
  var congestion: CongestionControl?
  /// What an accepted connection said.
  var effective: CongestionControl

  static let wanted: CongestionControl = "cubic"
  static let usualMTU = 65_536

  var summary: String {
    isPrivate
      ? "private network namespace, \(effective) by route"
      : "host network, \(effective) by socket option"
  }

  /// Moves this process and its later children into a namespace where it may; falls back to socket
  /// options. Throws when connections end up under another congestion control than wanted.
  static func prepare(hostNetwork: Bool) throws(LoadError) -> LoopbackNetwork {
    let isPrivate = !hostNetwork && geteuid() == 0 && enterNamespace()
    let congestion = isPrivate ? nil : wanted
    let effective = try acceptedCongestion(congestion)
    guard effective == wanted else {
      throw LoadError("connections use \(effective), not \(wanted): is tcp_cubic there?")
    }
    return LoopbackNetwork(isPrivate: isPrivate, congestion: congestion, effective: effective)
  }

  /// Runs the body with another MTU of loopback, where it is private; nil leaves it alone. Segments
  /// of 64 KiB, which no network has, let the kernel hold that much more for a client that does not
  /// read.
  func withMTU<Result>(_ bytes: Int?, _ body: () throws -> Result) throws -> Result {
    guard let bytes, isPrivate else { return try body() }
    try setMTU(bytes)
    defer { try? setMTU(Self.usualMTU) }
    return try body()
  }

  private func setMTU(_ bytes: Int) throws(LoadError) {
    let words = ["link", "set", "lo", "mtu", "\(bytes)"]
    guard ChildProcess.output(of: "ip", words) != nil else {
      throw LoadError("ip \(words.joined(separator: " ")) failed")
    }
  }

  private static func enterNamespace() -> Bool {
    guard load_unshare_network() == 0 else { return false }
    let commands =
      ["link set lo up"]
      + ["127.0.0.0/8", "127.0.0.1"].map {
        "route replace local \($0) dev lo table local proto kernel scope host src 127.0.0.1 "
          + "congctl \(wanted)"
      }
    for command in commands {
      let words = command.split(separator: " ").map(String.init)
      guard ChildProcess.output(of: "ip", words) != nil else {
        writeText("ip \(command) failed (iproute2 needed)\n", to: 2)
        return false
      }
    }
    widenPortRange()
    return true
  }

  /// Connections come and go by the ten thousand.
  private static func widenPortRange() {
    let file = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    writeText("10000 65535\n", to: file)
    close(file)
  }

  private static func acceptedCongestion(
    _ congestion: CongestionControl?
  ) throws(LoadError) -> CongestionControl {
    let listener = try listenOnLoopback(0, congestion: congestion)
    defer { close(listener) }
    let client = try connectToLoopback(localPort(listener), congestion: congestion)
    defer { close(client) }
    var wanted = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    guard poll(&wanted, 1, 5_000) == 1, let server = acceptFromLoopback(listener) else {
      throw LoadError("loopback does not work")
    }
    defer { close(server) }
    let names = Set([congestionControl(of: client), congestionControl(of: server)])
    return names.sorted().joined(separator: " and ")
  }
}

/// A port that nobody listens on at the moment.
func freeLoopbackPort() throws(LoadError) -> UInt16 {
  let listener = try listenOnLoopback(0)
  defer { close(listener) }
  return localPort(listener)
}
