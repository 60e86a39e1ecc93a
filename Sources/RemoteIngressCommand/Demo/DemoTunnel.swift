// The demo's hub and edge: two engines in this process, joined by a TLS tunnel over loopback.

import Dispatch
import RIBase
import RIControl
import RIEngine
import RIWire
import Synchronization

/// A running hub and edge.
struct DemoTunnel: Sendable {
  let hubPort: UInt16
  let edgePort: UInt16
  let cipher: String
  private let hub: Engine
  private let edge: Engine

  /// Starts both and returns when the edge accepts clients.
  static func start(targetPort: UInt16) throws -> DemoTunnel {
    let secret = try Secret(DemoTunnel.randomSecret())
    let (probe, edgePort) = try BlockingSocket.listen()
    probe.close()
    var hubSettings = HubSettings()
    hubSettings.tunnelPort = 0
    hubSettings.bindAddress = .loopbackV4
    hubSettings.shards = 1
    hubSettings.allowedEdges = [
      AllowedEdge(id: "demo", secret: secret, listenPorts: [edgePort], stunIntervalSecs: 0)
    ]
    hubSettings.targets = [TargetRule(port: edgePort, targetPort: targetPort)]
    let hub = try Engine(hub: hubSettings) { _ in }

    let events = DemoEvents()
    var edgeSettings = EdgeSettings(hubHost: "127.0.0.1", edgeID: "demo", secret: secret)
    edgeSettings.hubPort = hub.tunnelPort ?? 0
    edgeSettings.bindAddress = .loopbackV4
    edgeSettings.trust = .firstUse
    let edge = try Engine(edge: edgeSettings) { events.take($0) }
    guard let cipher = events.waitUntilListening() else {
      throw BlockingSocket.Failure(description: "the tunnel did not come up within 10 s")
    }
    return DemoTunnel(
      hubPort: hub.tunnelPort ?? 0, edgePort: edgePort, cipher: cipher, hub: hub, edge: edge)
  }

  func stop() {
    edge.stop()
    hub.stop()
    edge.waitUntilStopped()
    hub.waitUntilStopped()
  }

  private static func randomSecret() -> String {
    var generator = SystemRandomNumberGenerator()
    let words: [UInt64] = [generator.next(), generator.next()]
    return words.map { String($0, radix: 16) }.joined()
  }
}

/// Waits for the edge's first listener.
private final class DemoEvents: Sendable {
  private let cipher = Mutex("")
  private let listening = DispatchSemaphore(value: 0)

  func take(_ event: EngineEvent) {
    switch event {
    case .tunnelUp(_, _, let name): cipher.withLock { $0 = name }
    case .listening: listening.signal()
    case .tunnelDown(let reason, _): StandardError.write("no tunnel: \(reason)\n")
    case .listenFailed(_, let address, let error):
      StandardError.write("cannot listen on \(address): \(error)\n")
    default: break
    }
  }

  /// The tunnel's cipher, or nil when nothing listens after 10 s.
  func waitUntilListening() -> String? {
    guard listening.wait(timeout: .now() + 10) == .success else { return nil }
    return cipher.withLock { $0 }
  }
}
