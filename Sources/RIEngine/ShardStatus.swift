// What a shard tells about itself.

import RIBase
import RIControl
import RIRing
import RITunnel

extension Shard {
  var status: ShardStatus {
    var status = ShardStatus(
      draining: isDraining, tunnels: links.ids.compactMap { self.status(of: links[$0]) },
      counters: counters, links: links.count, connections: connections.count,
      listeners: listeners.count, udpSessions: sessions.count,
      memory: MemoryStatus(
        budgetBytes: budget.bytes, heldBytes: heldBytes, grownBytes: budget.grownBytes,
        pressure: budget.pressure),
      stashBuffersInUse: store[ShardPool.stash].usedCount, sliceNodesInUse: store.nodesInUse)
    status.metrics = metricsNow
    status.pools = poolUses
    status.windows = windowUse
    status.queues = queueDepths
    if case .edge(let edge) = role { addEdge(edge, to: &status) }
    return status
  }

  private func addEdge(_ edge: EdgeState, to status: inout ShardStatus) {
    status.publicIp = edge.stun.client.address.map { "\($0)" }
    status.listenPorts = edge.ports
    status.listenPortsUdp = edge.portsUDP
    let open = edge.listeners.keys.map { $0.status(.listening) }
    let failed = edge.failed.map { $0.key.status(.failed, error: "\($0.value)") }
    status.portListeners = (open + failed).sorted { $0.order < $1.order }
  }

  private func status(of link: Link) -> LinkStatus? {
    guard link.phase == .ready, let tunnel = link.tunnel else { return nil }
    return LinkStatus(
      edgeID: edgeID(of: link), address: "\(link.peer)", transport: link.transport.name,
      connectedAt: link.connectedAt, roundTrip: link.liveness?.roundTrip?.seconds,
      baseRoundTrip: link.liveness?.baseRoundTrip?.seconds, extensions: link.extensions.names,
      draining: link.isDraining || isDraining, activeStreams: tunnel.activeStreams,
      sustainedStreams: tunnel.sustainedStreams, udpSessions: tunnel.activeSessions,
      queuedBytes: tunnel.queuedBytes.total + tunnel.datagramBytesQueued,
      queueLimitBytes: link.backlog.limitBytes, bytesIn: link.wireBytes.received,
      bytesOut: link.wireBytes.sent)
  }

  private func edgeID(of link: Link) -> String {
    switch role {
    case .hub: link.edge?.id ?? ""
    case .edge(let edge): edge.settings.edgeID
    }
  }
}

extension ListenerKey {
  fileprivate func status(
    _ state: ListenerStatus.State, error: String? = nil
  ) -> ListenerStatus {
    ListenerStatus(
      port: address.port, transport: transport, address: "\(address.ip)", state: state,
      error: error)
  }
}

extension ListenerStatus {
  /// TCP first, by port, then by address.
  fileprivate var order: (String, Port, String) { (transport.rawValue, port, address) }
}
