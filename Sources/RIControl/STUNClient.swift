// How an edge learns under which address the Internet sees it (SPEC 4.4): which server is asked,
// when, and what comes of it. Sockets and names are the engine's.

import RIBase
import RIWire

/// Asks a STUN server every so often.
///
/// ```
///        interval 0            begin                resolved              answer, or all failed
///  off ◀──────────── waiting ─────────▶ resolving ─────────▶ asking ─────────────────────▶ waiting
///                       └── addresses known ──────────────────▶┘└── no answer: next address
/// ```
/// IPv4 addresses of the server come first: it is the IPv4 address of an edge that most clients
/// can reach. The address that answered last is asked first, so that the result does not flap.
public struct STUNClient: Sendable {
  /// What the engine is to do.
  public enum Action: Equatable, Sendable {
    /// Look the server's name up; answered by `resolved` or `failed`.
    case resolve
    /// Make a socket to this address, in the place of the one before; `failed` if that fails.
    case open(SocketAddress)
    /// Send on that socket.
    case send([UInt8])
    /// The socket is needed no more.
    case close
    /// The address is known, or is another one.
    case discovered(IPAddress)
    /// For the log. Not repeated until it has worked again.
    case warn(String)
  }

  /// Addresses of a server that are tried.
  static let addressesMax = 8
  /// How long addresses are used before the name is looked up again.
  static let resolvedFor = Interval.seconds(300)

  private enum Phase {
    case off
    case waiting(until: Instant)
    case resolving
    case opening(SocketAddress)
    case asking(STUNTransaction, SocketAddress)
  }

  /// The last answer.
  public private(set) var address: IPAddress?
  private var interval: Interval?
  private var phase = Phase.off
  /// When the round under way, or the last one, began.
  private var roundStart = Instant(nanoseconds: 0)
  private var servers: [SocketAddress] = []
  private var resolvedAt = Instant(nanoseconds: 0)
  /// Servers not asked in this round.
  private var untried: [SocketAddress] = []
  private var lastFailed = false
  private var output: [Action] = []

  public init() {}

  // MARK: Input

  /// 0 turns it off. The first round begins at once; another interval counts from the last round.
  public mutating func configure(intervalSeconds: Int, now: Instant) {
    let wanted = intervalSeconds > 0 ? Interval.seconds(Int64(intervalSeconds)) : nil
    guard wanted != interval else { return }
    interval = wanted
    switch (wanted, phase) {
    case (nil, _):
      leaveServer()
      phase = .off
    case (_, .off): phase = .waiting(until: now)
    case (let wanted?, .waiting): phase = .waiting(until: roundStart + wanted)
    default: break
    }
  }

  /// The server's addresses; none is a failure.
  public mutating func resolved(_ addresses: [SocketAddress], now: Instant) {
    guard case .resolving = phase else { return }
    guard !addresses.isEmpty else { return failed("its name has no address", now: now) }
    servers = Array(
      (addresses.filter { $0.ip.family == .v4 } + addresses.filter { $0.ip.family == .v6 })
        .prefix(Self.addressesMax))
    resolvedAt = now
    untried = servers
    askNext(because: "", now: now)
  }

  /// The look-up or the socket has failed, also by an ICMP error (section 6.2.1).
  public mutating func failed(_ reason: String, now: Instant) {
    switch phase {
    case .resolving where !servers.isEmpty:
      // The name server may be away for a moment while the server itself is not.
      untried = servers
      askNext(because: reason, now: now)
    case .resolving, .opening, .asking: askNext(because: reason, now: now)
    case .off, .waiting: break
    }
  }

  /// A datagram on the open socket. One that is no answer to what was asked, or not from who was
  /// asked, changes nothing.
  public mutating func received(
    _ datagram: UnsafeRawBufferPointer, from source: SocketAddress, now: Instant
  ) {
    guard case .asking(let transaction, let server) = phase, source.ip == server.ip,
      source.port == server.port,
      let answer = STUNMessage.answer(to: transaction.id, in: datagram)
    else { return }
    switch answer {
    case .address(let mapped): succeeded(mapped.ip.mappedV4 ?? mapped.ip, server, now: now)
    case .refused(let code): askNext(because: "\(server) answers error \(code)", now: now)
    case .unusable(let fault): askNext(because: "\(server) sends \(fault)", now: now)
    }
  }

  /// The engine ends: no more actions.
  public mutating func stop() {
    interval = nil
    phase = .off
    output = []
  }

  // MARK: Output

  /// The next thing to do, until nil. `random` makes transaction ids.
  public mutating func poll(now: Instant, random: () -> UInt64) -> Action? {
    if !output.isEmpty { return output.removeFirst() }
    switch phase {
    case .off, .resolving: return nil
    case .waiting(let until):
      guard now >= until else { return nil }
      return begin(now: now, random: random)
    case .opening(let server):
      phase = .asking(STUNTransaction(id: STUNTransactionID(random: random), now: now), server)
      return .open(server)
    case .asking(var transaction, let server):
      let step = transaction.step(now: now)
      phase = .asking(transaction, server)
      switch step {
      case .send: return .send(transaction.request)
      case .wait: return nil
      case .failed:
        askNext(because: "no answer from \(server)", now: now)
        return poll(now: now, random: random)
      }
    }
  }

  /// When `poll` will have something to say, if nothing comes until then.
  public var nextDeadline: Instant? {
    switch phase {
    case .off, .resolving: nil
    case .waiting(let until): until
    case .opening: roundStart
    case .asking(let transaction, _): transaction.deadline
    }
  }

  // MARK: Rounds

  private mutating func begin(now: Instant, random: () -> UInt64) -> Action? {
    roundStart = now
    if servers.isEmpty || lastFailed || now - resolvedAt >= Self.resolvedFor {
      phase = .resolving
      return .resolve
    }
    untried = servers
    askNext(because: "", now: now)
    return poll(now: now, random: random)
  }

  private mutating func askNext(because reason: String, now: Instant) {
    leaveServer()
    guard untried.isEmpty else {
      phase = .opening(untried.removeFirst())
      return
    }
    if !lastFailed { output.append(.warn("STUN: no public address found: \(reason)")) }
    lastFailed = true
    endRound(now: now)
  }

  private mutating func succeeded(_ found: IPAddress, _ server: SocketAddress, now: Instant) {
    leaveServer()
    lastFailed = false
    servers.removeAll { $0 == server }
    servers.insert(server, at: 0)
    if found != address { output.append(.discovered(found)) }
    address = found
    endRound(now: now)
  }

  private mutating func leaveServer() {
    if case .asking = phase { output.append(.close) }
  }

  private mutating func endRound(now: Instant) {
    phase = interval.map { .waiting(until: max(now, roundStart + $0)) } ?? .off
  }
}
