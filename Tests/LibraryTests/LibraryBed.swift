// A hub and an edge by the public library, an echo server behind them, and what they say:
//
//   TestSocket ─▶ edge ═ tunnel ═▶ hub ─▶ EchoServer

import Foundation
import Glibc
import RIBase
import RIControl
import RIWire
import Synchronization
import Testing

@testable import RemoteIngress

final class Flag: Sendable {
  private let value = Atomic(false)
  var isSet: Bool { value.load(ordering: .acquiring) }
  func set() { value.store(true, ordering: .releasing) }
}

final class Counter: Sendable {
  private let value = Atomic(0)
  var count: Int { value.load(ordering: .acquiring) }
  func increment() { value.add(1, ordering: .acquiringAndReleasing) }
}

/// All that was logged.
final class LogBook: Sendable {
  private let records = Mutex<[LogRecord]>([])

  var write: @Sendable (LogRecord) -> Void {
    { [self] record in records.withLock { $0.append(record) } }
  }

  var text: String {
    records.withLock { $0.map { "\($0.level) \($0.message)" }.joined(separator: "\n") }
  }
}

/// All tests of this module, one after the other: they count processes and wait for them.
@Suite("Library", .serialized)
enum Library {}

final class LibraryBed: Sendable {
  let log = LogBook()
  let hub: RemoteIngressHub
  let edge: RemoteIngressEdge
  let echo: EchoServer
  let directory: String
  let port: UInt16
  static let secret = "marker-7f3a-secret"

  init(_ recovery: RecoveryPolicy = RecoveryPolicy()) throws {
    hub = RemoteIngressHub(executable: .automatic, recovery: recovery, log: log.write)
    edge = RemoteIngressEdge(executable: .automatic, recovery: recovery, log: log.write)
    echo = try EchoServer()
    port = try Self.freePort()
    directory = NSTemporaryDirectory() + "library-\(UUID().uuidString)"
    for part in ["hub", "edge"] {
      try FileManager.default.createDirectory(
        atPath: "\(directory)/\(part)", withIntermediateDirectories: true)
    }
  }

  deinit {
    echo.stop()
    try? FileManager.default.removeItem(atPath: directory)
  }

  /// Everything running and the port open; both are stopped after `body`, whatever happens there.
  static func run(
    _ recovery: RecoveryPolicy = RecoveryPolicy(), _ body: (LibraryBed) async throws -> Void
  ) async throws {
    let bed = try LibraryBed(recovery)
    do {
      try await bed.startHub()
      try await bed.startEdge()
      try await body(bed)
    } catch {
      print(bed.log.text)
      await bed.edge.stop()
      await bed.hub.stop()
      throw error
    }
    await bed.edge.stop()
    await bed.hub.stop()
    #expect(!bed.hub.isRunning && !bed.edge.isRunning)
  }

  func startHub() async throws { try await hub.start(try hubConfiguration()) }

  /// Returns when the edge's port is open.
  func startEdge() async throws {
    let events = edge.events
    try await edge.start(token: try await token())
    _ = try await next(events) { if case .portsAssigned(let ports) = $0 { ports } else { nil } }
  }

  func hubConfiguration() throws -> HubConfiguration {
    var configuration = HubConfiguration()
    configuration.tunnelPort = 0
    configuration.bindAddress = .loopbackV4
    configuration.stateDir = "\(directory)/hub"
    configuration.shards = 1
    configuration.allowedEdges = [try allowedEdge()]
    configuration.targets = [TargetRule(port: port, targetPort: echo.port)]
    return configuration
  }

  func allowedEdge(ports: [UInt16]? = nil, secret: String = secret) throws -> AllowedEdge {
    AllowedEdge(
      id: "e1", secret: try Secret(secret), listenPorts: ports ?? [port], stunIntervalSecs: 0)
  }

  /// With the hub's pin: nothing is trusted at first use.
  func token() async throws -> String {
    let status = await hub.status()
    return try ConnectionToken(
      host: "127.0.0.1", port: try #require(status.tunnelPort), edgeID: "e1",
      secret: Secret(Self.secret), hubPin: status.pin
    ).encoded()
  }

  /// A port that nobody listens on, below those that the kernel hands out.
  static func freePort() throws -> UInt16 {
    for _ in 0..<100 {
      let port = UInt16.random(in: 10_000..<30_000)
      if let (socket, _) = try? TestSocket.listen(on: port) {
        withExtendedLifetime(socket) {}
        return port
      }
    }
    throw SocketFailure(description: "no free port")
  }

  /// Echoes through the tunnel, trying until it works: an open port may be ahead of its tunnel.
  func echoThrough(_ port: UInt16? = nil, within seconds: Double = 15) async throws {
    let port = port ?? self.port
    try await eventually(within: seconds, "an echo through port \(port)") {
      (try? TestSocket.connect(to: port).echo("hello")) != nil
    }
  }
}

/// The value that `pick` makes of an event, when the first such event comes.
func next<Event, Value: Sendable>(
  _ events: EventSequence<Event>, within seconds: Double = 20,
  _ pick: @escaping @Sendable (Event) -> Value?
) async throws -> Value {
  try await withThrowingTaskGroup(of: Value?.self) { group in
    group.addTask {
      for await event in events {
        if let value = pick(event) { return value }
      }
      return nil
    }
    group.addTask {
      try await Task.sleep(for: .seconds(seconds))
      return nil
    }
    defer { group.cancelAll() }
    guard let value = try await group.next() ?? nil else {
      throw SocketFailure(description: "no such event within \(seconds) s")
    }
    return value
  }
}

/// Polls until `condition` holds; the limit is a guard against hanging.
func eventually(
  within seconds: Double = 15, _ what: String, _ condition: () async -> Bool
) async throws {
  let deadline = ContinuousClock.now + .seconds(seconds)
  while await !condition() {
    guard ContinuousClock.now < deadline else {
      throw SocketFailure(description: "waited \(seconds) s for \(what)")
    }
    try await Task.sleep(for: .milliseconds(5))
  }
}

/// Whether a process is there, be it dead and not yet waited for.
func exists(_ pid: Int) -> Bool { kill(pid_t(pid), 0) == 0 }
