// What other threads tell a shard.

import RIBase
import RIControl

/// A command to a shard, handled at its next tick.
enum ShardCommand: Sendable {
  /// No new streams; stop when the live ones are gone or the deadline has passed.
  case drain(Interval)
  /// Stop at once.
  case stop
  /// Another shard authenticated this edge: a tunnel of it here is replaced.
  case edgeConnectedElsewhere(edgeID: String)
  case updateAllowedEdges([AllowedEdge])
  case status(@Sendable (ShardStatus) -> Void)
}

typealias ShardMailbox = Mailbox<ShardCommand>

extension Shard {
  func readMailbox() {
    guard !mailbox.isEmpty else { return }
    mailbox.takeAll(into: &commands)
    for command in commands { handle(command) }
    commands.removeAll()
  }

  private func handle(_ command: ShardCommand) {
    switch command {
    case .drain(let limit): beginDrain(limit)
    case .stop: phase = .stopped
    case .edgeConnectedElsewhere(let edgeID): replaceTunnels(of: edgeID, except: .none)
    case .updateAllowedEdges(let edges): updateAllowedEdges(edges)
    case .status(let reply): reply(status)
    }
  }

  var status: ShardStatus {
    ShardStatus(
      counters: counters, links: links.count,
      tunnelsReady: links.ids.count { links[$0].phase == .ready },
      connections: connections.count, sessions: sessions.count, listeners: listeners.count,
      stashBuffersInUse: store[ShardPool.stash].usedCount, sliceNodesInUse: store.nodesInUse)
  }

  private func beginDrain(_ limit: Interval) {
    guard case .running = phase else { return }
    phase = .draining(deadline: now + limit)
    schedule(.drain, at: now + limit)
    // UDP ports stay for the sessions that there are.
    for id in listeners.ids where listeners[id].purpose != .datagrams { closeListener(id) }
  }

  /// A draining shard leaves when its last stream is gone, its UDP sessions are at rest and its last
  /// frame is sent, and ends when its peers have closed: closing before they do could cost the bytes
  /// that are still under way (a socket that is closed with bytes unread resets its connection).
  func finishDrainIfDone() {
    if case .draining(let deadline) = phase, connections.count == 0 {
      guard awaitSessionsRest() else { return }
      if sessions.count > 0 {
        endSessions(tellsPeer: true) { _ in true }
        flushLinks()
      }
      guard links.ids.allSatisfy({ links[$0].isQuiet }) else { return }
      phase = .leaving
      schedule(.drain, at: min(deadline, now + Limits.goodbyeTimeout))
      for id in links.ids { leave(id) }
      flushLinks()
    }
    if case .leaving = phase, links.count == 0 { phase = .stopped }
  }

  /// Whether no UDP session is live; else looks again when none may be.
  private func awaitSessionsRest() -> Bool {
    guard let rest = sessionsRestAt else { return true }
    if restTimer == nil { restTimer = schedule(.rest, at: rest) }
    return false
  }
}
