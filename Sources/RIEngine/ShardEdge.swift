// The edge's half: the hub is dialled, its configuration applied, and clients are accepted.

import RIBase
import RIControl
import RICrypto
import RIQUIC
import RIRing
import RITLS
import RITunnel
import RIWire

/// What an edge's shard holds beside its links and connections.
final class EdgeState {
  let settings: EdgeSettings
  let trust: EdgeTrust
  /// The extensions that this edge answers where they are offered.
  let extensions: Extensions
  var reconnect = ReconnectPolicy()
  let transports: TransportPolicy
  /// What the attempt under way, or the last, goes by.
  var dialTransport: TunnelTransport
  /// The hub's addresses, for the rest of this attempt.
  var candidates: [SocketAddress] = []
  /// Addresses of the hub that have not been tried in this attempt.
  var untried: [SocketAddress] = []
  var dialing = DialState.idle
  /// The end of the back-off, or the turn of the next address.
  var dialTimer: TimerID?
  /// The end of the time that QUIC has; when it is tried again.
  var fallbackTimer: TimerID?
  var quicRetryTimer: TimerID?
  /// What opens the next link over QUIC faster.
  var resumption: QUICResumption?
  /// Hears of changed addresses; whether its receive has ended; when they are looked at.
  var addressWatch: Socket?
  var isWatchIdle = false
  var addressTimer: TimerID?
  var addressesDueAt = Instant(nanoseconds: 0)
  /// Links of this attempt that are not up yet.
  var attempts: [SlotID] = []
  /// The link that is up, for new streams.
  var tunnel: SlotID?
  /// Links whose hub drains, or that new streams have left for another transport; they carry the
  /// streams that they have.
  @exclusivity(unchecked) var outgoingTunnels: [SlotID] = []
  /// Ports that the hub assigned, with their listeners; nil where binding failed.
  var ports: [Port] = []
  var portsUDP: [Port] = []
  var listeners: [ListenerKey: SlotID] = [:]
  /// Where binding failed, and why.
  var failed: [ListenerKey: RingError] = [:]
  /// The ports of the next CONFIG are the first of a new tunnel.
  var isAssigning = false

  let bindAddresses: [IPAddress]
  var desk: FirewallDesk
  var stun: STUNDesk

  init(
    settings: EdgeSettings, trust: EdgeTrust, extensions: Extensions = .all,
    firewall: EdgeFirewall? = nil, timers: TransportTimers = TransportTimers()
  ) {
    transports = TransportPolicy(mode: settings.transportMode, timers: timers)
    dialTransport = transports.first
    desk = FirewallDesk(firewall)
    stun = STUNDesk(server: settings.stunServer)
    self.settings = settings
    self.trust = trust
    self.extensions = extensions
    bindAddresses = RIEngine.bindAddresses(settings.bindAddress)
  }
}

/// What a listener of an edge is known by.
struct ListenerKey: Hashable {
  var transport: TransportProtocol
  var address: SocketAddress

  init(_ transport: TransportProtocol, _ address: SocketAddress) {
    self.transport = transport
    self.address = address
  }
}

/// Where an edge is between two tunnels.
enum DialState {
  case idle
  /// The back-off runs.
  case waiting
  case resolving
  /// Addresses are tried, the next one `Limits.connectStagger` after the one before (RFC 8305).
  case connecting
}

extension Shard {
  func startEdge(_ edge: EdgeState) { dial(edge) }

  // MARK: Dialling

  /// A new attempt: the name is looked up anew each time.
  private func dial(_ edge: EdgeState) {
    edge.dialing = .resolving
    metrics.dials += 1
    edge.dialTransport = edge.transports.first
    ring.resolve(
      host: edge.settings.hubHost, port: edge.settings.hubPort,
      token: OperationToken(.hubResolve, .none).token)
  }

  func hubResolved(_ completion: Completion) {
    guard case .edge(let edge) = role, edge.dialing == .resolving else { return }
    let found = completion.result > 0 ? ring.takeAddresses(completion.token) : []
    edge.candidates = admitHub(found, edge)
    guard !edge.candidates.isEmpty else {
      metrics.handshakeFailures.count(.noAddress)
      attemptFailed(edge, .noAddress(edge.settings.hubHost, code: -completion.result))
      return
    }
    beginConnecting(edge)
  }

  /// Tries the hub's addresses over the attempt's transport.
  func beginConnecting(_ edge: EdgeState) {
    edge.untried = edge.candidates
    edge.dialing = .connecting
    if let patience = edge.transports.patience(with: edge.dialTransport) {
      edge.fallbackTimer = schedule(.fallback, at: now + patience)
    }
    dialNext(edge)
  }

  /// Dials the next address that can be dialled. With none left and none under way the attempt has
  /// failed.
  private func dialNext(_ edge: EdgeState) {
    var reason = LinkEndReason.noAddress(edge.settings.hubHost, code: ErrorNumber.noSuchName)
    while !edge.untried.isEmpty {
      let address = edge.untried.removeFirst()
      do {
        switch edge.dialTransport {
        case .tcpTls: try dialTLS(address, edge)
        case .quic: try dialQUIC(address, edge)
        }
        if !edge.untried.isEmpty { scheduleDial(edge, at: now + Limits.connectStagger) }
        return
      } catch let error as RingError {
        reason = .socket(code: error.code)
      } catch let error as TLSError {
        reason = .tls(error)
      } catch {
        reason = .handshakeFailed("\(error)")
      }
      report(.warning("cannot dial \(address): \(reason)"))
    }
    if edge.attempts.isEmpty { attemptsExhausted(edge, reason) }
  }

  private func dialTLS(_ address: SocketAddress, _ edge: EdgeState) throws {
    let session = TLSLink(
      client: try edge.trust.context(), serverName: edge.settings.hubHost, store: store)
    let exchange = try EdgeHandshake(edgeID: edge.settings.edgeID, secret: edge.settings.secret)
    let socket = try ring.makeStreamSocket(address.ip.family)
    let link = Link(
      .tls(TLSTransport(socket: socket, session: session)), peer: address, phase: .connecting,
      handshake: .edge(exchange))
    guard let id = links.insert(link) else {
      refuse(socket)
      throw RingError(call: "connect", code: ErrorNumber.tooManyFiles)
    }
    edge.attempts.append(id)
    ring.connect(socket, to: address, token: OperationToken(.linkConnect, id).token)
    link.timer = schedule(.link, id, at: now + Limits.handshakeTimeout)
  }

  /// There is one dial timer: an older one would cut the back-off short.
  private func scheduleDial(_ edge: EdgeState, at deadline: Instant) {
    cancelDial(edge)
    edge.dialTimer = schedule(.dial, at: deadline)
  }

  /// Dials anew, at once or when the back-off is over.
  func dial(_ edge: EdgeState, after delay: Interval) {
    if delay <= .zero { return dial(edge) }
    edge.dialing = .waiting
    scheduleDial(edge, at: now + delay)
  }

  /// Ends the attempt under way, and says nothing of it.
  func giveUpDialling(_ edge: EdgeState) {
    edge.dialing = .idle
    edge.untried = []
    cancelDial(edge)
    cancelFallback(edge)
    let given = edge.attempts
    edge.attempts = []
    for id in given { endLink(id, .replaced) }
  }

  private func cancelDial(_ edge: EdgeState) {
    if let timer = edge.dialTimer { timers.cancel(timer) }
    edge.dialTimer = nil
  }

  func dialTimerFired() {
    guard case .edge(let edge) = role else { return }
    edge.dialTimer = nil
    switch edge.dialing {
    case .waiting: dial(edge)
    case .connecting: dialNext(edge)
    case .idle, .resolving: break
    }
  }

  /// The first address that answers wins; the others are given up.
  func linkConnected(_ id: SlotID, _ completion: Completion) {
    guard case .edge(let edge) = role, links.contains(id), links[id].phase == .connecting,
      let tls = links[id].tls
    else { return }
    guard completion.result == 0 else {
      endLink(id, .socket(code: -completion.result))
      return
    }
    settle(on: id, edge)
    if let timer = links[id].timer { timers.cancel(timer) }
    beginHandshake(links[id], tls, id)
  }

  /// An address has answered: the others are given up.
  private func settle(on id: SlotID, _ edge: EdgeState) {
    edge.dialing = .idle
    edge.untried = []
    cancelDial(edge)
    let others = edge.attempts.filter { $0 != id }
    edge.attempts = [id]
    for other in others { endLink(other, .replaced) }
  }

  /// The hub's certificate was accepted: say who we are. Over QUIC that is said already, in what
  /// only the hub that was trusted can read.
  func hubTrusted(_ edge: EdgeState, _ link: Link, _ id: SlotID) {
    edge.trust.accepted(link.peerPin)
    guard case .tls = link.transport, case .edge(let exchange) = link.handshake else {
      return settle(on: id, edge)
    }
    link.line = exchange.line
    markDirty(link, id)
  }

  /// The hub's answer (SPEC 2.1 step 3).
  func hubLineReceived(
    _ verdict: EdgeHandshake.Verdict, _ edge: EdgeState, _ link: Link, _ id: SlotID
  ) {
    switch verdict {
    case .needsMore: break
    case .accepted(let message):
      edge.attempts = []
      cancelFallback(edge)
      let former = edge.tunnel
      edge.tunnel = id
      edge.isAssigning = true
      linkReady(link, id, side: .edge)
      answerOffer(message, edge, link)
      report(
        .tunnelUp(hub: link.peer, transport: link.transport.name, cipher: link.cipherName))
      configure(message, edge, link, id)
      if let former { moveOn(from: former, to: link, edge) }
      scheduleQUICRetry(edge, link)
      if case .quic = link.transport { watchAddresses(edge) }
    case .refused(let reason):
      endLink(
        id, reason == EdgeConfigMessage.unauthorized.error ? .unauthorized : .refusedByHub(reason))
    case .tooLong: endLink(id, .handshakeFailed("the hub's answer is too long"))
    case .malformed(let error): endLink(id, .handshakeFailed("\(error)"))
    }
  }

  func edgeLinkEnded(
    _ edge: EdgeState, _ link: Link, _ id: SlotID, _ reason: LinkEndReason, wasReady: Bool
  ) {
    if let index = edge.outgoingTunnels.firstIndex(of: id) {
      edge.outgoingTunnels.remove(at: index)
      report(.tunnelDrained(hub: link.peer, reason: reason))
      return
    }
    let wasAttempt = edge.attempts.contains(id)
    guard edge.tunnel == id || wasAttempt else { return }
    if edge.tunnel == id { edge.tunnel = nil }
    edge.attempts.removeAll { $0 == id }
    if case .quic = link.transport, !wasReady { edge.resumption = nil }
    if !wasReady, edge.dialing == .connecting {
      if !edge.untried.isEmpty { return dialNext(edge) }
    }
    guard edge.attempts.isEmpty, edge.untried.isEmpty else { return }
    if wasReady {
      // An attempt over another transport may be under way: it is the next now.
      guard edge.dialing == .idle else { return }
      attemptFailed(edge, reason, livedFor: now - link.readySince)
    } else {
      attemptsExhausted(edge, reason)
    }
  }

  /// All addresses have failed over one transport.
  private func attemptsExhausted(_ edge: EdgeState, _ reason: LinkEndReason) {
    if edge.tunnel == nil, !reason.isRefusal,
      let next = edge.transports.fallback(from: edge.dialTransport)
    {
      fallBack(to: next, edge, reason)
    } else {
      attemptFailed(edge, reason)
    }
  }

  func attemptFailed(
    _ edge: EdgeState, _ reason: LinkEndReason, livedFor: Interval = .zero
  ) {
    guard case .running = phase else { return }
    cancelFallback(edge)
    // It was one beside a tunnel that is up: that goes on.
    if let tunnel = edge.tunnel {
      edge.dialing = .idle
      return scheduleQUICRetry(edge, links[tunnel])
    }
    var why = EndReason.lost(livedFor: livedFor)
    if case .unauthorized = reason { why = .unauthorized }
    let delay = edge.reconnect.delay(after: why, random: ring.random())
    dial(edge, after: delay)
    edge.desk.firewall?.hubNotReached()
    report(.tunnelDown(reason: reason, retryAfter: delay))
  }

  // MARK: Configuration

  func configReceived(_ payload: UnsafeRawBufferPointer, _ link: Link, _ id: SlotID) {
    guard case .edge(let edge) = role else { return }
    do {
      configure(try EdgeConfigMessage(parsing: payload), edge, link, id)
    } catch {
      endLink(id, .protocolViolation(.malformed(error)))
    }
  }

  /// Does as the hub says. One that has said it drains has nothing more to say: the next hub has.
  private func configure(
    _ message: EdgeConfigMessage, _ edge: EdgeState, _ link: Link, _ id: SlotID
  ) {
    guard !link.isDraining else { return }
    applyBehindFirewall(message, edge)
    configureSTUN(intervalSeconds: message.stunIntervalSecs, edge)
    if message.draining, link.extensions.contains(.drain) { makeWay(for: link, id, edge) }
  }

  // MARK: Extensions

  /// Takes into force what the hub offers and we know, and says so in our first frame (SPEC 5). A
  /// hub that offers none of it hears nothing.
  private func answerOffer(_ message: EdgeConfigMessage, _ edge: EdgeState, _ link: Link) {
    let known: Extensions = link.tls == nil ? .quic : .framed
    link.extensions = edge.extensions.intersection(known)
      .intersection(Extensions(names: message.extensions))
    guard !link.extensions.isEmpty else { return }
    if case .quic(let quic) = link.transport {
      quic.tunnel.usesUDPStreams = link.extensions.contains(.udpStream)
    }
    if link.extensions.contains(.autoWindow) { link.tunnel?.framed?.usesAutoWindows = true }
    link.tunnel?.sendHello(hello(of: link, draining: false))
  }

  func hello(of link: Link, draining: Bool) -> [UInt8] {
    HelloMessage(
      extensions: link.extensions.names, version: productVersion, draining: draining
    ).encodedFramePayload()
  }

  /// Opens what is new, closes what is gone, leaves the rest alone (SPEC 4.2).
  func apply(_ message: EdgeConfigMessage, _ edge: EdgeState) {
    guard case .running = phase else { return }
    change(.tcp, listenerChanges(from: edge.ports, to: message.listenPorts), edge)
    change(.udp, listenerChanges(from: edge.portsUDP, to: message.listenPortsUdp), edge)
    let areNews = edge.ports != message.listenPorts || edge.portsUDP != message.listenPortsUdp
    edge.ports = message.listenPorts
    edge.portsUDP = message.listenPortsUdp
    if edge.isAssigning || areNews {
      report(.portsSet(edge.ports, udp: edge.portsUDP, isFirst: edge.isAssigning))
    }
    edge.isAssigning = false
  }

  private func change(
    _ transport: TransportProtocol, _ changes: (open: [Port], close: [Port]), _ edge: EdgeState
  ) {
    for port in changes.close {
      for ip in edge.bindAddresses {
        let key = ListenerKey(transport, SocketAddress(ip, port))
        edge.failed[key] = nil
        if let id = edge.listeners.removeValue(forKey: key) { closeListener(id) }
      }
      report(.listenerClosed(transport, port: port))
    }
    for port in changes.open {
      for ip in edge.bindAddresses {
        openClientListener(ListenerKey(transport, SocketAddress(ip, port)), edge)
      }
    }
  }

  private func openClientListener(_ key: ListenerKey, _ edge: EdgeState) {
    do throws(RingError) {
      edge.listeners[key] =
        switch key.transport {
        case .tcp: try openListener(on: key.address, purpose: .clients, reusePort: false)
        case .udp: try openDatagramListener(on: key.address)
        }
      edge.failed[key] = nil
      report(.listening(key.transport, address: key.address))
    } catch {
      if isWithoutFamily(key.address, error) { return }
      if edge.failed.updateValue(error, forKey: key) == nil,
        edge.failed.count <= Limits.listenFailuresReported
      {
        report(.listenFailed(key.transport, address: key.address, error: error))
      }
    }
  }

  func retryListeners(_ edge: EdgeState) {
    for key in edge.failed.keys { openClientListener(key, edge) }
  }

  // MARK: Clients come

  func clientAccepted(_ listener: SlotID, _ completion: Completion) {
    guard let socket = acceptedSocket(listener, completion), case .edge(let edge) = role else {
      return
    }
    guard let id = edge.tunnel, let tunnel = links[id].tunnel, case .running = phase,
      !isReserved(socket), let source = ring.peerAddress(of: socket),
      let local = ring.localAddress(of: socket)
    else {
      counters.clientsRefused += 1
      return refuse(socket)
    }
    guard let owner = connections.insert(Connection(socket: socket, link: id, stream: .none))
    else {
      counters.clientsRefused += 1
      return refuse(socket)
    }
    let header = ProxyHeader(source: source, destination: local)
    guard let stream = open(header, on: tunnel, owner: owner) else {
      counters.clientsRefused += 1
      connections.remove(owner)
      return refuse(socket)
    }
    counters.connectionsOpened += 1
    connections[owner].stream = stream
    connections[owner].flags.insert(.connected)
    markReceivePending(owner)
    markDirty(id)
  }

  private func open(
    _ header: ProxyHeader, on tunnel: Tunnel, owner: SlotID
  ) -> StreamRef? {
    withUnsafeTemporaryAllocation(byteCount: Limits.openPayloadBytesMax, alignment: 1) { line in
      let count = header.writeV1(into: line)
      return tunnel.open(
        header: UnsafeRawBufferPointer(rebasing: line[..<count]), owner: owner, now: now)
    }
  }
}
