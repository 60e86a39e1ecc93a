// What is tested and what it says of itself: the binary, its ring backends, its log lines.

import Foundation
import Testing

/// What a tunnel runs on: the backend that REMOTEINGRESS_RING forces, with TLS, or with QUIC.
enum Ring: String, CaseIterable, CustomTestStringConvertible {
  case uring, epoll
  /// QUIC on io_uring; on epoll, for what touches the sockets of packets.
  case quic, epollQUIC

  /// What most tests run on.
  static let allCases: [Ring] = [.uring, .epoll, .quic]
  /// For scripts that play one end of a tunnel of frames.
  static let tls: [Ring] = [.uring, .epoll]
  /// For scripts that speak QUIC.
  static let overQUIC: [Ring] = [.quic, .epollQUIC]
  static let everything: [Ring] = [.uring, .epoll, .quic, .epollQUIC]

  var backend: String { self == .epoll || self == .epollQUIC ? "epoll" : "uring" }
  var isQUIC: Bool { self == .quic || self == .epollQUIC }
  /// The edge's `transportMode`.
  var transportMode: String { isQUIC ? "quic" : "tcpTls" }
  /// What hub and edge agree on.
  var extensions: [String] { isQUIC ? ["drain", "udpStream"] : ["autoWindow", "drain"] }
  var testDescription: String { rawValue }
}

enum Product {
  static let packageDirectory = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path

  /// REMOTEINGRESS_BINARY, else the release build.
  static let binary =
    ProcessInfo.processInfo.environment["REMOTEINGRESS_BINARY"]
    ?? "\(packageDirectory)/.build/release/remoteingress"

  /// Says so, loudly, when there is nothing to test.
  static let isBuilt: Bool = {
    if FileManager.default.isExecutableFile(atPath: binary) { return true }
    print("SKIPPED: every end-to-end test, for there is no \(binary): swift build -c release")
    return false
  }()

  static let peers = "\(packageDirectory)/Tests/EndToEndTests/peers"
}

/// The log lines that tests wait for; the only place that knows them.
enum LogLine {
  static let hubReady = "hub ready"
  static let tunnelUp = "tunnel up"
  static let tunnelDown = "no tunnel: "
  static let unauthorized = "unauthorized"
  static let draining = "draining"
  static let pinMismatch = "not the pinned one"
  static let ring = "ring: "
  static let reloaded = "reloaded: "
  static let notReloaded = "not reloaded: "
  static let firewallApplied = "firewall applied"
  static let firewallOff = "firewall off"
  static let firewallRefused = "firewall refused"
  static let firewallUnavailable = "firewall unavailable"
  static let publicAddress = "public address "
  static let status = " status {"

  /// A port that listens on all addresses of both families.
  static func listening(_ port: Int, _ transport: String = "tcp") -> [String] {
    ["listening \(transport) 0.0.0.0:\(port)", "listening \(transport) [::]:\(port)"]
  }

  static func cannotListen(_ port: Int) -> String { "cannot listen on tcp 0.0.0.0:\(port)" }
}

/// All end-to-end tests, one after the other: each has the machine for itself.
@Suite("End to end", .serialized, .enabled(if: Product.isBuilt, "no release build to test"))
enum EndToEnd {}
