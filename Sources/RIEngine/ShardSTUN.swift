// The edge asks a STUN server under which address the Internet sees it (SPEC 4.4). RIControl's
// `STUNClient` says what to do when; here are its socket, its timer and its look-ups.

import RIBase
import RIControl
import RIRing
import RIWire

/// What an edge's shard holds for STUN.
struct STUNDesk {
  var client = STUNClient()
  /// nil: the setting is no `host:port`.
  let server: (host: String, port: Port)?
  var socket: Socket?
  var isReceiving = false
  /// The request on its way into the socket.
  var sending: Slice?
  /// Counts sockets and look-ups, and names their operations: what belongs to an older one is
  /// dropped.
  var serial: UInt32 = 0
  var timer: TimerID?

  init(server text: String) {
    guard let colon = text.lastIndex(of: ":"), let port = Port(text[text.index(after: colon)...])
    else {
      server = nil
      return
    }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    server = (String(host), port)
  }

  var slot: SlotID { SlotID(index: 0, generation: serial) }
}

extension Shard {
  /// 0: off.
  func configureSTUN(intervalSeconds: Int, _ edge: EdgeState) {
    guard edge.stun.server != nil, case .running = phase else { return }
    edge.stun.client.configure(intervalSeconds: intervalSeconds, now: now)
    advanceSTUN(edge)
  }

  func stopSTUN() {
    guard case .edge(let edge) = role else { return }
    edge.stun.client.stop()
    closeSTUN(edge)
    rescheduleSTUN(edge)
  }

  func stunTimerFired() {
    guard case .edge(let edge) = role else { return }
    edge.stun.timer = nil
    advanceSTUN(edge)
  }

  private func advanceSTUN(_ edge: EdgeState) {
    while let action = edge.stun.client.poll(now: now, random: { ring.random() }) {
      switch action {
      case .resolve: resolveSTUN(edge)
      case .open(let server): openSTUN(server, edge)
      case .send(let request): sendSTUN(request, edge)
      case .close: closeSTUN(edge)
      case .discovered(let address): report(.publicAddressDiscovered(address))
      case .warn(let text): report(.warning(text))
      }
    }
    rescheduleSTUN(edge)
  }

  private func rescheduleSTUN(_ edge: EdgeState) {
    if let timer = edge.stun.timer { timers.cancel(timer) }
    edge.stun.timer = edge.stun.client.nextDeadline.flatMap { schedule(.stun, at: $0) }
  }

  private func stunFailed(code: Int32, _ edge: EdgeState) {
    edge.stun.client.failed(errnoText(code), now: now)
    advanceSTUN(edge)
  }

  // MARK: Look-ups

  private func resolveSTUN(_ edge: EdgeState) {
    guard let server = edge.stun.server else { return }
    edge.stun.serial &+= 1
    ring.resolve(
      host: server.host, port: server.port,
      token: OperationToken(.stunResolve, edge.stun.slot).token)
  }

  func stunResolved(_ slot: SlotID, _ completion: Completion) {
    guard case .edge(let edge) = role, slot == edge.stun.slot else { return }
    guard completion.result > 0 else { return stunFailed(code: -completion.result, edge) }
    edge.stun.client.resolved(ring.takeAddresses(completion.token), now: now)
    advanceSTUN(edge)
  }

  // MARK: The socket

  private func openSTUN(_ server: SocketAddress, _ edge: EdgeState) {
    closeSTUN(edge)
    do throws(RingError) {
      edge.stun.socket = try ring.connectDatagram(to: server)
      edge.stun.serial &+= 1
      receiveSTUN(edge)
    } catch {
      edge.stun.client.failed("\(error)", now: now)
    }
  }

  private func closeSTUN(_ edge: EdgeState) {
    guard let socket = edge.stun.socket else { return }
    edge.stun.socket = nil
    edge.stun.isReceiving = false
    refuse(socket)
  }

  private func receiveSTUN(_ edge: EdgeState) {
    guard let socket = edge.stun.socket, !edge.stun.isReceiving else { return }
    edge.stun.isReceiving = true
    ring.receiveDatagrams(
      on: socket, into: ShardPool.small, token: OperationToken(.stunReceive, edge.stun.slot).token)
  }

  func stunReceived(_ slot: SlotID, _ completion: Completion) {
    defer { if let slice = completion.slice { store.release(slice) } }
    guard case .edge(let edge) = role, slot == edge.stun.slot, let socket = edge.stun.socket else {
      return
    }
    if !completion.more { edge.stun.isReceiving = false }
    if completion.slice != nil {
      if let datagram = ring.datagram(in: completion, of: socket) { take(datagram, edge) }
      advanceSTUN(edge)
    } else if completion.result < 0, completion.result != -ErrorNumber.noBuffers,
      completion.result != -ErrorNumber.cancelled
    {
      stunFailed(code: -completion.result, edge)
    }
  }

  /// A datagram, or several that the kernel has joined.
  private func take(_ datagram: Datagram, _ edge: EdgeState) {
    var rest = datagram.payload
    repeat {
      let piece = rest.removePrefix(min(max(datagram.segmentBytes, 1), Int(rest.count)))
      edge.stun.client.received(store.bytes(piece), from: datagram.source, now: now)
    } while rest.count > 0
  }

  /// Without a buffer, or while one request is still on its way, nothing is sent: the request is
  /// repeated soon, as if it had been lost.
  private func sendSTUN(_ request: [UInt8], _ edge: EdgeState) {
    // A receive that found no buffer is armed again.
    receiveSTUN(edge)
    guard let socket = edge.stun.socket, edge.stun.sending == nil,
      let buffer = store[ShardPool.small].take()
    else { return }
    let slice = Slice(buffer: buffer, offset: 0, count: request.count)
    store.mutableBytes(slice).copyBytes(from: request)
    edge.stun.sending = slice
    ring.sendDatagram(
      slice, segmentBytes: 0, on: socket, to: nil, from: nil,
      token: OperationToken(.stunSend, edge.stun.slot).token)
  }

  func stunSent(_ slot: SlotID, _ completion: Completion) {
    guard case .edge(let edge) = role else { return }
    if let slice = edge.stun.sending { store.release(slice) }
    edge.stun.sending = nil
    // The answer to the request before may have been an ICMP error: it ends this one.
    guard slot == edge.stun.slot, edge.stun.socket != nil, completion.result < 0,
      completion.result != -ErrorNumber.cancelled, completion.result != -ErrorNumber.wouldBlock
    else { return }
    stunFailed(code: -completion.result, edge)
  }
}
