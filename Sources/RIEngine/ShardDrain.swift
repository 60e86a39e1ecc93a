// The end of a shard that takes its time: no new streams, the live ones get their end (SPEC 7).
//
//   running ── drain ─▶ draining ── last stream gone ─▶ leaving ── peers have closed ─▶ stopped
//                           └───────────── deadline ───────┴──────────────────────────────┘
//
// A hub's shards stop accepting first, all of them (`Engine.drain`).
//
// Where `drain` is in force the other end is told. A hub's edges then dial again at once and keep
// the old tunnel for the streams that it has: make before break. An edge's hub only takes note.

import RIBase
import RIControl
import RIRing
import RITunnel
import RIWire

extension Shard {
  func beginDrain(_ limit: Interval) {
    guard case .running = phase else { return }
    phase = .draining(deadline: now + limit)
    schedule(.drain, at: now + limit)
    // UDP ports stay for the sessions that there are.
    for id in listeners.ids where listeners[id].purpose != .datagrams { closeListener(id) }
    if case .edge(let edge) = role {
      giveUpDialling(edge)
      cancelQUICRetry(edge)
    }
    stopSTUN()
    for id in links.ids where links[id].phase != .closing {
      if links[id].phase == .ready {
        tellDrain(links[id], id)
      } else {
        endLink(id, .stopping)
      }
    }
  }

  private func tellDrain(_ link: Link, _ id: SlotID) {
    switch role {
    case .hub(let hub): if let edge = link.edge { sendConfiguration(of: edge, hub, link) }
    case .edge:
      guard link.extensions.contains(.drain) else { return }
      link.tunnel?.sendHello(hello(of: link, draining: true))
    }
    markDirty(link, id)
  }

  /// A draining shard leaves when its last stream is gone, its UDP sessions are at rest and its
  /// last frame is sent, and ends when its peers have closed: closing before they do could cost the
  /// bytes that are still under way (a socket that is closed with bytes unread resets its
  /// connection).
  func finishDrainIfDone() {
    if case .draining(let deadline) = phase, connections.count == 0, areSessionsAtRest(links.ids) {
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

  /// Whether none of these links has a live UDP session; else looks again when none may be.
  private func areSessionsAtRest(_ ids: [SlotID]) -> Bool {
    guard let rest = ids.compactMap({ links[$0].sessionsRestAt(now: now) }).max() else {
      return true
    }
    if restTimer == nil { restTimer = schedule(.rest, at: rest) }
    return false
  }

  // MARK: The edge of a hub that drains

  /// The tunnel's hub is about to stop: streams from now on need another tunnel.
  func makeWay(for link: Link, _ id: SlotID, _ edge: EdgeState) {
    guard case .running = phase, !link.isDraining else { return }
    giveUpDialling(edge)
    cancelQUICRetry(edge)
    link.isDraining = true
    edge.tunnel = nil
    edge.outgoingTunnels.append(id)
    report(.tunnelDraining(hub: link.peer))
    let delay = edge.reconnect.delay(
      afterDrainingFor: now - link.readySince, random: ring.random())
    dial(edge, after: delay)
  }

  /// Leaves the tunnels whose hub drains as soon as they have carried their last stream, and their
  /// UDP sessions are at rest.
  func leaveOutgoingTunnels() {
    guard case .edge(let edge) = role, !edge.outgoingTunnels.isEmpty, case .running = phase else {
      return
    }
    let quiet = edge.outgoingTunnels.filter {
      !links[$0].isLeaving && links[$0].isQuiet && areSessionsAtRest([$0])
    }
    for id in quiet {
      // The hub's end with the tunnel; what their clients say next goes by the new one.
      endSessions(tellsPeer: false) { $0.link == id }
      if let timer = links[id].timer { timers.cancel(timer) }
      links[id].timer = schedule(.link, id, at: now + Limits.goodbyeTimeout)
      leave(id)
    }
    if !quiet.isEmpty { flushLinks() }
  }
}
