// Simulated TCP: connecting, byte streams with bounded buffers, half-close and reset.

import Glibc
import RIBase

extension SimulatedKernel {
  // MARK: Connecting

  func startConnect(_ socket: SimulatedSocket, to remote: SocketAddress) {
    socket.remote = remote
    socket.local = SocketAddress(
      sourceAddress(on: socket.host, to: remote.ip), ephemeralPort())
    let host = host(of: remote.ip, from: socket.host)
    let time = now + delay(host.map { line(from: socket.host, to: $0) })
    schedule(.syn(socket, attempt: 0), at: time)
  }

  /// A connection request at its destination: accepted into the backlog, refused, or lost and sent
  /// again after 1, 2, 4, … s (tcp_syn_retries of tcp(7)).
  func synArrived(from client: SimulatedSocket, attempt: Int) {
    guard !client.isClosed, client.connect != nil, let remote = client.remote else { return }
    guard let host = host(of: remote.ip, from: client.host) else {
      schedule(.refused(client, EHOSTUNREACH), at: now + delay())
      return
    }
    let matching = (listeners[remote.port] ?? []).filter {
      $0.host == host && $0.family == client.family
        && ($0.local.ip.isAny || $0.local.ip == remote.ip)
    }
    let lost = isPartitioned(client.host, host)
    if matching.isEmpty, !lost {
      let time = now + delay(line(from: host, to: client.host))
      schedule(.refused(client, ECONNREFUSED), at: time)
      return
    }
    guard !lost else { return resend(client, attempt) }
    // SO_REUSEPORT spreads connections over the listeners.
    let listener = matching[matching.count == 1 ? 0 : chance.below(matching.count)]
    guard listener.backlog.count < listener.backlogMax else { return resend(client, attempt) }

    let server = newSocket(.stream, remote, host)
    server.sendCapacity = listener.sendCapacity
    server.receiveCapacity = listener.receiveCapacity
    server.remote = client.local
    let toServer = SimulatedPipe(
      from: client, to: server, line: line(from: client.host, to: host))
    let toClient = SimulatedPipe(
      from: server, to: client, line: line(from: host, to: client.host))
    (client.outgoing, client.incoming) = (toServer, toClient)
    (server.outgoing, server.incoming) = (toClient, toServer)
    listener.backlog.append(server)
    arrived(at: listener)
    let time = now + delay(toClient.line)
    toClient.lastArrival = time
    schedule(.connected(client), at: time)
  }

  private func resend(_ client: SimulatedSocket, _ attempt: Int) {
    if attempt == 6 {
      finishConnect(client, -ETIMEDOUT)
    } else {
      schedule(.syn(client, attempt: attempt + 1), at: now + .seconds(1 << Int64(attempt)))
    }
  }

  func connectionMade(_ client: SimulatedSocket) {
    guard !client.isClosed, client.failure == 0 else { return }
    client.isConnected = true
    finishConnect(client, 0)
    list(client)
  }

  func finishConnect(_ client: SimulatedSocket, _ result: Int32) {
    guard let operation = client.connect else { return }
    client.connect = nil
    ring(operation.ring)?.end(operation.token, result)
  }

  // MARK: Segments

  /// Puts on their way whatever the receiver's buffer has room for.
  func transmit(_ pipe: SimulatedPipe) {
    let capacity = pipe.reader?.receiveCapacity ?? receiveBufferBytes
    while let segment = pipe.nextSegment(receiveCapacity: capacity) {
      let time = arrival(of: segment.byteCount, on: pipe.line)
      pipe.lastArrival = max(pipe.lastArrival, time)
      schedule(.arrival(pipe), at: pipe.lastArrival)
    }
  }

  func segmentArrived(_ pipe: SimulatedPipe) {
    guard !isPartitioned(pipe.from, pipe.to) else {
      // Lost, and sent again (RTO) until it gets through.
      schedule(.arrival(pipe), at: now + .milliseconds(200))
      return
    }
    guard let segment = pipe.arrive() else { return }
    if case .data = segment {
      if pipe.isReaderGone {
        pipe.kill()
        sendReset(to: pipe.writer, from: pipe.to, after: pipe)
        return
      }
      if chance.chance(faults.reset) {
        sendReset(to: pipe.writer, from: pipe.to, after: pipe)
        if let reader = pipe.reader { resetArrived(reader) }
        return
      }
    }
    if let reader = pipe.reader { arrived(at: reader) }
    if let writer = pipe.writer { progressSend(writer) }
  }

  /// The next segment on its way to a socket arrives now, if it arrives at all.
  func hasten(_ socket: SimulatedSocket) {
    guard let pipe = socket.incoming, !isPartitioned(pipe.from, pipe.to) else { return }
    _ = pipe.arrive()
    if let writer = pipe.writer { progressSend(writer) }
  }

  // MARK: Sending

  /// Moves the pending send on as far as there is room, and ends it where its mode says so.
  func progressSend(_ socket: SimulatedSocket) {
    guard var operation = socket.send, let ring = ring(operation.ring) else { return }
    if let code = sendError(socket) { return finishSend(socket, -code) }
    guard let pipe = socket.outgoing else { return }
    var n = min(pipe.room(socket.sendCapacity), operation.total - operation.sent)
    if n > 1, chance.chance(faults.shortSend) {
      n = 1 + chance.below(n)
      tally.shortSends += 1
    }
    if n > 0 {
      copy(operation, n, from: ring.store, to: pipe)
      operation.sent += n
      socket.send = operation
      transmit(pipe)
    }
    switch operation.mode {
    case .attempt: finishSend(socket, operation.sent > 0 ? Int32(operation.sent) : -EAGAIN)
    case .some where operation.sent > 0, .all where operation.sent == operation.total:
      finishSend(socket, Int32(operation.sent))
    case .some, .all: break
    }
  }

  func finishSend(_ socket: SimulatedSocket, _ result: Int32) {
    guard let operation = socket.send else { return }
    socket.send = nil
    ring(operation.ring)?.end(operation.token, result)
  }

  private func sendError(_ socket: SimulatedSocket) -> Int32? {
    if socket.failure != 0 { return socket.failure }
    guard socket.isConnected, let pipe = socket.outgoing else { return EPIPE }
    return pipe.isFinished || pipe.isDead ? EPIPE : nil
  }

  private func copy(
    _ operation: SimulatedSocket.PendingSend, _ count: Int, from store: BufferStore,
    to pipe: SimulatedPipe
  ) {
    var skip = operation.sent
    var left = count
    store.forEach(in: operation.queue) { slice in
      let bytes = store.bytes(slice)
      if skip >= bytes.count {
        skip -= bytes.count
        return true
      }
      let part = bytes[skip..<min(bytes.count, skip + left)]
      pipe.write(UnsafeRawBufferPointer(rebasing: part))
      left -= part.count
      skip = 0
      return left > 0
    }
  }

  // MARK: Ending

  func shutdownSending(_ socket: SimulatedSocket) {
    guard let pipe = socket.outgoing else { return }
    pipe.finish()
    transmit(pipe)
  }

  /// What close(2) does to a connection: FIN after the unsent bytes, or a reset when asked for or
  /// when received bytes were never read (RFC 2525 section 2.17).
  func closeStream(_ socket: SimulatedSocket, mode: CloseMode) {
    guard let incoming = socket.incoming, let outgoing = socket.outgoing else { return }
    incoming.isReaderGone = true
    guard socket.failure == 0 else { return }
    if mode == .reset || incoming.arrived > 0 {
      outgoing.kill()
      sendReset(to: outgoing.reader, from: socket.host, after: outgoing)
    } else {
      outgoing.finish()
      transmit(outgoing)
    }
  }

  /// Sends a reset, which arrives behind what is on its way already.
  private func sendReset(
    to peer: SimulatedSocket?, from host: SimulatedHost, after pipe: SimulatedPipe
  ) {
    guard let peer, !peer.isClosed else { return }
    schedule(.reset(peer, from: host), at: max(pipe.lastArrival, now + delay(pipe.line)))
  }

  /// Bytes that arrived before the reset can still be read.
  func resetArrived(_ socket: SimulatedSocket) {
    guard !socket.isClosed, socket.failure == 0 else { return }
    socket.failure = ECONNRESET
    socket.incoming?.kill()
    socket.outgoing?.kill()
    finishConnect(socket, -ECONNRESET)
    finishSend(socket, -ECONNRESET)
    arrived(at: socket)
  }
}
