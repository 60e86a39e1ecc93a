// A hub or an edge that is none: what it shows is set by the test.

import RIAdmin
import RIControl
import RemoteIngress
import Synchronization

final class FakeSource: AdminSource {
  private struct State {
    var look: AdminSnapshot
    var snapshots = 0
    var feeds: [AsyncStream<AdminEvent>.Continuation] = []
    var wantedStreams: [Bool] = []
    var edges: [AllowedEdge]?
    var refusal: AdminRefusal?
  }

  private let state: Mutex<State>

  init(_ look: AdminSnapshot) { state = Mutex(State(look: look)) }

  /// How often it was looked at.
  var snapshots: Int { state.withLock { $0.snapshots } }
  /// The list that was put last.
  var edges: [AllowedEdge]? { state.withLock { $0.edges } }
  var listeners: Int { state.withLock { $0.feeds.count } }
  /// For each listener whether it wanted the events of streams.
  var wantedStreams: [Bool] { state.withLock { $0.wantedStreams } }

  func change(_ body: (inout AdminSnapshot) -> Void) { state.withLock { body(&$0.look) } }
  func refuse(_ refusal: AdminRefusal) { state.withLock { $0.refusal = refusal } }

  func send(_ event: AdminEvent) {
    for feed in state.withLock({ $0.feeds }) { feed.yield(event) }
  }

  func finish() {
    for feed in state.withLock({ $0.feeds }) { feed.finish() }
  }

  func snapshot() async -> AdminSnapshot {
    state.withLock {
      $0.snapshots += 1
      return $0.look
    }
  }

  func subscribe(withStreams: Bool) -> AdminSubscription {
    let (stream, feed) = AsyncStream.makeStream(of: AdminEvent.self)
    state.withLock {
      $0.feeds.append(feed)
      $0.wantedStreams.append(withStreams)
    }
    return AdminSubscription { body in
      for await event in stream {
        guard body(event) else { return }
      }
    }
  }

  func replaceAllowedEdges(_ edges: [AllowedEdge]) async throws(AdminRefusal) {
    if let refusal = state.withLock({ $0.refusal }) { throw refusal }
    state.withLock { $0.edges = edges }
  }
}

extension AdminSnapshot {
  /// A hub with two edges and some traffic.
  static var hub: AdminSnapshot {
    var look = AdminSnapshot(role: .hub, json: #"{"running":true}"#, isReady: true)
    look.process.state = .running
    look.process.startedAt = 1_700_000_000.5
    look.tunnels = [
      LinkStatus(
        edgeID: "b\"\\e", address: "10.0.0.2:4000", transport: .tcpTls, connectedAt: 1,
        roundTrip: 0.0125, activeStreams: 3, bytesIn: 1_000, bytesOut: 2_000),
      LinkStatus(
        edgeID: "a", address: "10.0.0.1:4000", transport: .tcpTls, connectedAt: 2, draining: true),
      LinkStatus(
        edgeID: "a", address: "10.0.0.1:4001", transport: .tcpTls, connectedAt: 3,
        activeStreams: 2),
    ]
    look.shards = [shard(look.tunnels), shard([])]
    return look
  }

  static var edge: AdminSnapshot {
    var look = hub
    look.role = .edge
    var firewall = FirewallStatus()
    firewall.state = .applied
    firewall.applies = 7
    firewall.failures = 6
    firewall.refusals = 3
    firewall.unavailables = 1
    firewall.counters = [
      .init(kind: .rule, id: "r1", packets: 5, bytes: 50),
      .init(kind: .rule, id: "r2", packets: 6, bytes: 60),
    ]
    look.firewall = firewall
    look.listeners = [
      ListenerStatus(port: 80, transport: .tcp, address: "0.0.0.0", state: .listening),
      ListenerStatus(port: 443, transport: .tcp, address: "0.0.0.0", state: .failed, error: "x"),
    ]
    return look
  }

  private static func shard(_ tunnels: [LinkStatus]) -> ShardStatus {
    var shard = ShardStatus(
      tunnels: tunnels,
      memory: MemoryStatus(
        budgetBytes: 100 << 20, heldBytes: 1 << 20, grownBytes: 0, pressure: .high))
    shard.counters.drops.queueFull = 4
    shard.metrics.traffic.dataFramesSent = 10
    shard.metrics.traffic.sustainedFramesSent = 4
    shard.metrics.traffic.dataBytesSent = 1_000
    shard.metrics.traffic.sustainedBytesSent = 600
    shard.metrics.bytesIn = 5_000
    shard.metrics.tunnelsOpened = 2
    shard.metrics.tunnelEnds.count(.protocolViolation)
    shard.metrics.handshakeFailures.count(.unauthorized)
    for span in [5, 6, 7, 3_000] as [Int64] { shard.metrics.loop.record(.microseconds(span)) }
    shard.pools = [PoolUse(name: "small", used: 3, total: 10, bufferBytes: 8_192)]
    shard.windows.sendBytes = 4 << 20
    return shard
  }
}
