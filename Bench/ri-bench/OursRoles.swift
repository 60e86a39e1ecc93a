// One end of our own tunnel, in this process.

import Glibc
import LoadKit
import RIBase
import RIControl
import RIEngine
import RIWire
import Synchronization

/// Runs an edge or a hub until the process is killed; says `ready` when clients (at the edge) or
/// edges (at the hub) are accepted. Mostly one shard each: what a core gives is what is measured.
func runOurs(_ end: TunnelEnd, _ order: EndOrder) -> Never {
  do {
    if let ring = order.ring { setenv("REMOTEINGRESS_RING", ring, 1) }
    if let extensions = order.extensions { setenv("REMOTEINGRESS_EXTENSIONS", extensions, 1) }
    let secret = try Secret(order.key)
    let engine =
      switch end {
      case .hub: try Engine(hub: hubSettings(order, secret)) { _ in }
      case .edge: try Engine(edge: edgeSettings(order, secret), report: reportEdge)
      }
    if end == .hub { sayReady() }
    engine.waitUntilStopped()
  } catch {
    writeText("ours \(end.rawValue): \(error)\n", to: 2)
  }
  exit(1)
}

private func hubSettings(_ order: EndOrder, _ secret: Secret) -> HubSettings {
  var settings = HubSettings()
  settings.tunnelPort = order.listenPort
  settings.bindAddress = IPAddress(parsing: order.listenHost)
  settings.shards = order.shards
  settings.targetHost = order.connectHost
  let ports = [order.clientPort]
  settings.allowedEdges = [
    AllowedEdge(
      id: "bench", secret: secret, listenPorts: order.carriesDatagrams ? [] : ports,
      listenPortsUdp: order.carriesDatagrams ? ports : [], stunIntervalSecs: 0)
  ]
  settings.targets = [
    TargetRule(
      port: order.clientPort, transport: order.carriesDatagrams ? .udp : .tcp,
      targetPort: order.connectPort, udpProxyHeader: .none)
  ]
  return settings
}

private func edgeSettings(_ order: EndOrder, _ secret: Secret) -> EdgeSettings {
  var settings = EdgeSettings(hubHost: order.connectHost, edgeID: "bench", secret: secret)
  settings.hubPort = order.connectPort
  settings.bindAddress = IPAddress(parsing: order.listenHost)
  settings.trust = .insecure
  settings.transportMode = order.overQUIC ? .quic : .tcpTls
  settings.shards = order.shards
  return settings
}

@Sendable
private func reportEdge(_ event: EngineEvent) {
  switch event {
  case .listening: sayReady()
  case .tunnelDown(let reason, _): writeText("ours edge: no tunnel: \(reason)\n", to: 2)
  case .warning(let text): warn(text)
  default: break
  }
}

private let warningCount = Atomic<Int>(0)

/// The first few of a process: thousands of streams have the same to say.
private func warn(_ text: String) {
  let number = warningCount.add(1, ordering: .relaxed).newValue
  guard number <= 3 else { return }
  writeText("ours edge: \(text)\(number == 3 ? " (no more of these)" : "")\n", to: 2)
}
