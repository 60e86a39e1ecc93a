// The metrics of a hub or an edge, out of one look at it. docs/METRICS.md lists them.

import RIControl
import RITunnel
import RemoteIngress

/// Sums over the shards; the number of series is bounded whatever the peers do, that of edges by
/// `AdminLimits.edgesListedMax`.
struct Metrics {
  private var out = MetricsText()
  private let look: AdminSnapshot
  private let limits: AdminLimits
  private var totals = ShardMetrics()
  private var windows = WindowUse()
  private var queues = QueueDepths()

  init(of look: AdminSnapshot, limits: AdminLimits = AdminLimits()) {
    self.look = look
    self.limits = limits
    for shard in look.shards {
      totals.add(shard.metrics)
      windows.add(shard.windows)
      queues.add(shard.queues)
    }
    writeProcess()
    writeTunnels()
    writeEdges()
    writeStreams()
    writeTraffic()
    writeDatagrams()
    writePackets()
    writeWindowsAndQueues()
    writeMemory()
    writeTimes()
    if look.role == .edge { writeEdgeOnly() }
  }

  var text: String { out.text }

  private func sum(_ property: KeyPath<ShardStatus, Int>) -> Int {
    look.shards.reduce(0) { $0 &+ $1[keyPath: property] }
  }

  private func sum(_ property: KeyPath<ShardCounters, UInt64>) -> UInt64 {
    look.shards.reduce(0) { $0 &+ $1.counters[keyPath: property] }
  }

  // MARK: Process and tunnels

  private mutating func writeProcess() {
    out.family("build_info", .gauge, "Version and role; always 1.")
    out.sample(1, ["version": remoteIngressVersion, "role": look.role.rawValue])
    out.single(
      "ready", .gauge, "Whether a hub accepts edges, or an edge has a tunnel.", look.isReady ? 1 : 0
    )
    out.single(
      "engine_running", .gauge, "Whether the engine process runs.",
      look.process.state == .running || look.process.state == .draining ? 1 : 0)
    out.single(
      "engine_start_time_seconds", .gauge, "When the engine process started, since 1970.",
      look.process.startedAt ?? 0)
    out.single(
      "engine_crashes_recovered_total", .counter, "Engine processes that died and were replaced.",
      look.process.crashesRecovered)
    out.single("shards", .gauge, "Engine threads.", look.shards.count)
  }

  private mutating func writeTunnels() {
    out.family("tunnels", .gauge, "Tunnels that are up, by what carries them.")
    for transport in TunnelTransport.allCases {
      out.sample(
        look.tunnels.count { $0.transport == transport }, ["transport": transport.rawValue])
    }
    out.single(
      "tunnels_draining", .gauge, "Tunnels one end of which is about to stop.",
      look.tunnels.count { $0.draining })
    out.single(
      "tunnels_opened_total", .counter, "Tunnels that came up.", totals.tunnelsOpened)
    out.family("tunnels_closed_total", .counter, "Tunnels that ended, by reason.")
    for cause in LinkEndCause.allCases where !cause.isOfHandshakes {
      out.sample(totals.tunnelEnds[cause], ["reason": cause.label])
    }
    out.family(
      "handshake_failures_total", .counter, "Tunnels that did not come up, by reason.")
    for cause in LinkEndCause.allCases where !cause.isOfTunnels {
      out.sample(totals.handshakeFailures[cause], ["reason": cause.label])
    }
    out.family("pings_total", .counter, "PINGs, by direction.")
    out.sample(look.role == .hub ? totals.pings : 0, ["direction": "out"])
    out.sample(look.role == .edge ? totals.pings : 0, ["direction": "in"])
    out.single("pongs_total", .counter, "Answers to PINGs that a hub received.", totals.pongs)
    out.family("tunnel_bytes_total", .counter, "Bytes of tunnel sockets, encrypted.")
    out.sample(totals.bytesIn, ["direction": "in"])
    out.sample(totals.bytesOut, ["direction": "out"])
  }

  /// The edges that are connected, the first by their ids when there are too many.
  private mutating func writeEdges() {
    let listed = look.tunnels.sorted { ($0.edgeID, $0.connectedAt) < ($1.edgeID, $1.connectedAt) }
      .prefix(limits.edgesListedMax)
    // While a tunnel replaces a draining one an edge has two: one series all the same.
    var edges: [(id: String, streams: Int, sessions: Int, rtt: Double?, in: UInt64, out: UInt64)]
    edges = []
    for tunnel in listed {
      if edges.last?.id != tunnel.edgeID { edges.append((tunnel.edgeID, 0, 0, nil, 0, 0)) }
      let last = edges.count - 1
      edges[last].streams &+= tunnel.activeStreams
      edges[last].sessions &+= tunnel.udpSessions
      edges[last].rtt = tunnel.roundTrip ?? tunnel.baseRoundTrip ?? edges[last].rtt
      edges[last].in &+= tunnel.bytesIn
      edges[last].out &+= tunnel.bytesOut
    }
    out.single(
      "edges_unlisted", .gauge, "Tunnels beyond those that have series of their own.",
      look.tunnels.count - listed.count)
    out.family("edge_streams", .gauge, "Streams, by edge.")
    for edge in edges { out.sample(edge.streams, ["edge": edge.id]) }
    out.family("edge_udp_sessions", .gauge, "UDP sessions, by edge.")
    for edge in edges { out.sample(edge.sessions, ["edge": edge.id]) }
    out.family("edge_rtt_seconds", .gauge, "The last round trip of a PING, by edge.")
    for edge in edges {
      if let rtt = edge.rtt { out.sample(rtt, ["edge": edge.id]) }
    }
    out.family("edge_bytes_total", .counter, "Bytes of the tunnels that are up, by edge.")
    for edge in edges {
      out.sample(edge.in, ["edge": edge.id, "direction": "in"])
      out.sample(edge.out, ["edge": edge.id, "direction": "out"])
    }
  }

  // MARK: Streams and datagrams

  private mutating func writeStreams() {
    out.family("streams", .gauge, "Streams, by tier.")
    out.sample(sum(\.activeStreams) - sum(\.sustainedStreams), ["tier": "data"])
    out.sample(sum(\.sustainedStreams), ["tier": "sustained"])
    out.single(
      "streams_opened_total", .counter, "Streams that tunnels opened.",
      totals.traffic.streamsOpened)
    out.single(
      "streams_sustained_total", .counter, "Streams that became sustained flows.",
      sum(\.streamsSustained))
    out.family("streams_refused_total", .counter, "Streams that were refused, by reason.")
    out.sample(totals.traffic.streamsRefused, ["reason": "table_full"])
    out.sample(sum(\.streamsRefused), ["reason": "not_allowed"])
    out.family("streams_reset_total", .counter, "Streams that we broke off, by reason.")
    out.sample(sum(\.budgetResets), ["reason": "memory_budget"])
    out.sample(totals.traffic.dataAfterClose, ["reason": "data_after_close"])
    out.sample(totals.traffic.creditOverdrawn, ["reason": "credit_overdrawn"])
    out.single(
      "clients_refused_total", .counter, "Clients of an edge that found no tunnel or no room.",
      sum(\.clientsRefused))
    out.single(
      "connections", .gauge, "Sockets of clients (edge) or targets (hub).", sum(\.connections))
    out.single(
      "connections_opened_total", .counter, "Sockets of clients or targets that were opened.",
      sum(\.connectionsOpened))
    out.single(
      "connections_closed_total", .counter, "Sockets of clients or targets that were closed.",
      sum(\.connectionsClosed))
    out.family(
      "target_connect_failures_total", .counter, "Targets that a hub did not reach, by reason.")
    out.sample(totals.targetsRefused, ["reason": "refused"])
    out.sample(totals.targetsTimedOut, ["reason": "timed_out"])
    out.sample(totals.targetsFailed, ["reason": "other"])
  }

  private mutating func writeTraffic() {
    let traffic = totals.traffic
    let sent = [
      ("control", traffic.controlFramesSent, traffic.controlBytesSent),
      (
        "data", traffic.dataFramesSent - traffic.sustainedFramesSent,
        traffic.dataBytesSent - traffic.sustainedBytesSent
      ),
      ("sustained", traffic.sustainedFramesSent, traffic.sustainedBytesSent),
      ("datagram", traffic.datagramsSent, traffic.datagramBytesSent),
    ]
    let received = [
      ("control", traffic.controlFramesReceived, traffic.controlBytesReceived),
      (
        "data", traffic.dataFramesReceived - traffic.sustainedFramesReceived,
        traffic.dataBytesReceived - traffic.sustainedBytesReceived
      ),
      ("sustained", traffic.sustainedFramesReceived, traffic.sustainedBytesReceived),
      ("datagram", traffic.datagramsReceived, traffic.datagramBytesReceived),
    ]
    out.family(
      "frames_total", .counter,
      "Frames, by direction and tier; datagrams are of the data tier and count apart.")
    for (direction, tiers) in [("in", received), ("out", sent)] {
      for tier in tiers { out.sample(tier.1, ["direction": direction, "tier": tier.0]) }
    }
    out.family("frame_bytes_total", .counter, "Payload of frames, by direction and tier.")
    for (direction, tiers) in [("in", received), ("out", sent)] {
      for tier in tiers { out.sample(tier.2, ["direction": direction, "tier": tier.0]) }
    }
    out.family("frames_dropped_total", .counter, "Frames that went no further, by reason.")
    out.sample(traffic.framesDropped, ["reason": "stream_gone"])
    out.sample(traffic.framesSkipped, ["reason": "unknown_type"])
    out.sample(traffic.probesDropped, ["reason": "ping_not_queued"])
    out.sample(traffic.hellosDropped, ["reason": "hello_not_queued"])
  }

  private mutating func writeDatagrams() {
    out.single("udp_sessions", .gauge, "UDP sessions.", sum(\.udpSessions))
    out.single(
      "udp_sessions_opened_total", .counter, "UDP sessions that were opened.",
      sum(\.sessionsOpened))
    out.single(
      "udp_sessions_closed_total", .counter, "UDP sessions that ended.", sum(\.sessionsClosed))
    out.single(
      "udp_sessions_evicted_total", .counter, "UDP sessions that made room for others.",
      sum(\.sessionsEvicted))
    out.single(
      "udp_sessions_refused_total", .counter, "UDP sessions that a hub refused.",
      sum(\.sessionsRefused))
    out.single(
      "datagrams_delivered_total", .counter, "Datagrams that clients' or targets' sockets took.",
      sum(\.datagramsDelivered))
    out.family("datagrams_dropped_total", .counter, "Datagrams that went no further, by reason.")
    for (reason, drops) in Self.drops { out.sample(sum(drops), ["reason": reason]) }
  }

  private static let drops: [(String, KeyPath<ShardCounters, UInt64> & Sendable)] = [
    ("no_tunnel", \.drops.noTunnel), ("no_session", \.drops.noSession),
    ("no_target", \.drops.noTarget), ("queue_full", \.drops.queueFull),
    ("stuck", \.drops.stuck), ("no_buffer", \.drops.noBuffer),
    ("socket_full", \.drops.socketFull), ("too_long", \.drops.tooLong),
    ("refused", \.drops.refused), ("failed", \.drops.failed),
  ]

  private mutating func writePackets() {
    let packets = totals.packets
    out.family("quic_packets_total", .counter, "Packets of tunnels over QUIC, by direction.")
    out.sample(packets.received, ["direction": "in"])
    out.sample(packets.sent, ["direction": "out"])
    out.family("quic_handshakes_total", .counter, "QUIC handshakes, by what became of them.")
    out.sample(packets.handshakesStarted, ["stage": "started"])
    out.sample(packets.handshakesFailed, ["stage": "failed"])
    out.sample(packets.earlyDataAccepted, ["stage": "early_data"])
    out.family(
      "quic_answers_total", .counter, "Packets to senders that have no tunnel over QUIC, by kind.")
    out.sample(packets.retries, ["kind": "retry"])
    out.sample(packets.versionNegotiations, ["kind": "version_negotiation"])
    out.sample(packets.statelessResets, ["kind": "stateless_reset"])
    out.family(
      "quic_packets_dropped_total", .counter,
      "Packets that went no further, and answers to them that were not given, by reason.")
    out.sample(packets.drops.malformed, ["reason": "malformed"])
    out.sample(packets.drops.unknown, ["reason": "unknown"])
    out.sample(packets.drops.busy, ["reason": "busy"])
    out.sample(packets.drops.rateLimited, ["reason": "rate_limited"])
    out.sample(packets.drops.noBuffer, ["reason": "no_buffer"])
    out.sample(packets.drops.badToken, ["reason": "bad_token"])
    out.sample(sum(\.packetsCut), ["reason": "cut"])
    out.sample(packets.drops.waiting, ["reason": "waiting"])
    out.single(
      "quic_migrations_total", .counter, "Tunnels over QUIC that went on from another address.",
      packets.migrations)
    out.single(
      "quic_handed_over_total", .counter,
      "Receives that one shard handed to another, as a tunnel's address has changed.",
      packets.handedOver)
  }

  // MARK: What is held

  private mutating func writeWindowsAndQueues() {
    out.family("window_bytes", .gauge, "Windows of all streams, by direction.")
    out.sample(windows.receiveBytes, ["direction": "in"])
    out.sample(windows.sendBytes, ["direction": "out"])
    out.family(
      "window_used_bytes", .gauge,
      "Of the windows: in, what waits for local sockets; out, what the peer has not credited.")
    out.sample(windows.bufferedBytes, ["direction": "in"])
    out.sample(windows.inFlightBytes, ["direction": "out"])
    out.single(
      "streams_stalled", .gauge, "Streams with data to send and no credit.", windows.stalled)
    out.family("queue_bytes", .gauge, "Bytes that wait for their turn in a tunnel, by tier.")
    out.sample(queues.controlBytes, ["tier": "control"])
    out.sample(queues.dataBytes, ["tier": "data"])
    out.sample(queues.sustainedBytes, ["tier": "sustained"])
    out.sample(queues.datagramBytes, ["tier": "datagram"])
    out.single(
      "handshakes_waiting", .gauge, "Handshakes that wait for their turn.", queues.handshakes)
    out.single(
      "receives_starved", .gauge, "Sockets that wait for a buffer.", queues.receivesStarved)
  }

  private mutating func writeMemory() {
    let memory = look.shards.map(\.memory)
    out.single(
      "memory_budget_bytes", .gauge, "The budget for stalled streams.",
      memory.reduce(0) { $0 &+ $1.budgetBytes })
    out.single(
      "memory_held_bytes", .gauge, "Held for sockets that take nothing.",
      memory.reduce(0) { $0 &+ $1.heldBytes })
    out.single(
      "memory_granted_bytes", .gauge, "Granted to windows beyond their floor.",
      memory.reduce(0) { $0 &+ $1.grownBytes })
    out.single(
      "memory_pressure", .gauge, "0: none; 1: windows are at their floor; 2: below it.",
      memory.map(\.pressure.level).max() ?? 0)
    let pools = look.shards.first?.pools ?? []
    let all = look.shards.flatMap(\.pools)
    out.family("pool_buffers", .gauge, "Buffers of a pool, in use or not.")
    for pool in pools {
      out.sample(
        all.filter { $0.name == pool.name }.reduce(0) { $0 &+ $1.total }, ["pool": pool.name])
    }
    out.family("pool_buffers_used", .gauge, "Buffers of a pool that are in use.")
    for pool in pools {
      out.sample(
        all.filter { $0.name == pool.name }.reduce(0) { $0 &+ $1.used }, ["pool": pool.name])
    }
  }

  private mutating func writeTimes() {
    out.histogram(
      "rtt_seconds", "From a PING to its PONG, at a hub.", totals.roundTrip)
    out.histogram(
      "target_connect_seconds", "From a stream's OPEN to its target's connection, at a hub.",
      totals.targetConnect)
    out.histogram(
      "handshake_seconds", "From a tunnel's first packets to its being up.", totals.handshake)
    out.histogram(
      "loop_seconds", "What the engine does at a stretch: what may delay a byte.", totals.loop)
  }

  // MARK: Edge

  private mutating func writeEdgeOnly() {
    out.single("dials_total", .counter, "Attempts of an edge to reach its hub.", totals.dials)
    out.single(
      "reconnects_total", .counter, "Tunnels of an edge after the first.",
      totals.tunnelsOpened - min(totals.tunnelsOpened, 1))
    out.family("listeners", .gauge, "Addresses and ports of an edge, by state.")
    for state in [ListenerStatus.State.listening, .failed] {
      out.sample(look.listeners.count { $0.state == state }, ["state": state.rawValue])
    }
    let firewall = look.firewall ?? FirewallStatus()
    out.family("firewall_applies_total", .counter, "Attempts to change the firewall, by outcome.")
    out.sample(firewall.applies, ["outcome": "applied"])
    out.sample(firewall.refusals, ["outcome": "refused"])
    out.sample(firewall.unavailables, ["outcome": "unavailable"])
    out.sample(
      firewall.failures - firewall.refusals - firewall.unavailables, ["outcome": "failed"])
    out.family("firewall_state", .gauge, "1 for the state that the firewall is in.")
    for state in FirewallStatus.State.allCases {
      out.sample(firewall.state == state ? 1 : 0, ["state": state.rawValue])
    }
    out.family("firewall_packets_total", .counter, "Packets that entries decided about, by kind.")
    for kind in FirewallStatus.Counter.Kind.allCases {
      out.sample(
        firewall.counters.filter { $0.kind == kind }.reduce(0) { $0 &+ $1.packets },
        ["kind": kind.label])
    }
  }
}

extension LinkEndCause {
  /// Ends that only a tunnel that is up can have.
  fileprivate var isOfTunnels: Bool {
    switch self {
    case .silent, .replaced, .revoked, .stopping, .drained, .forgotten: true
    default: false
    }
  }

  /// Ends that only a handshake can have.
  fileprivate var isOfHandshakes: Bool {
    switch self {
    case .timedOut, .malformed, .tooMany, .unauthorized, .refused, .noAddress: true
    default: false
    }
  }

  fileprivate var label: String { snakeCase(rawValue) }
}

extension FirewallStatus.Counter.Kind {
  fileprivate var label: String { snakeCase(rawValue) }
}

/// `timedOut` as `timed_out`.
private func snakeCase(_ name: String) -> String {
  name.reduce(into: "") { $0 += $1.isUppercase ? "_" + $1.lowercased() : String($1) }
}

extension MemoryPressure {
  fileprivate var level: Int {
    switch self {
    case .none: 0
    case .high: 1
    case .critical: 2
    }
  }
}
