// A hub's or an edge's engine: its shards on their threads, and how the outside talks to them.

import RIBase
import RIControl
import RICrypto
import RIQUIC
import RIRing
import RITLS
import RIWire
import Synchronization

/// Why an engine did not start.
public enum EngineError: Error, Sendable, CustomStringConvertible {
  case ring(RingError)
  case tls(TLSError)
  case listen(SocketAddress, RingError)
  case settings(String)

  public var description: String {
    switch self {
    case .ring(let error): "\(error)"
    case .tls(let error): "TLS: \(error)"
    case .listen(let address, let error): "cannot listen on \(address): \(error)"
    case .settings(let why): why
    }
  }
}

/// The data plane of one hub or one edge. Started by `init`; ends by `stop`, or by `drain` when its
/// last stream is gone.
public final class Engine: Sendable {
  public typealias Report = @Sendable (EngineEvent) -> Void

  public let role: EngineStatus.Role
  private let shards: [ShardThread]
  /// Where a hub accepts edges; nil for an edge.
  public let tunnelPort: Port?
  /// A hub's certificate, for its edges.
  public let pin: CertificatePin?
  /// An edge's.
  private let firewall: EdgeFirewall?

  /// Starts a hub. Throws when its tunnel port cannot be bound or its certificate not be used.
  public init(hub settings: HubSettings, report: @escaping Report) throws(EngineError) {
    do throws(AllowedEdgeFault) {
      try AllowedEdges.check(settings.allowedEdges)
    } catch {
      throw .settings("\(error)")
    }
    let (tls, quic, pin) = try Self.serverContexts(settings)
    let offer = try Self.allowedExtensions()
    let peers = ShardDirectory()
    var addresses = bindAddresses(settings.bindAddress)
      .map { SocketAddress($0, settings.tunnelPort) }
    var threads: [ShardThread] = []
    let count = max(1, settings.shards ?? onlineProcessors())
    let sessions = Self.sessionsMax(settings, descriptors: raiseDescriptorLimit(), report)
    let sessionShare = SessionShare.split(sessions, shards: count)
    for index in 0..<count {
      let bound = addresses
      let thread = try ShardThread(
        index: index, budgetBytes: settings.memoryBudgetBytes / count, report: report
      ) {
        .hub(
          HubState(
            settings: settings, tls: tls, tunnelAddresses: bound, offer: offer,
            sessionShare: sessionShare, quic: quic, shardCount: count,
            handOver: { peers.send(.packets($1), to: $0) },
            othersReplace: { peers.broadcast(.edgeConnectedElsewhere($0), except: index) }))
      }
      threads.append(thread)
      // Port 0: the first shard took a free port, the others share it.
      if let port = thread.tunnelPort { for i in addresses.indices { addresses[i].port = port } }
    }
    role = .hub
    shards = threads
    tunnelPort = threads.first?.tunnelPort
    self.pin = pin
    firewall = nil
    peers.set(threads)
    report(.note("this hub's pin: \(pin)"))
  }

  /// A hub has a descriptor for each UDP session, and leaves enough of them for streams.
  private static func sessionsMax(
    _ settings: HubSettings, descriptors: Int, _ report: Report
  ) -> Int {
    let most = max(1, descriptors / Limits.sessionDescriptorsDivisor)
    guard settings.udpSessionsMax > most else { return settings.udpSessionsMax }
    if settings.allowedEdges.contains(where: { !$0.listenPortsUdp.isEmpty }) {
      report(
        .warning(
          "\(most) UDP sessions at most, as this process may have \(descriptors) descriptors"))
    }
    return most
  }

  /// Starts an edge: it dials its hub until it is stopped. Its one tunnel lives on one shard.
  public init(edge settings: EdgeSettings, report: @escaping Report) throws(EngineError) {
    let trust = try EdgeTrust(settings: settings, report: report)
    let extensions = try Self.allowedExtensions()
    let firewall = EdgeFirewall(report: report)
    let timers = try Self.transportTimers()
    raiseDescriptorLimit()
    role = .edge
    self.firewall = firewall
    shards = [
      try ShardThread(index: 0, budgetBytes: settings.memoryBudgetBytes, report: report) {
        .edge(
          EdgeState(
            settings: settings, trust: trust, extensions: extensions, firewall: firewall,
            timers: timers))
      }
    ]
    tunnelPort = nil
    pin = nil
  }

  private static func transportTimers() throws(EngineError) -> TransportTimers {
    do throws(TransportTimersFault) {
      return try TransportTimers(from: environmentVariable)
    } catch {
      throw .settings("\(error)")
    }
  }

  /// What the environment leaves of the extensions that we know.
  private static func allowedExtensions() throws(EngineError) -> Extensions {
    do throws(UnknownExtension) {
      return try Extensions(allowed: environmentVariable(Extensions.variable))
    } catch {
      throw .settings("\(error)")
    }
  }

  private static func serverContexts(
    _ settings: HubSettings
  ) throws(EngineError) -> (TLSServerContext, QUICServerContext, CertificatePin) {
    do throws(TLSError) {
      let identity =
        switch settings.certificate {
        case .pem(let certificate, let key):
          try TLSIdentity.load(certificatePEM: certificate, keyPEM: key)
        case .selfSigned:
          if let directory = settings.stateDirectory {
            try TLSIdentity.loadOrCreate(stateDirectory: directory)
          } else {
            try TLSIdentity.selfSigned(commonName: "remoteingress-hub")
          }
        }
      // What a hub that is started anew needs to tell edges so, and to know their tickets.
      let secret =
        if let directory = settings.stateDirectory {
          try StateSecret.loadOrCreate("quic-secret", stateDirectory: directory)
        } else {
          StateSecret.random()
        }
      return (
        try TLSServerContext(identity: identity, records: .fromEnvironment),
        try QUICServerContext(identity: identity, secret: secret, settings: .fromEnvironment),
        identity.pin
      )
    } catch {
      throw .tls(error)
    }
  }

  /// No new streams; the engine stops when the live ones are gone, or after `limit`.
  public func drain(for limit: Interval) {
    let shards = shards
    let drainAll: @Sendable () -> Void = { for shard in shards { shard.send(.drain(limit)) } }
    guard role == .hub else { return drainAll() }
    // An edge that is told dials again at once: by then no shard of ours may listen any more.
    let countdown = Countdown(from: shards.count, drainAll)
    for shard in shards { shard.send(.stopAccepting { countdown.step() }) }
  }

  /// Ends everything at once.
  public func stop() {
    for shard in shards { shard.send(.stop) }
  }

  /// Replaces the edges that a hub allows; see SPEC 9. Throws what is wrong with one of them: then
  /// nothing changes.
  public func updateAllowedEdges(_ edges: [AllowedEdge]) throws(AllowedEdgeFault) {
    try AllowedEdges.check(edges)
    for shard in shards { shard.send(.updateAllowedEdges(edges)) }
  }

  /// Blocks the calling thread until every shard has ended and nothing of the engine is left.
  public func waitUntilStopped() {
    for shard in shards { shard.join() }
    cleanUp()
  }

  /// Removes what would outlive the process, which is the firewall. For a process that ends without
  /// waiting; blocks for a moment.
  public func cleanUp() { firewall?.end(within: Limits.firewallEndTimeout) }

  /// Calls `body` when every shard that still runs has moved on.
  public func probe(_ body: @escaping @Sendable () -> Void) {
    let countdown = Countdown(from: shards.count, body)
    for shard in shards { shard.send(.probe(ShardProbe { countdown.step() })) }
  }

  /// Whether streams that come and go are reported, one by one.
  public func watchStreams(_ isWanted: Bool) {
    for shard in shards { shard.send(.watchStreams(isWanted)) }
  }

  /// A look at each shard that still runs.
  public func status() async -> EngineStatus {
    var all: [ShardStatus] = []
    for shard in shards {
      if let status = await shard.status() { all.append(status) }
    }
    return EngineStatus(role: role, shards: all, firewall: firewall?.status())
  }
}

/// The addresses to listen on: the one given, or all of both families.
func bindAddresses(_ address: IPAddress?) -> [IPAddress] {
  address.map { [$0] } ?? [.anyV4, .anyV6]
}

/// Calls something when it has been stepped often enough, from whatever thread.
private final class Countdown: Sendable {
  private let left: Atomic<Int>
  private let body: @Sendable () -> Void

  init(from count: Int, _ body: @escaping @Sendable () -> Void) {
    left = Atomic(count)
    self.body = body
  }

  func step() {
    if left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { body() }
  }
}

/// The shards of a hub, for telling the others about an edge.
private final class ShardDirectory: Sendable {
  private let threads = Mutex<[ShardThread]>([])

  func set(_ all: [ShardThread]) { threads.withLock { $0 = all } }

  func broadcast(_ command: ShardCommand, except index: Int) {
    let others = threads.withLock { $0 }
    for thread in others where thread.index != index { thread.send(command) }
  }

  func send(_ command: ShardCommand, to index: Int) {
    threads.withLock { $0.first { $0.index == index } }?.send(command)
  }
}
