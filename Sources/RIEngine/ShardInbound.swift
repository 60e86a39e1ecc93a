// Steps 1 to 6 of a byte that comes out of a tunnel: received ciphertext is opened in place, frames
// are decoded, and each slice is queued on the connection that its stream belongs to.

import RIBase
import RIRing
import RITLS
import RITunnel

extension Shard {
  /// Step 1 and 2: ciphertext has arrived in a pooled buffer.
  func linkReceived(_ id: SlotID, _ completion: Completion) {
    guard links.contains(id), let tls = links[id].tls else {
      if let slice = completion.slice { store.release(slice) }
      return
    }
    let link = links[id]
    if !completion.more { tls.receiving = false }
    if let slice = completion.slice {
      link.bytesIn += UInt64(slice.count)
      if link.phase != .closing {
        link.liveness?.received(at: now)
        openRecords(of: link, tls, id, slice)
      }
      store.release(slice)
    }
    guard !completion.more, link.phase != .closing else { return }
    switch completion.result {
    case 1...: armReceive(of: link, tls, id)
    case 0: endLink(id, .peerClosed)
    case -ErrorNumber.noBuffers: starvedLinks.append(id)
    default: endLink(id, .socket(code: -completion.result))
    }
  }

  /// Step 4: opens record after record where they lie. What is left, the start of a record, is
  /// carried over to the next receive.
  func openRecords(of link: Link, _ tls: TLSTransport, _ id: SlotID, _ received: Slice) {
    var input = joined(tls, received)
    opening: while input.count > 0, link.phase != .closing {
      switch tls.session.open(&input) {
      case .plaintext(let slice): handlePlaintext(of: link, id, slice)
      case .progress: break
      case .needsMore: break opening
      case .endOfStream: endLink(id, .peerClosed)
      case .failed(let error): endLink(id, .tls(error))
      }
      if tls.session.hasControlOutput { markDirty(link, id) }
      if link.phase == .handshaking, tls.session.isEstablished { linkEstablished(link, id) }
    }
    if input.count > 0, link.phase != .closing { carryOver(input, of: tls, id) }
  }

  /// The received bytes with the unfinished record of the receive before in front of them. A copy
  /// of less than one record, so that records lie in one piece and no large buffer stays pinned.
  private func joined(_ tls: TLSTransport, _ received: Slice) -> Slice {
    guard let carried = tls.carry else { return received }
    tls.carry = nil
    let whole = Slice(
      buffer: received.buffer, offset: Int(received.offset) - Int(carried.count),
      count: Int(carried.count) + Int(received.count))
    store.mutableBytes(whole).copyMemory(from: store.bytes(carried))
    store.release(carried)
    return whole
  }

  private func carryOver(_ rest: Slice, of tls: TLSTransport, _ id: SlotID) {
    guard Int(rest.count) <= store[ShardPool.carry].shape.bytes,
      let buffer = store[ShardPool.carry].take()
    else {
      endLink(id, .outOfBuffers)
      return
    }
    let carried = Slice(buffer: buffer, offset: 0, count: Int(rest.count))
    store.mutableBytes(carried).copyMemory(from: store.bytes(rest))
    tls.carry = carried
  }

  private func handlePlaintext(of link: Link, _ id: SlotID, _ plaintext: Slice) {
    // Who was refused gets no second line.
    guard link.refusal == nil, link.heldRefusal == nil else { return }
    var rest = plaintext
    if link.phase == .awaitingLine {
      _ = rest.removePrefix(handleLine(of: link, id, store.bytes(rest)))
    }
    guard link.phase == .ready, rest.count > 0, let tunnel = link.tunnel?.framed else { return }
    // Step 5: frames, one event each; a DATA payload is an event for each piece that has arrived.
    tunnel.receive(rest)
    handleEvents(of: tunnel, link, id)
    if tunnel.hasOutput { markDirty(link, id) }
  }

  func handleEvents(of tunnel: FramedTunnel, _ link: Link, _ id: SlotID) {
    while link.phase == .ready, let event = tunnel.pollEvent(now: now) {
      handle(event, of: .framed(tunnel), link, id)
    }
  }

  /// Step 6: what a frame means for the connection at this end.
  func handle(_ event: TunnelEvent, of tunnel: Tunnel, _ link: Link, _ id: SlotID) {
    switch event {
    case .data(let stream, let slice):
      let owner = tunnel.owner(of: stream)
      guard connections.contains(owner) else { return }
      store.retain(slice)
      store.append(slice, to: &connections[owner].arriving)
      markSendPending(owner)
    case .finished(let stream):
      let owner = tunnel.owner(of: stream)
      guard connections.contains(owner) else { return }
      connections[owner].flags.insert(.remoteFinished)
      markSendPending(owner)
    case .reset(let stream):
      let owner = tunnel.owner(of: stream)
      guard connections.contains(owner) else { return }
      connections[owner].flags.insert(.streamGone)
      closeConnection(owner, .reset)
    case .closed(let stream):
      let owner = tunnel.owner(of: stream)
      if connections.contains(owner) { connections[owner].flags.insert(.streamGone) }
    case .room(let stream):
      let owner = tunnel.owner(of: stream)
      if connections.contains(owner) { markReceivePending(owner) }
    case .sustained(let stream): streamSustained(stream, of: tunnel, link)
    case .opened(let stream): streamOpened(stream, of: tunnel, link, id)
    case .sessionOpened(let stream): sessionOpened(stream, of: tunnel, link, id)
    case .datagram(let stream): datagramArrived(stream, of: tunnel, link)
    case .sessionClosed(let stream): sessionClosed(stream, of: tunnel)
    case .ping: pingReceived(tunnel, link)
    case .pong: pongReceived(tunnel.payload, link)
    case .config: configReceived(tunnel.payload, link, id)
    case .hello: helloReceived(tunnel.payload, id)
    case .ended(let error): endLink(id, .protocolViolation(error))
    }
  }
}
