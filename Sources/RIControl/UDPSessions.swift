// The UDP sessions of a shard: found by client, ended when idle, bounded in number and by source
// (SPEC 4.1). Pure: sockets and tunnels are the engine's.

import RIBase
import RITunnel

/// A table of sessions, with the order in which they go.
///
/// Who has to go when there is no room: a source (an IPv4 address, or an IPv6 /64) with more than
/// its share loses its own; else whoever was never answered, since a forged address never is; else
/// the longest idle of all. So a flood from one source costs only that source its sessions.
///
/// Cost: O(1) a datagram and a session; no allocation for a datagram. Not safe for use by two
/// threads.
public final class UDPSessions {
  public let capacity: Int
  public let perSourceMax: Int
  public let idleTimeout: Interval

  private let sessions: Slab<UDPSession>
  private let sources: Slab<SessionSource>
  private var sourceByAddress: [IPAddress: SlotID] = [:]
  @exclusivity(unchecked) private var index: SessionIndex
  @exclusivity(unchecked) private var unanswered = SessionList(isOwn: false)
  @exclusivity(unchecked) private var answered = SessionList(isOwn: false)

  /// At most `capacity` sessions, a part of it for each source; `seed` spreads the clients' choice of
  /// addresses in the table.
  public init(
    capacity: Int, perSourceMax: Int? = nil, idleTimeout: Interval, seed: UInt64
  ) {
    precondition(capacity > 0)
    self.capacity = capacity
    self.perSourceMax = perSourceMax ?? max(1, capacity / Limits.udpSessionsPerSourceDivisor)
    self.idleTimeout = idleTimeout
    sessions = Slab(capacity: capacity)
    sources = Slab(capacity: capacity)
    index = SessionIndex(seed: seed)
  }

  public var count: Int { sessions.count }
  public var sourceCount: Int { sources.count }
  public var slotsEverUsed: Int { sessions.slotsEverUsed }
  public func id(at index: Int) -> SlotID? { sessions.id(at: index) }

  public func contains(_ id: SlotID) -> Bool { sessions.contains(id) }

  /// The session, changed in place. Traps on an id that `contains` denies.
  public subscript(id: SlotID) -> UDPSession {
    _read { yield sessions[id] }
    _modify { yield &sessions[id] }
  }

  // MARK: Opening

  /// The session of a client at a listener.
  public func find(_ client: SocketAddress, listener: SlotID) -> SlotID? {
    index.find(hash: index.hash(client, listener)) { id in
      sessions[id].client == client && sessions[id].listener == listener
    }
  }

  /// The session that has to go before one of this client can be opened; nil while there is room.
  public func victim(for client: SocketAddress) -> SlotID? {
    let source = sourceByAddress[client.ip.source].map { sources[$0] }
    let held = source?.count ?? 0
    if held >= perSourceMax { return source?.firstToGo }
    guard sessions.count >= capacity else { return nil }
    if held > capacity / (sources.count + 1) { return source?.firstToGo }
    return unanswered.first != .none ? unanswered.first : answered.first
  }

  /// Opens a session. There must be room: see `victim`.
  public func open(_ session: UDPSession) -> SlotID {
    guard let id = sessions.insert(session) else { preconditionFailure("no room for a session") }
    let address = session.client.ip.source
    let source: SlotID
    if let known = sourceByAddress[address] {
      source = known
    } else {
      guard let new = sources.insert(SessionSource(address: address)) else {
        preconditionFailure("more sources than sessions")
      }
      sourceByAddress[address] = new
      source = new
    }
    sessions[id].source = source
    sessions[id].hash = index.hash(session.client, session.listener)
    sources[source].count += 1
    index.insert(id, hash: sessions[id].hash)
    list(id)
    return id
  }

  public func close(_ id: SlotID) {
    guard sessions.contains(id) else { return }
    unlist(id)
    index.remove(id, hash: sessions[id].hash)
    let source = sessions[id].source
    sources[source].count -= 1
    if sources[source].count == 0 {
      sourceByAddress[sources[source].address] = nil
      sources.remove(source)
    }
    sessions.remove(id)
  }

  // MARK: Activity

  /// A datagram of the client.
  public func touch(_ id: SlotID, now: Instant) {
    sessions[id].lastActive = now
    // The lists are kept by the second: a busy session is not moved for each datagram.
    if now - sessions[id].listedAt >= Limits.udpSessionListInterval { renew(id, now) }
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

  /// A session that was idle for `idleTimeout`, to be closed; ask again until nil.
  public func pollIdle(now: Instant) -> SlotID? {
    for first in [unanswered.first, answered.first] where first != .none {
      var id = first
      // What was active since it was listed goes to the end first.
      while id != .none, sessions[id].listedAt + idleTimeout <= now {
        if sessions[id].lastActive + idleTimeout <= now { return id }
        renew(id, sessions[id].lastActive)
        id = sessions[first].isAnswered ? answered.first : unanswered.first
      }
    }
    return nil
  }

  /// When `pollIdle` should be asked next; nil without sessions.
  public var nextDeadline: Instant? {
    var deadline: Instant?
    for id in [unanswered.first, answered.first] where id != .none {
      let idle = sessions[id].listedAt + idleTimeout
      deadline = min(deadline ?? idle, idle)
    }
    return deadline
  }

  private func renew(_ id: SlotID, _ listedAt: Instant) {
    unlist(id)
    sessions[id].listedAt = listedAt
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

/// Sessions by client and listener: an open-addressing hash table with linear probing, like
/// `StreamTable`. Clients choose their addresses, so the hash is made of a seed.
private struct SessionIndex {
  private struct Entry {
    var hash: UInt32 = 0
    var id = SlotID.none
  }

  private var entries = Array(repeating: Entry(), count: 16)
  private var count = 0
  private let seed: UInt64

  init(seed: UInt64) { self.seed = seed }

  private var mask: Int { entries.count - 1 }

  /// Two rounds of multiply and fold (as in wyhash) over address, port and listener.
  func hash(_ client: SocketAddress, _ listener: SlotID) -> UInt32 {
    var h = fold(client.ip.high ^ seed, client.ip.low ^ 0x9E37_79B9_7F4A_7C15)
    let rest = UInt64(client.port) << 32 | UInt64(listener.index)
    h = fold(h ^ rest, UInt64(client.scope) ^ 0xD6E8_FEB8_6659_FD93 ^ seed)
    return UInt32(truncatingIfNeeded: h ^ (h >> 32))
  }

  private func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = (a | 1).multipliedFullWidth(by: b | 1)
    return product.high ^ product.low
  }

  func find(hash: UInt32, _ isWanted: (SlotID) -> Bool) -> SlotID? {
    var i = Int(hash) & mask
    while entries[i].id != .none {
      if entries[i].hash == hash, isWanted(entries[i].id) { return entries[i].id }
      i = (i + 1) & mask
    }
    return nil
  }

  mutating func insert(_ id: SlotID, hash: UInt32) {
    if 4 * (count + 1) > 3 * entries.count { grow() }
    place(Entry(hash: hash, id: id))
    count += 1
  }

  /// The session is in the table. What had to step over it moves up, so that no mark is left.
  mutating func remove(_ id: SlotID, hash: UInt32) {
    var hole = Int(hash) & mask
    while entries[hole].id != id {
      precondition(entries[hole].id != .none, "a session that is not in the table")
      hole = (hole + 1) & mask
    }
    var i = (hole + 1) & mask
    while entries[i].id != .none {
      if (i - Int(entries[i].hash)) & mask >= (i - hole) & mask {
        entries[hole] = entries[i]
        hole = i
      }
      i = (i + 1) & mask
    }
    entries[hole] = Entry()
    count -= 1
  }

  private mutating func place(_ entry: Entry) {
    var i = Int(entry.hash) & mask
    while entries[i].id != .none { i = (i + 1) & mask }
    entries[i] = entry
  }

  private mutating func grow() {
    let old = entries
    entries = Array(repeating: Entry(), count: 2 * old.count)
    for entry in old where entry.id != .none { place(entry) }
  }
}
