// What stands between client and target. A new system is a case here, a line in the lists of what
// it takes part in, and a start in RunningSystem.swift.

import Glibc
import LoadKit

/// A system under measurement.
enum System: String, Codable, CaseIterable {
  /// Nothing: what client and target reach by themselves.
  case direct
  /// The plain encrypted relay that tunnels are compared with.
  case roofline
  case oursUring = "ours-uring"
  case oursEpoll = "ours-epoll"
  /// Over QUIC, on io_uring.
  case oursQUIC = "ours-quic"
  /// Without protocol extensions: what a peer that knows none of them gets.
  case oursUringPlain = "ours-uring-plain"
  /// Pairs of other programs, TLS (or SSH) between them.
  case haproxy, stunnel, nginx, ssh
  /// A relay in one process, in the clear, on one of our rings.
  case ringUring = "ring-uring"
  case ringEpoll = "ring-epoll"

  /// What takes part unless systems are named.
  static let tunnels: [System] = [.direct, .roofline, .oursUring, .oursEpoll, .oursQUIC]
  static let rings: [System] = [.ringUring, .ringEpoll]
  static let sharded: [System] = [.oursUring, .oursEpoll]
  static let links: [System] = [.direct, .roofline, .oursUring, .oursEpoll, .oursQUIC]
  static let datagrams: [System] = [.direct, .oursUring, .oursEpoll, .oursQUIC]
  /// What `--peers` adds.
  static let peers: [System] = [.haproxy, .stunnel, .nginx, .ssh]

  /// Which of its rings a process uses.
  var ring: String? {
    switch self {
    case .direct, .roofline, .haproxy, .stunnel, .nginx, .ssh: nil
    case .oursUring, .oursUringPlain, .oursQUIC, .ringUring: "uring"
    case .oursEpoll, .ringEpoll: "epoll"
    }
  }

  var isOurs: Bool { [.oursUring, .oursEpoll, .oursUringPlain, .oursQUIC].contains(self) }

  /// The software of a pair that is not ours.
  var peer: PeerSoftware? { PeerSoftware(rawValue: rawValue) }

  var writesProxyLine: Bool { isOurs || peer?.writesProxyLine == true }

  /// What it lacks to be measured here, in words; nil for nothing.
  func missing(in network: LoopbackNetwork, for workload: Workload) -> String? {
    if let peer {
      if let missing = peer.missing() { return missing }
      guard network.isPrivate else {
        return "\(rawValue) cannot be told a congestion control; a private network (root) is needed"
      }
    }
    // A client, the target, and each process in between has a descriptor for each connection; a
    // relay has two.
    let needed = workload.connections * (isOurs || self == .direct ? 1 : 2) + 64
    let limit = descriptorLimit()
    return limit >= needed
      ? nil : "a process needs \(needed) descriptors, the limit is \(limit)"
  }
}

/// How many descriptors a process may have.
func descriptorLimit() -> Int {
  var limit = rlimit()
  getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  return Int(clamping: limit.rlim_cur)
}
