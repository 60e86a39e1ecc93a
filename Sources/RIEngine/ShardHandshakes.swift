// Handshakes by turns (hub). A TLS handshake costs a signature, a millisecond or so; when hundreds
// of edges come back at once, the data of tunnels that are up must not wait for all of them. So the
// bytes of edges that have not said who they are wait in a queue, and a few go on in each tick.
//
//   accept ─▶ gate ─▶ link ── small receive ─▶ unopened ─▶ queue ── its turn ─▶ records, line
//                      ▲                                                            │
//                      └──────────────── armed again until it is up ────────────────┘
//
// Three limits stand around it. The gate bounds what strangers hold, in all and for each address;
// what it refuses is closed at once. It takes an accept to know the address, so those limits cannot
// be kept by leaving connections in the backlog: one address would fill it and keep all others out.
// Nor does a full gate stop accepting, for those inside may be silent, and would hold the door shut
// for 10 s each. What stops it is work of our own: while many handshakes wait for their turn, new
// connections stay in the kernel's backlog, and no peer can make that last longer than we need for
// them.

import RIBase
import RIRing
import RITLS

extension Shard {
  /// Bytes of an edge that has not said who it is: copied out, so that no buffer waits with them.
  func handshakeReceived(_ id: SlotID, _ completion: Completion) {
    guard links.contains(id), let tls = links[id].tls else {
      if let slice = completion.slice { store.release(slice) }
      return
    }
    let link = links[id]
    if !completion.more { tls.receiving = false }
    if let slice = completion.slice {
      if link.phase != .closing { waitForTurn(store.bytes(slice), link, tls, id) }
      store.release(slice)
    }
    // A guesser's place is taken until its answer is due, whether it waits for that or not.
    guard !completion.more, link.phase != .closing, link.heldRefusal == nil else { return }
    switch completion.result {
    case 1...: if tls.unopened.isEmpty { armReceive(of: link, tls, id) }
    case 0:
      tls.hasEnded = true
      if tls.unopened.isEmpty { endLink(id, .peerClosed) }
    case -ErrorNumber.cancelled: armReceive(of: link, tls, id)
    case -ErrorNumber.noBuffers: starvedLinks.append(id)
    default: endLink(id, .socket(code: -completion.result))
    }
  }

  /// A tunnel that is up receives as tunnels do.
  func endHandshakeReceive(of tls: TLSTransport, _ id: SlotID) {
    if tls.receiving { ring.cancel(OperationToken(.handshakeReceive, id).token) }
  }

  private func waitForTurn(
    _ bytes: UnsafeRawBufferPointer, _ link: Link, _ tls: TLSTransport, _ id: SlotID
  ) {
    let isQueued = !tls.unopened.isEmpty
    tls.unopened.append(contentsOf: bytes)
    if link.phase == .ready {
      // The receive that was armed for a stranger has brought bytes before it was cancelled.
      openUnopened(of: link, tls, id)
    } else if !isQueued {
      handshakeQueue.append(id)
      if handshakeQueue.count >= Limits.handshakesWaitingMax { pauseAccepting() }
    }
  }

  /// Whether a handshake waits for its turn, and for nothing else.
  var mayAdvanceHandshakes: Bool {
    !handshakeQueue.isEmpty && handshakesStarvedAt != store.returnCount
  }

  /// Gives the next handshakes their turn.
  func advanceHandshakes() {
    guard mayAdvanceHandshakes else { return }
    handshakesStarvedAt = nil
    var steps = 0
    while steps < Limits.handshakeStepsPerTick, !handshakeQueue.isEmpty, handshakesStarvedAt == nil
    {
      let id = handshakeQueue.removeFirst()
      guard links.contains(id), links[id].phase != .closing, let tls = links[id].tls else {
        continue
      }
      steps += 1
      openUnopened(of: links[id], tls, id)
    }
    if handshakeQueue.count <= Limits.handshakesWaitingMax / 2 { resumeAccepting() }
  }

  /// Steps 3 and 4 for bytes that were put aside. They are copied behind room for an unfinished
  /// record, into a buffer for tunnels to send from: those are never lent to the kernel.
  private func openUnopened(of link: Link, _ tls: TLSTransport, _ id: SlotID) {
    guard let buffer = store[ShardPool.tunnelSend].take() else {
      handshakesStarvedAt = store.returnCount
      handshakeQueue.append(id)
      return
    }
    let bytes = tls.unopened
    tls.unopened = []
    let slice = Slice(
      buffer: buffer, offset: store[ShardPool.carry].shape.bytes, count: bytes.count)
    bytes.withUnsafeBytes { store.mutableBytes(slice).copyMemory(from: $0) }
    link.bytesIn += UInt64(bytes.count)
    link.liveness?.received(at: now)
    openRecords(of: link, tls, id, slice)
    store.release(slice)
    guard link.phase != .closing, link.heldRefusal == nil else { return }
    if tls.hasEnded { endLink(id, .peerClosed) } else { armReceive(of: link, tls, id) }
  }
}
