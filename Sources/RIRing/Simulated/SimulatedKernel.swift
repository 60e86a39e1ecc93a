// The simulated kernel: virtual time, its events, and the driver that takes whole engines through
// them. Sockets are in SimulatedKernel+Sockets, TCP in +Streams, UDP in +Datagrams, and what lies
// between hosts in +Paths.

import Glibc
import RIBase

/// A machine of the simulated network; the rings on it share its addresses and its loopback.
public struct SimulatedHost: Hashable, Sendable {
  let index: Int
}

/// One shard of a simulated system: a ring and the closure that calls its `wait` once.
public struct SimulatedTurn {
  let ring: SimulatedRing
  let tick: () -> Void

  public init(_ ring: SimulatedRing, _ tick: @escaping () -> Void) {
    self.ring = ring
    self.tick = tick
  }
}

/// Hosts, sockets and time of a simulated network, shared by the rings made for it. Everything that
/// happens follows from the seed and the order of calls. One thread uses it.
public final class SimulatedKernel {
  enum Event {
    case syn(SimulatedSocket, attempt: Int)
    case connected(SimulatedSocket)
    case refused(SimulatedSocket, Int32)
    case arrival(SimulatedPipe)
    case reset(SimulatedSocket, from: SimulatedHost)
    case unstalled(SimulatedSocket)
    case datagram(SimulatedDatagram, to: SimulatedHost)
    /// Nobody took a datagram (ICMP port unreachable).
    case unreachable(SimulatedDatagram, to: SimulatedHost)
    case timeout(ring: Int, Token, id: UInt64)
    case resolved(ring: Int, Token, id: UInt64, [SocketAddress])
  }

  private struct Scheduled {
    var time: Instant
    var order: UInt64
    var event: Event

    func isBefore(_ other: Scheduled) -> Bool {
      time != other.time ? time < other.time : order < other.order
    }
  }

  struct RingPlace {
    weak var ring: SimulatedRing?
  }

  public private(set) var now = Instant(nanoseconds: 1_000_000_000)
  public var faults: SimulatedFaults
  public internal(set) var tally = SimulatedTally()
  /// What a turn of a shard costs in virtual time.
  public var turnTime = Interval.microseconds(1)
  /// Buffers of new sockets, in bytes.
  public var sendBufferBytes = 256 * 1024
  public var receiveBufferBytes = 256 * 1024
  /// Descriptors of one ring (RLIMIT_NOFILE): past them calls fail with EMFILE.
  public var descriptorsMax = 1 << 20
  /// Without it, IPv6 sockets fail with EAFNOSUPPORT.
  public var hasIPv6 = true
  /// NATs: datagrams from the first address leave with the second, and answers find back.
  public var translations: [SocketAddress: SocketAddress] = [:]
  /// Host names that `resolve` knows.
  public var names: [String: [IPAddress]] = ["localhost": [.loopbackV4, .loopbackV6]]

  var chance: SeededRandom
  var rings: [RingPlace] = []
  var hosts: [[IPAddress]] = []
  var hostOfAddress: [IPAddress: SimulatedHost] = [:]
  var sockets: [SimulatedSocket?] = []
  var freeDescriptors: [Int32] = []
  var listeners: [Port: [SimulatedSocket]] = [:]
  var datagramSockets: [Port: [SimulatedSocket]] = [:]
  var nextPort: Port = 32_768
  var partitions: Set<Set<SimulatedHost>> = []
  var lines: [Direction: SimulatedLine] = [:]
  private var events: [Scheduled] = []
  private var order: UInt64 = 0

  public init(seed: UInt64, faults: SimulatedFaults = .none) {
    chance = SeededRandom(seed: seed)
    self.faults = faults
  }

  /// Adds a host. Its addresses are its own; it has a loopback besides.
  public func makeHost(_ addresses: [IPAddress]) -> SimulatedHost {
    let host = SimulatedHost(index: hosts.count)
    hosts.append(addresses)
    for address in addresses {
      precondition(hostOfAddress.updateValue(host, forKey: address) == nil, "address is taken")
    }
    return host
  }

  // MARK: Running

  /// Gives the shards their turns and lets time pass whenever all of them rest, until `isDone`
  /// (returns true) or `limit` (returns false). Shards at rest get no turn.
  @discardableResult
  public func run(
    _ turns: [SimulatedTurn], until limit: Instant, or isDone: () -> Bool = { false }
  ) -> Bool {
    while true {
      deliverDue()
      var worked = false
      for turn in turns where turn.ring.needsTurn {
        turn.ring.beginTurn()
        turn.tick()
        worked = true
      }
      if isDone() { return true }
      if now >= limit { return false }
      var next = now + turnTime
      if !worked {
        next = limit
        if let event = events.first { next = min(next, event.time) }
        for turn in turns { if let deadline = turn.ring.deadline { next = min(next, deadline) } }
      }
      now = max(now, min(next, limit))
    }
  }

  /// Moves time to the next event, but not past `limit`; false when there is neither.
  func step(until limit: Instant?) -> Bool {
    let next: Instant
    switch (events.first?.time, limit) {
    case (let event?, let limit?): next = min(event, limit)
    case (let event?, nil): next = event
    case (nil, let limit?): next = limit
    case (nil, nil): return false
    }
    now = max(now, next)
    deliverDue()
    return true
  }

  // MARK: Events

  func schedule(_ event: Event, at time: Instant) {
    order += 1
    events.append(Scheduled(time: time, order: order, event: event))
    var i = events.count - 1
    while i > 0, events[i].isBefore(events[(i - 1) / 2]) {
      events.swapAt(i, (i - 1) / 2)
      i = (i - 1) / 2
    }
  }

  func deliverDue() {
    while let first = events.first, first.time <= now {
      popEvent()
      deliver(first.event)
    }
  }

  private func popEvent() {
    let last = events.removeLast()
    guard !events.isEmpty else { return }
    events[0] = last
    var i = 0
    while true {
      var least = i
      for child in [2 * i + 1, 2 * i + 2] where child < events.count {
        if events[child].isBefore(events[least]) { least = child }
      }
      if least == i { return }
      events.swapAt(i, least)
      i = least
    }
  }

  private func deliver(_ event: Event) {
    switch event {
    case .syn(let socket, let attempt): synArrived(from: socket, attempt: attempt)
    case .connected(let socket): connectionMade(socket)
    case .refused(let socket, let code): finishConnect(socket, -code)
    case .arrival(let pipe): segmentArrived(pipe)
    case .reset(let socket, let from):
      if !isPartitioned(from, socket.host) { resetArrived(socket) }
    case .unstalled(let socket):
      socket.isStalled = false
      list(socket)
    case .datagram(let datagram, let host): datagramArrived(datagram, at: host)
    case .unreachable(let datagram, let host): unreachableArrived(datagram, at: host)
    case .timeout(let ring, let token, let id):
      self.ring(ring)?.timerFired(token, id: id)
    case .resolved(let ring, let token, let id, let addresses):
      self.ring(ring)?.lookupEnded(token, id: id, addresses)
    }
  }

  func ring(_ index: Int) -> SimulatedRing? { rings[index].ring }

  // MARK: Names

  func addresses(of host: String, port: Port) -> [SocketAddress] {
    if let literal = IPAddress(literal: host) { return [SocketAddress(literal, port)] }
    return (names[host] ?? []).map { SocketAddress($0, port) }
  }
}

extension IPAddress {
  /// An address in text form (inet_pton(3)).
  init?(literal text: String) {
    var four = in_addr()
    var six = in6_addr()
    if inet_pton(AF_INET, text, &four) == 1 {
      self.init(v4: UInt32(bigEndian: four.s_addr))
    } else if inet_pton(AF_INET6, text, &six) == 1 {
      self.init(six)
    } else {
      return nil
    }
  }

  var isLoopback: Bool {
    switch family {
    case .v4: v4 >> 24 == 127
    case .v6: self == .loopbackV6
    }
  }

}
