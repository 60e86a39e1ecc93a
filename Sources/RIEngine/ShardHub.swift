// The hub's half: edges are accepted and authenticated, their streams connected to targets.

import RIBase
import RIControl
import RIQUIC
import RIRing
import RITLS
import RITunnel
import RIWire
import Synchronization

/// What a hub's shard holds beside its links and connections.
final class HubState {
  var settings: HubSettings
  var allowed: AllowedEdges
  let tls: TLSServerContext
  var gate: HandshakeGate
  var guesses = GuessThrottle()
  /// Guessers who have hung up before their answer was due: their places at the gate.
  let keptPlaces: Slab<IPAddress>
  let tunnelAddresses: [SocketAddress]
  /// The extensions that this hub offers.
  let offer: Extensions
  let othersReplace: (Authentication) -> Void
  /// What tunnels over QUIC share; nil: there are none.
  let quic: QUICServerContext?
  /// The hub's shards, and how one hands packets to another.
  let shardCount: Int
  let handOver: (Int, ForeignPackets) -> Void
  /// Where this shard accepts edges over QUIC.
  var packetPort: SlotID?
  /// Targets given by name, looked up anew when `staleAt` has passed.
  var resolved: [String: (addresses: [SocketAddress], staleAt: Instant)] = [:]
  /// The addresses that connections have not tried of their target's name.
  var untried: [SlotID: ArraySlice<SocketAddress>] = [:]
  /// Connections that wait for a name, by a slot that names the look-up.
  let lookups: Slab<TargetLookup>
  /// First datagrams of sessions whose target's address is not known yet, and their number.
  var heldDatagrams: [SlotID: SliceQueue] = [:]
  var heldCount = 0
  /// The UDP sessions that this shard may have.
  let sessionShare: SessionShare

  /// `tunnelAddresses`: where this shard listens for edges. `othersReplace` tells the other shards
  /// that an edge has authenticated here, `handOver` gives one of them packets that are its.
  /// `sessionShare` is for several shards; nil: all sessions.
  init(
    settings: HubSettings, tls: TLSServerContext, tunnelAddresses: [SocketAddress],
    offer: Extensions = .all, sessionShare: SessionShare? = nil, quic: QUICServerContext? = nil,
    shardCount: Int = 1, handOver: @escaping (Int, ForeignPackets) -> Void = { _, _ in },
    othersReplace: @escaping (Authentication) -> Void
  ) {
    self.sessionShare = sessionShare ?? SessionShare(alone: settings.udpSessionsMax)
    self.settings = settings
    self.tls = tls
    self.tunnelAddresses = tunnelAddresses
    self.offer = offer
    self.othersReplace = othersReplace
    self.quic = quic
    self.shardCount = shardCount
    self.handOver = handOver
    allowed = AllowedEdges(settings.allowedEdges)
    gate = HandshakeGate()
    keptPlaces = Slab(capacity: Limits.handshakesMax)
    lookups = Slab(capacity: Limits.targetLookupsMax)
  }
}

/// An edge has said who it is. Shards tell each other by messages, which may cross or come late;
/// the order says which of an edge's tunnels is the newest, on whatever shard.
struct Authentication: Sendable {
  let edgeID: String
  let transport: TunnelTransport
  let order: UInt64

  private static let count = Atomic<UInt64>(0)

  /// The next in this process's order.
  init(of edgeID: String, over transport: TunnelTransport) {
    self.edgeID = edgeID
    self.transport = transport
    order = Self.count.add(1, ordering: .relaxed).newValue
  }
}

/// A name look-up under way, and the connections that wait for it.
struct TargetLookup {
  var host: String
  /// Connections.
  var waiting: [SlotID] = []
  var waitingSessions: [SlotID] = []
}

extension Shard {
  func startHub(_ hub: HubState) throws(EngineError) {
    for address in hub.tunnelAddresses {
      do throws(RingError) {
        let id = try openTunnelListener(on: address, hub)
        tunnelPort = listeners[id].address.port
        if index == 0 { report(.hubReady(address: listeners[id].address)) }
      } catch {
        if tunnelPort != nil, isWithoutFamily(address, error) { continue }
        throw .listen(address, error)
      }
    }
    do throws(RingError) {
      try startHubPackets(hub)
    } catch {
      if index == 0 { report(.warning("no QUIC: \(error) of UDP port \(tunnelPort ?? 0)")) }
    }
  }

  /// Port 0: one that is free for both transports, and the same for the second family. Somebody may
  /// take it between the looking and the taking.
  private func openTunnelListener(
    on address: SocketAddress, _ hub: HubState
  ) throws(RingError) -> SlotID {
    var address = address
    let isFree = address.port == 0 && tunnelPort == nil
    var triesLeft = isFree ? Limits.freePortTries : 1
    while true {
      if isFree { address.port = freePacketPort(on: SocketAddress(address.ip, 0), hub) }
      if address.port == 0, let tunnelPort { address.port = tunnelPort }
      do throws(RingError) {
        return try openListener(on: address, purpose: .tunnels, reusePort: true)
      } catch {
        triesLeft -= 1
        guard triesLeft > 0, error.code == ErrorNumber.addressInUse else { throw error }
      }
    }
  }

  // MARK: Edges come

  func tunnelAccepted(_ listener: SlotID, _ completion: Completion) {
    guard let socket = acceptedSocket(listener, completion), case .hub(let hub) = role else {
      return
    }
    guard let peer = ring.peerAddress(of: socket) else { return refuse(socket) }
    guard hub.gate.admit(peer.ip) else {
      counters.handshakesRefused += 1
      metrics.handshakeFailures.count(.tooMany)
      reportRefusal(peer, .tooManyHandshakes)
      return refuse(socket)
    }
    let tls = TLSTransport(socket: socket, session: TLSLink(server: hub.tls, store: store))
    let offer = hub.offer.intersection(.framed)
    let link = Link(
      .tls(tls), peer: peer, phase: .handshaking,
      handshake: .hub(HubHandshake(offering: offer)), offer: offer)
    guard let id = links.insert(link) else {
      hub.gate.leave(peer.ip)
      return refuse(socket)
    }
    beginHandshake(link, tls, id)
  }

  /// The edge has said who it is (SPEC 2.1 step 2).
  func edgeLineReceived(
    _ verdict: HubHandshake.Verdict, _ hub: HubState, _ link: Link, _ id: SlotID
  ) {
    switch verdict {
    case .needsMore: break
    case .accepted(let edge, let answer):
      let authentication = Authentication(of: edge.id, over: link.transport.name)
      replaceTunnels(olderThan: authentication)
      hub.othersReplace(authentication)
      hub.gate.leave(link.peer.ip)
      link.edge = edge
      link.order = authentication.order
      link.line = answer
      linkReady(link, id, side: .hub)
      if let tls = link.tls { endHandshakeReceive(of: tls, id) }
      report(
        .edgeConnected(edgeID: edge.id, address: link.peer, transport: link.transport.name))
    case .refused(let edgeID, let answer):
      refuseGuess(.refused(edgeID: edgeID), answer, hub, link, id)
    case .malformed(let error): endLink(id, .handshakeFailed("\(error)"))
    }
  }

  /// What the edge knows beyond the protocol (SPEC 5): what we have offered of that is in force
  /// from here on. A later HELLO may say that it drains, and changes nothing else.
  func helloReceived(_ payload: UnsafeRawBufferPointer, _ id: SlotID) {
    guard case .hub(let hub) = role, let tunnel = links[id].tunnel else { return }
    let link = links[id]
    do throws(WireError) {
      let hello = try HelloMessage(parsing: payload)
      if !link.hasSaidHello {
        let common = link.offer.intersection(Extensions(names: hello.extensions))
        // Streams that exist have the windows of the protocol. Over QUIC nothing holds the
        // control channel back for streams, nor them for it.
        if !common.isEmpty, tunnel.framed != nil, tunnel.counters.streamsOpened > 0 {
          throw .lateHello
        }
        link.hasSaidHello = true
        takeIntoForce(common, hub, link)
      }
      noteDraining(hello, link)
      markDirty(link, id)
    } catch {
      endLink(id, .protocolViolation(.malformed(error)))
    }
  }

  private func takeIntoForce(_ extensions: Extensions, _ hub: HubState, _ link: Link) {
    link.extensions = extensions
    if case .quic(let quic) = link.transport {
      quic.tunnel.usesUDPStreams = extensions.contains(.udpStream)
    }
    if extensions.contains(.autoWindow) {
      link.tunnel?.framed?.usesAutoWindows = true
      link.liveness?.measureNow(now: now)
      _ = sendPings(on: link)
    }
    // It joined just before we began to drain, and was told so as one that does not know of it.
    if isDraining, extensions.contains(.drain), let edge = link.edge {
      sendConfiguration(of: edge, hub, link)
    }
  }

  private func noteDraining(_ hello: HelloMessage, _ link: Link) {
    guard hello.draining, link.extensions.contains(.drain), !link.isDraining,
      let edge = link.edge
    else { return }
    link.isDraining = true
    report(.edgeDraining(edgeID: edge.id, address: link.peer))
  }

  /// Queues a CONFIG with what the edge is to do now.
  func sendConfiguration(of edge: AllowedEdge, _ hub: HubState, _ link: Link) {
    let message =
      isDraining
      ? edge.drainingMessage(offering: link.offer, inForce: link.extensions)
      : edge.message(offering: link.offer)
    link.tunnel?.sendConfig(message.encodedFramePayload())
  }

  /// An edge has one tunnel: a newer one ends the older (SPEC 2.1 step 5). But an edge that changes
  /// from one transport to the other and knows how to drain keeps the old tunnel for the streams
  /// that it has (SPEC 3).
  func replaceTunnels(olderThan authentication: Authentication) {
    for id in links.ids
    where links[id].edge?.id == authentication.edgeID
      && links[id].order < authentication.order
    {
      let link = links[id]
      guard link.transport.name != authentication.transport, link.extensions.contains(.drain),
        link.phase == .ready
      else {
        endLink(id, .replaced)
        continue
      }
      if link.supersededAt == nil { link.supersededAt = now }
      link.isDraining = true
    }
  }

  /// Whether a stream or session may be opened on a link. Its edge has gone over to another tunnel:
  /// what it had opened by then is still on its way. One that goes on opening is another edge of
  /// the same name, which the newer has replaced.
  func admitsStreams(_ link: Link, _ id: SlotID) -> Bool {
    guard let since = link.supersededAt, now - since > Limits.supersededGrace else { return true }
    endLink(id, .replaced)
    return false
  }

  /// Reports an edge that did not get in, unless there are too many of those.
  private func reportRefusal(_ address: SocketAddress, _ reason: LinkEndReason) {
    guard let leftOut = throttles.admit(.refusal, now: now) else { return }
    report(.edgeRefused(address: address, reason: reason, leftOut: leftOut))
  }

  func hubLinkEnded(_ hub: HubState, _ link: Link, _ reason: LinkEndReason, wasReady: Bool) {
    guard let edge = link.edge, wasReady else {
      leaveGate(hub, link)
      reportRefusal(link.peer, link.refusal ?? link.heldRefusal?.reason ?? reason)
      return
    }
    report(.edgeDisconnected(edgeID: edge.id, address: link.peer, reason: reason))
  }

  /// The set of edges has changed: who is gone or has another secret is cut off, changed
  /// configurations are pushed, nothing else is touched (SPEC 9).
  func updateAllowedEdges(_ edges: [AllowedEdge]) {
    guard case .hub(let hub) = role else { return }
    let changes = hub.allowed.changes(to: edges)
    hub.allowed = AllowedEdges(edges)
    for id in links.ids {
      guard let edge = links[id].edge else { continue }
      if changes.disconnect.contains(edge.id) {
        endLink(id, .revoked)
      } else if let changed = changes.push.first(where: { $0.id == edge.id }) {
        links[id].edge = changed
        sendConfiguration(of: changed, hub, links[id])
        markDirty(id)
      }
    }
  }

  // MARK: Streams come

  func streamOpened(
    _ stream: StreamRef, of tunnel: Tunnel, _ link: Link, _ id: SlotID
  ) {
    guard admitsStreams(link, id) else { return }
    guard case .hub(let hub) = role, let edge = link.edge, case .running = phase,
      case .success(let admission) = admitStream(
        header: tunnel.payload, edge: edge, settings: hub.settings),
      let header = stashed(
        admission.target.proxyProtocol.header(admission.header, given: tunnel.payload))
    else {
      counters.streamsRefused += 1
      tunnel.reset(stream)
      return
    }
    var connection = Connection(socket: .none, link: id, stream: stream)
    connection.headerBytes = header.count
    connection.progressAt = now
    if header.count > 0 {
      store.append(header, to: &connection.outgoing)
    } else {
      store.release(header)
    }
    guard let owner = connections.insert(connection) else {
      counters.streamsRefused += 1
      store.removeAll(from: &connection.outgoing)
      tunnel.reset(stream)
      return
    }
    counters.connectionsOpened += 1
    tunnel.accept(stream, owner: owner)
    if watched != nil { watchOpened(owner, admission.header, edge) }
    connections[owner].timer = schedule(
      .targetConnect, owner, at: now + Limits.targetConnectTimeout)
    connectTarget(owner, admission.target, hub)
  }

  /// A copy of the PROXY header for the target: a few bytes that wait for the connection.
  private func stashed(_ bytes: [UInt8]) -> Slice? {
    let fits = bytes.count <= store[ShardPool.header].shape.bytes
    let header = fits ? store[ShardPool.header].take() : nil
    guard let buffer = header ?? store[ShardPool.stash].take() else { return nil }
    let slice = Slice(buffer: buffer, offset: 0, count: bytes.count)
    bytes.withUnsafeBytes { store.mutableBytes(slice).copyMemory(from: $0) }
    return slice
  }

  private func connectTarget(_ id: SlotID, _ target: TargetAddress, _ hub: HubState) {
    connections[id].targetPort = target.port
    if let literal = IPAddress(parsing: target.host) {
      connectTarget(id, to: SocketAddress(literal, target.port))
    } else if let known = hub.resolved[target.host], known.staleAt > now {
      connectTarget(id, known.addresses[...], hub)
    } else if !lookUp(target.host, hub, { $0.waiting.append(id) }) {
      metrics.targetsFailed += 1
      connectionFailed(id)
    }
  }

  /// Looks a target's name up, once for all who wait for it. False when too many are looked up
  /// already.
  func lookUp(_ host: String, _ hub: HubState, _ join: (inout TargetLookup) -> Void) -> Bool {
    if let lookup = hub.lookups.ids.first(where: { hub.lookups[$0].host == host }) {
      join(&hub.lookups[lookup])
      return true
    }
    var new = TargetLookup(host: host)
    join(&new)
    guard let lookup = hub.lookups.insert(new) else { return false }
    ring.resolve(host: host, port: 0, token: OperationToken(.targetResolve, lookup).token)
    return true
  }

  func targetResolved(_ lookup: SlotID, _ completion: Completion) {
    guard case .hub(let hub) = role, let found = hub.lookups.remove(lookup) else { return }
    let addresses = completion.result > 0 ? ring.takeAddresses(completion.token) : []
    if hub.resolved.count >= Limits.targetLookupsMax { hub.resolved.removeAll() }
    if !addresses.isEmpty {
      hub.resolved[found.host] = (addresses, now + Limits.resolvedFor)
    }
    for id in found.waiting where connections.contains(id) {
      connectTarget(id, addresses[...], hub)
    }
    // A session goes by the last address known when the name has none now, or nobody answers.
    let known = addresses.isEmpty ? hub.resolved[found.host]?.addresses : addresses
    targetResolved(found.waitingSessions, known ?? [], hub)
  }

  /// Tries the first address, and keeps the others for when it fails.
  private func connectTarget(
    _ id: SlotID, _ addresses: ArraySlice<SocketAddress>, _ hub: HubState
  ) {
    guard !connections[id].flags.contains(.closing) else { return }
    guard let first = addresses.first else {
      metrics.targetsFailed += 1
      return connectionFailed(id)
    }
    hub.untried[id] = addresses.count > 1 ? addresses.dropFirst() : nil
    connectTarget(id, to: SocketAddress(first.ip, connections[id].targetPort, scope: first.scope))
  }

  private func connectTarget(_ id: SlotID, to address: SocketAddress) {
    do {
      let socket = try ring.makeStreamSocket(address.ip.family)
      guard !isReserved(socket) else {
        refuse(socket)
        return connectionFailed(id)
      }
      connections[id].socket = socket
      ring.connect(
        socket, to: address, token: OperationToken(.connectionConnect, id).token)
    } catch {
      metrics.targetsFailed += 1
      connectionFailed(id)
    }
  }

  func connectionConnected(_ id: SlotID, _ completion: Completion) {
    guard connections.contains(id), !connections[id].flags.contains(.closing),
      case .hub(let hub) = role
    else { return }
    if completion.result != 0, let untried = hub.untried[id] {
      refuse(connections[id].socket)
      connections[id].socket = .none
      return connectTarget(id, untried, hub)
    }
    stopConnecting(id)
    guard completion.result == 0 else {
      if completion.result == -ErrorNumber.connectionRefused {
        metrics.targetsRefused += 1
      } else {
        metrics.targetsFailed += 1
      }
      return connectionFailed(id)
    }
    metrics.targetConnect.record(now - connections[id].progressAt)
    connections[id].flags.insert([.connected, .held])
    ring.set(.receiveBufferHeld(Limits.unreadTargetBufferBytes), on: connections[id].socket)
    markReceivePending(id)
    markSendPending(id)
  }

  func targetConnectTimedOut(_ id: SlotID) {
    guard connections.contains(id) else { return }
    connections[id].timer = nil
    guard !connections[id].flags.contains(.connected) else { return }
    metrics.targetsTimedOut += 1
    connectionFailed(id)
  }

  /// Forgets what connecting needed: the deadline and the other addresses.
  func stopConnecting(_ id: SlotID) {
    if case .hub(let hub) = role, !hub.untried.isEmpty { hub.untried[id] = nil }
    guard let timer = connections[id].timer else { return }
    connections[id].timer = nil
    timers.cancel(timer)
  }
}

extension ProxyProtocolVersion {
  /// What the target reads first; v1 is `given` as the edge wrote it.
  func header(_ header: ProxyHeader, given: UnsafeRawBufferPointer) -> [UInt8] {
    switch self {
    case .v1: Array(given)
    case .v2: header.encodedV2(transport: .stream)
    case .none: []
    }
  }
}
