// Wrong secrets: whoever guesses is answered late, and keeps its place at the gate until then,
// heard or not (GuessThrottle). A TLS guesser that hangs up is not read any more; a QUIC link ends
// with its peer's CONNECTION_CLOSE, and only the place stays.

import RIBase
import RIControl
import RITunnel

extension Shard {
  /// The id or the secret is none of ours.
  func refuseGuess(
    _ reason: LinkEndReason, _ answer: [UInt8], _ hub: HubState, _ link: Link, _ id: SlotID
  ) {
    let wait = hub.guesses.refused(link.peer.ip, now: now)
    guard wait > .zero else { return refuse(link, id, reason, answer) }
    let due = now + wait
    link.heldRefusal = (reason, answer, due)
    if let timer = link.timer { timers.cancel(timer) }
    link.timer = schedule(.link, id, at: due)
  }

  /// Says no; the link ends when that is said.
  private func refuse(_ link: Link, _ id: SlotID, _ reason: LinkEndReason, _ answer: [UInt8]) {
    link.line = answer
    link.refusal = reason
    if case .quic(let quic) = link.transport { sendLine(of: link, quic.tunnel, id) }
    markDirty(link, id)
  }

  /// A guesser has waited for its answer. False when there is none that waits.
  func answerGuess(_ link: Link, _ id: SlotID) -> Bool {
    guard let (reason, answer, _) = link.heldRefusal else { return false }
    link.heldRefusal = nil
    link.timer = schedule(.link, id, at: now + Limits.lateAnswerTimeout)
    refuse(link, id, reason, answer)
    return true
  }

  /// The link of a stranger has ended: its place at the gate is free, or will be when its answer
  /// would have come.
  func leaveGate(_ hub: HubState, _ link: Link) {
    guard let due = link.heldRefusal?.due, due > now, case .running = phase,
      let place = hub.keptPlaces.insert(link.peer.ip)
    else { return hub.gate.leave(link.peer.ip) }
    if schedule(.keptPlace, place, at: due) == nil { keptPlaceTimerFired(place) }
  }

  func keptPlaceTimerFired(_ place: SlotID) {
    guard case .hub(let hub) = role, let address = hub.keptPlaces.remove(place) else { return }
    hub.gate.leave(address)
  }

  /// The shard ends.
  func freeKeptPlaces() {
    guard case .hub(let hub) = role else { return }
    for place in hub.keptPlaces.ids { keptPlaceTimerFired(place) }
  }
}
