// What a simulated run has to fulfil: all the time, and for each stream when all have ended.

import RIBase
import RIControl
import RIRing
import RITunnel

@testable import RIEngine

// MARK: All the time

extension Simulation {
  func checkAlways() {
    for (place, engine) in ([hub] + edges.compactMap(\.last)).enumerated() where !engine.hasEnded {
      let name = place == 0 ? "hub" : "edge \(place - 1)"
      for problem in engine.memoryProblems { note("\(name): \(problem)") }
      for id in engine.shard.connections.ids where engine.isForsaken(id) {
        note("\(name): a stream outlives its tunnel")
      }
      if engine.waitsBesideBuffers { note("\(name): a receive waits though buffers are free") }
    }
    for edge in edges.compactMap(\.last)
    where !hub.hasEnded && !edge.hasEnded && !hub.ring.isPartlyReaped && !edge.ring.isPartlyReaped {
      for problem in creditProblems(edge: edge, hub: hub) { note(problem) }
    }
    guard !hub.hasEnded, !hub.isFrozen else { return }
    for (edge, since) in revoked where world.now - max(since, thawedAt) > .milliseconds(100) {
      if hub.readyLinks.contains(where: { $0.edge?.id == Self.edgeID(edge) }) {
        note("edge \(edge) is connected and not allowed")
      }
    }
  }
}

extension EngineUnderTest {
  /// Where it listens for clients.
  var ports: [Port] {
    shard.listeners.ids.map { shard.listeners[$0] }.filter { !$0.isClosing }
      .map(\.address.port).sorted()
  }

  /// Memory in use beyond what the pools have.
  fileprivate var memoryProblems: [String] {
    (0..<shard.store.poolCount).compactMap { index in
      let pool = shard.store[PoolID(UInt8(index))]
      guard pool.usedCount > pool.shape.count || pool.usedCount + pool.freeCount != pool.shape.count
      else { return nil }
      return "\(pool.usedCount) buffers of pool \(index) in use, \(pool.shape.count) in all"
    }
  }

  /// Whether a receive that ended for want of a buffer is tried again only after one more has come
  /// back, though the pools that it may draw on have some.
  fileprivate var waitsBesideBuffers: Bool {
    guard shard.returnsSeen == shard.store.returnCount else { return false }
    func hasFree(_ pools: PoolID...) -> Bool { pools.allSatisfy { shard.store[$0].freeCount > 0 } }
    return hasFree(ShardPool.small, ShardPool.bulk)
      && shard.starvedConnections.contains { shard.connections.contains($0) }
      || hasFree(ShardPool.small, ShardPool.tunnelReceive)
        && shard.starvedLinks.contains { shard.links.contains($0) }
  }

  /// Whether a connection's tunnel has ended, but not the connection.
  fileprivate func isForsaken(_ id: SlotID) -> Bool {
    let connection = shard.connections[id]
    guard !connection.flags.contains(.closing), !connection.isOver else { return false }
    return !shard.links.contains(connection.link)
      || shard.links[connection.link].phase == .closing
  }
}

// MARK: Streams that have ended

extension Simulation {
  /// Every byte once and in order; ends behind all data; resets where, and only where, the other
  /// side, the network, the budget or the loss of the tunnel made them.
  func checkStreams() {
    var targetOf: [UInt64: PeerSocket] = [:]
    for target in world.targets.inOrder {
      if target.wrongAt != nil { note("wrong bytes: \(target.summary)") }
      guard let key = target.key else { continue }
      if targetOf.updateValue(target, forKey: key) != nil { note("two targets: \(target.summary)") }
    }
    var unexplained: [String] = []
    for client in clients {
      if client.peer.wrongAt != nil { note("wrong bytes: \(client.peer.summary)") }
      let target = client.peer.key.flatMap { targetOf.removeValue(forKey: $0) }
      if let target {
        check(client, target, &unexplained)
      } else if !mayLackTarget(client) {
        unexplained.append("no target: \(client.peer.summary)")
      }
    }
    // Who was cut before it was connected does not know its own name.
    let nameless = clients.count { $0.peer.wasCut && $0.peer.key == nil }
    if targetOf.count > nameless {
      note("targets without clients: \(targetOf.values.map(\.summary))")
    }
    // Each stream that a budget cost is one of those that nothing else explains.
    let excused = (hubs + edges.joined()).reduce(0) { $0 + $1.streamsRefusedForMemory }
    if unexplained.count > excused {
      note("\(excused) streams given up for memory, but: \(unexplained.prefix(3))")
    }
  }

  private func check(_ client: Client, _ target: PeerSocket, _ unexplained: inout [String]) {
    let script = scenario.clients[client.index]
    var isUnexplained = false
    for (reader, writer) in [(client.peer, target), (target, client.peer)] {
      let cuts = reader.isClient ? edgeCuts(script.edge) : hubCuts(script.edge)
      let ends = reader.isClient ? edges[script.edge] : hubs
      func fault(_ what: String) { note("\(what): \(reader.summary) of \(writer.summary)") }
      func isWithin(_ time: Instant) -> Bool {
        // A target may be accepted when its connection has been reset already.
        time >= client.startedAt && reader.endedAt.map { time <= $0 } ?? false
      }

      if reader.received > writer.offered { fault("more than was sent") }
      if reader.sawEnd {
        // The kernel ends the connections of a process that is killed as if it had closed them.
        if ends.contains(where: { $0.wasKilled && $0.endedAt.map(isWithin) ?? false }) { continue }
        if !hasEndedWell(writer) { fault("an end that nobody made") }
        if !writer.brokeOff, !writer.wasCut, reader.received != writer.sent {
          fault("the end came before all data")
        }
      } else if reader.failure != nil {
        guard !writer.brokeOff, !writer.wasCut, !reader.wasCut, !cuts.contains(where: isWithin)
        else { continue }
        isUnexplained = true
      } else if !reader.brokeOff {
        fault("neither end nor reset")
      }
    }
    if client.peer.isFinished, target.plan.echoes, target.isFinished, !target.brokeOff,
      target.sent != target.received
    {
      note("an echo of \(target.received) has \(target.sent) bytes")
    }
    if isUnexplained { unexplained.append("\(client.peer.summary), \(target.summary)") }
  }

  /// Whether the reader may see an end: one that was made, or the close of one that read enough.
  private func hasEndedWell(_ writer: PeerSocket) -> Bool {
    if writer.isFinished { return true }
    if case .until = writer.plan.reads { return writer.brokeOff }
    return false
  }

  /// Whether there is a reason for a client to have no target.
  private func mayLackTarget(_ client: Client) -> Bool {
    let script = scenario.clients[client.index]
    let peer = client.peer
    if peer.brokeOff || peer.wasCut { return true }
    if !script.port.hasTarget, peer.failure != nil { return true }
    guard peer.failure != nil || peer.sawEnd, let ended = peer.endedAt else { return false }
    let wasDraining = drains.contains { drain in
      (drain.place == .hub || drain.place == .edge(script.edge)) && drain.at <= ended
        && drain.engine.endedAt.map { $0 >= client.startedAt } ?? true
    }
    let hadHardTimes = hardTimes.contains { time in
      (time.place == .hub || time.place == .edge(script.edge)) && time.from <= ended
        && time.to >= client.startedAt
    }
    let wasAssigned =
      script.port != .sometimes
      && portChanges[script.edge].allSatisfy {
        $0.at > ended || $0.ports.contains(script.port.rawValue)
      }
    return wasDraining || hadHardTimes || !wasAssigned
      || !hadTunnel(script.edge, from: client.startedAt, to: ended)
  }

  // MARK: What happened to tunnels

  /// When an edge lost its tunnel, or itself. One that drains does not say so: it dials no more.
  private func edgeCuts(_ edge: Int) -> [Instant] {
    let told = edges[edge].flatMap { engine in
      engine.events.compactMap { entry -> Instant? in
        switch entry.event {
        case .tunnelDown, .tunnelDrained: entry.time
        default: nil
        }
      } + [engine.endedAt].compactMap { $0 }
    }
    guard drains.contains(where: { $0.place == .edge(edge) }) else { return told }
    return told + hubCuts(edge) + resets.filter { $0.edge == edge }.map(\.at)
  }

  /// When the hub lost an edge, or itself.
  private func hubCuts(_ edge: Int) -> [Instant] {
    hubs.flatMap { engine in
      engine.events.compactMap { entry -> Instant? in
        guard case .edgeDisconnected(let id, _, _) = entry.event else { return nil }
        return id == Self.edgeID(edge) ? entry.time : nil
      } + [engine.endedAt].compactMap { $0 }
    }
  }

  /// Whether an edge's tunnel was up all the time, at both ends.
  private func hadTunnel(_ edge: Int, from: Instant, to: Instant) -> Bool {
    let ups = edges[edge].flatMap { engine in
      engine.events.compactMap { if case .tunnelUp = $0.event { $0.time } else { nil } }
    }
    guard let up = ups.filter({ $0 <= from }).max() else { return false }
    return !(edgeCuts(edge) + hubCuts(edge)).contains { $0 >= up && $0 <= to }
  }
}

extension EngineUnderTest {
  /// Streams that were reset or refused for want of memory.
  var streamsRefusedForMemory: Int {
    Int(shard.counters.budgetResets + shard.counters.streamsRefused)
  }
}
