// The UDP sessions of a shard: found by client, ended when idle, bounded in number and by source
// (SPEC 4.1). Pure: sockets and tunnels are the engine's.

import RIBase
import RITunnel

/// The sessions that a shard may have.
public struct SessionShare: Sendable {
  /// The most that it may have.
  public let capacity: Int
  /// So many are its own; beyond them it needs a place of `shared`.
  let reserved: Int
  let shared: SharedQuota?

  /// All sessions for one shard.
  public init(alone capacity: Int) {
    precondition(capacity > 0)
    self.capacity = capacity
    reserved = capacity
    shared = nil
  }

  private init(reserved: Int, shared: SharedQuota) {
    capacity = max(1, reserved + shared.count)
    self.reserved = reserved
    self.shared = shared
  }

  /// The shares of several shards that have `capacity` together. A part is reserved for each, so
  /// that a flood on one shard leaves room on the others.
  public static func split(_ capacity: Int, shards: Int) -> SessionShare {
    guard shards > 1 else { return SessionShare(alone: capacity) }
    let reserved = capacity / Limits.udpSessionsReservedDivisor / shards
    return SessionShare(
      reserved: reserved, shared: SharedQuota(count: capacity - reserved * shards))
  }
}

/// A table of sessions, with the order in which they go.
///
/// Who has to go when there is no room: a source (an IPv4 address, or an IPv6 /64) with more than
/// its share loses its own; else whoever was never answered, since a forged address never is; else
/// the longest idle of all. A source that has a session never costs another a live one. So a flood
/// from one source costs only that source its sessions.
///
/// Cost: O(1) a datagram and a session; no allocation for a datagram. Not safe for use by two
/// threads.
public final class UDPSessions {
  public let share: SessionShare
  public let perSourceMax: Int
  public let idleTimeout: Interval

  private let sessions: Slab<UDPSession>
  private let sources: Slab<SessionSource>
  @exclusivity(unchecked) private var sourceByAddress: [IPAddress: SlotID] = [:]
  @exclusivity(unchecked) private var index: SessionIndex
  @exclusivity(unchecked) private var unanswered = SessionList(isOwn: false)
  @exclusivity(unchecked) private var answered = SessionList(isOwn: false)

  /// At most `share` sessions, a part of it for each source; `seed` spreads the clients' choice of
  /// addresses in the table.
  public init(
    share: SessionShare, perSourceMax: Int? = nil, idleTimeout: Interval, seed: UInt64
  ) {
    self.share = share
    self.perSourceMax =
      perSourceMax ?? max(1, share.capacity / Limits.udpSessionsPerSourceDivisor)
    self.idleTimeout = idleTimeout
    sessions = Slab(capacity: share.capacity)
    sources = Slab(capacity: share.capacity)
    index = SessionIndex(seed: seed)
  }

  deinit {
    for id in sessions.ids where sessions[id].isShared { share.shared?.giveBack() }
  }

  public var count: Int { sessions.count }
  public var sourceCount: Int { sources.count }
  public var slotsEverUsed: Int { sessions.slotsEverUsed }
  public func id(at index: Int) -> SlotID? { sessions.id(at: index) }

  public func contains(_ id: SlotID) -> Bool { sessions.contains(id) }

  /// The session as it is. Traps on an id that `contains` denies. (A copy: to lend it across
  /// modules would take an allocation each time.)
  public subscript(id: SlotID) -> UDPSession { sessions[id] }

  /// Hub: the session has its socket towards the target.
  public func connected(_ id: SlotID, by descriptor: Int32) { sessions[id].socket = descriptor }

  /// Hub: whether the session's next datagram to the target is its first, as far as that knows.
  public func setHeaderDue(_ isDue: Bool, of id: SlotID) { sessions[id].isHeaderDue = isDue }

  // MARK: Opening

  /// The session of a client at a listener.
  public func find(_ client: SocketAddress, listener: SlotID) -> SlotID? {
    index.find(hash: index.hash(client, listener)) { id in
      sessions[id].client == client && sessions[id].listener == listener
    }
  }

  private var isFull: Bool {
    if sessions.count >= share.capacity { return true }
    return sessions.count >= share.reserved && share.shared?.isSpent == true
  }

  /// The session that has to go before one of this client can be opened; nil while there is room.
  public func victim(for client: SocketAddress, now: Instant) -> SlotID? {
    let source = sourceByAddress[client.ip.source].map { sources[$0] }
    let held = source?.count ?? 0
    if held >= perSourceMax { return source?.firstToGo }
    guard isFull, sessions.count > 0 else { return nil }
    let first = unanswered.first != .none ? unanswered.first : answered.first
    let isLive = now - sessions[first].lastActive < Limits.udpSessionLiveFor
    // More than it would have if all had the same, or the price would be a live session.
    if held > sessions.count / (sources.count + 1) || (held > 0 && isLive) {
      return source?.firstToGo
    }
    return first
  }

  /// Opens a session, to be found by its client if it has a listener. Nil when there is no room:
  /// see `victim`. (Another shard may have taken the place that was free then.)
  public func open(_ session: UDPSession) -> SlotID? {
    let isShared = sessions.count >= share.reserved
    guard sessions.count < share.capacity, !isShared || share.shared?.take() == true else {
      return nil
    }
    guard let id = sessions.insert(session), let source = source(of: session.client.ip.source)
    else { preconditionFailure("as many places as there are slots") }
    sessions[id].isShared = isShared
    sessions[id].source = source
    sources[source].count += 1
    if session.listener != .none {
      sessions[id].hash = index.hash(session.client, session.listener)
      index.insert(id, hash: sessions[id].hash)
    }
    list(id)
    return id
  }

  private func source(of address: IPAddress) -> SlotID? {
    if let known = sourceByAddress[address] { return known }
    let new = sources.insert(SessionSource(address: address))
    sourceByAddress[address] = new
    return new
  }

  public func close(_ id: SlotID) {
    guard sessions.contains(id) else { return }
    unlist(id)
    let session = sessions[id]
    if session.listener != .none { index.remove(id, hash: session.hash) }
    sources[session.source].count -= 1
    if sources[session.source].count == 0 {
      sourceByAddress[sources[session.source].address] = nil
      sources.remove(session.source)
    }
    if session.isShared { share.shared?.giveBack() }
    sessions.remove(id)
  }

  // MARK: Activity

  /// A datagram of the client.
  public func touch(_ id: SlotID, now: Instant) {
    sessions[id].lastActive = now
    // The lists are kept by the second: a busy session is not moved for each datagram.
    if now - sessions[id].listedAt >= Limits.udpSessionListInterval { relist(id, now) }
  }

  /// A datagram for the client.
  public func answer(_ id: SlotID, now: Instant) {
    if sessions[id].isAnswered { return touch(id, now: now) }
    unlist(id)
    sessions[id].isAnswered = true
    sessions[id].lastActive = now
    sessions[id].listedAt = now
    list(id)
  }

  /// A session that was idle for `idleTimeout`, to be closed; ask again until nil. The lists are
  /// kept by the second, so it may be told a second late, and never early.
  public func pollIdle(now: Instant) -> SlotID? {
    for first in [unanswered.first, answered.first] where first != .none {
      if sessions[first].lastActive + idleTimeout <= now { return first }
    }
    return nil
  }

  /// When `pollIdle` should be asked next; nil without sessions.
  public var nextDeadline: Instant? {
    var deadline: Instant?
    for id in [unanswered.first, answered.first] where id != .none {
      let idle = sessions[id].lastActive + idleTimeout
      deadline = min(deadline ?? idle, idle)
    }
    return deadline
  }

  private func relist(_ id: SlotID, _ now: Instant) {
    unlist(id)
    sessions[id].listedAt = now
    list(id)
  }

  private func list(_ id: SlotID) {
    let source = sessions[id].source
    if sessions[id].isAnswered {
      answered.append(id, in: sessions)
      sources[source].answered.append(id, in: sessions)
    } else {
      unanswered.append(id, in: sessions)
      sources[source].unanswered.append(id, in: sessions)
    }
  }

  private func unlist(_ id: SlotID) {
    let source = sessions[id].source
    if sessions[id].isAnswered {
      answered.remove(id, in: sessions)
      sources[source].answered.remove(id, in: sessions)
    } else {
      unanswered.remove(id, in: sessions)
      sources[source].unanswered.remove(id, in: sessions)
    }
  }
}

/// The sessions of one source.
private struct SessionSource {
  let address: IPAddress
  var count = 0
  var unanswered = SessionList(isOwn: true)
  var answered = SessionList(isOwn: true)

  var firstToGo: SlotID { unanswered.first != .none ? unanswered.first : answered.first }
}
