// Packets of tunnels over QUIC: from sockets to their endpoint, and in batches from endpoints to
// sockets (steps 1 to 4 and 9 to 11 of a byte's path, where a packet takes a record's place).
//
//   socket ─▶ receive ─▶ endpoint ─▶ tunnels with events (ShardQUIC)
//                  └─ of another shard ─▶ its mailbox
//   socket ◀─ batch of one size, cut by the kernel ◀─ endpoint

import RIBase
import RIQUIC
import RIRing

extension Shard {
  // MARK: Sockets

  /// Readies a socket for packets, and receives.
  func openPackets(
    on socket: Socket, local: SocketAddress, peer: SocketAddress?, port id: SlotID
  ) -> SlotID? {
    ring.set(.receiveBufferBytes(Limits.packetSocketBufferBytes), on: socket)
    ring.set(.sendBufferBytes(Limits.packetSocketBufferBytes), on: socket)
    ring.set(.congestionMarks, on: socket)
    ring.set(.unfragmented, on: socket)
    let sizes = ring.bufferBytes(of: socket)
    warnOfSmallBuffers(sizes)
    let send = sizes?.send ?? Limits.packetSocketBufferBytes
    let pendingMax =
      Limits.packetBatchesPendingMax * min(send, Limits.packetSocketBufferBytes)
      / Limits.packetSocketBufferBytes
    let slot = packetSockets.insert(
      PacketSocket(
        socket: socket, local: local, peer: peer, port: id, pendingMax: max(1, pendingMax)))
    guard let slot else {
      discard(socket, .graceful)
      return nil
    }
    packetPorts[id].sockets.append(slot)
    armPackets(slot)
    return slot
  }

  /// One warning for each engine: lost packets would be all that shows.
  private func warnOfSmallBuffers(_ sizes: (receive: Int, send: Int)?) {
    guard let sizes, !hasWarnedOfBuffers, index == 0 else { return }
    let wanted = Limits.packetSocketBufferBytes
    for (name, bytes) in [("rmem_max", sizes.receive), ("wmem_max", sizes.send)]
    where bytes < wanted {
      hasWarnedOfBuffers = true
      report(
        .warning(
          "a UDP socket's buffer has \(bytes) bytes: "
            + "set the sysctl net.core.\(name) to \(wanted) for QUIC at full speed"))
    }
  }

  func armPackets(_ slot: SlotID) {
    guard packetSockets.contains(slot), !packetSockets[slot].isReceiving,
      !packetSockets[slot].isClosing
    else { return }
    packetSockets[slot].isReceiving = true
    ring.receiveDatagrams(
      on: packetSockets[slot].socket, into: ShardPool.packetReceive,
      token: OperationToken(.packetReceive, slot).token)
  }

  func closePackets(_ slot: SlotID) {
    guard packetSockets.contains(slot), !packetSockets[slot].isClosing else { return }
    packetSockets[slot].isClosing = true
    let port = packetSockets[slot].port
    if packetPorts.contains(port) { packetPorts[port].sockets.removeAll { $0 == slot } }
    ring.close(
      packetSockets[slot].socket, mode: .graceful, token: OperationToken(.packetClose, slot).token)
  }

  func packetsClosed(_ slot: SlotID) {
    packetSockets.remove(slot)
    finishStopAccepting()
  }

  /// Ends a port at once; what its endpoint has not sent is not sent any more.
  func closePort(_ id: SlotID) {
    let port = packetPorts[id]
    for slot in port.sockets { closePackets(slot) }
    port.endpoint.end()
    metrics.packets.add(port.endpoint.counters.packets)
    packetPorts.remove(id)
  }

  // MARK: Receiving

  func packetsReceived(_ slot: SlotID, _ completion: Completion) {
    guard packetSockets.contains(slot) else {
      if let slice = completion.slice { store.release(slice) }
      return
    }
    if let slice = completion.slice {
      if !packetSockets[slot].isClosing {
        if let datagram = ring.datagram(in: completion, of: packetSockets[slot].socket) {
          take(datagram, slot)
        } else {
          counters.packetsCut += 1
        }
      }
      store.release(slice)
    }
    guard !completion.more else { return }
    packetSockets[slot].isReceiving = false
    guard !packetSockets[slot].isClosing else { return }
    switch completion.result {
    case -ErrorNumber.cancelled: break
    case -ErrorNumber.noBuffers:
      starvedReceivers.append(OperationToken(.packetReceive, slot))
    case -ErrorNumber.connectionRefused:
      packetsRefused(slot)
      armPackets(slot)
    // A path that is gone or too narrow: what is sent next may go another way.
    default: schedule(.packets, slot, at: now + Limits.acceptPause)
    }
  }

  private func take(_ datagram: Datagram, _ slot: SlotID) {
    let socket = packetSockets[slot]
    packetSockets[slot].refusals = 0
    var local = socket.local
    if local.ip.isAny, let ip = datagram.local { local.ip = ip }
    let bytes = store.bytes(datagram.payload)
    if case .hub = role, let first = bytes.first, first & 0x80 != 0 {
      return waitForTurn(datagram, bytes, local, socket.port)
    }
    receive(
      bytes, segmentBytes: datagram.segmentBytes, from: datagram.source, to: local,
      datagram.congestionMarks, socket.port)
    // Somebody is there. What else waits in it is lost, as packets may be.
    if socket.listensForRefusals { closePackets(slot) }
  }

  private func receive(
    _ bytes: UnsafeRawBufferPointer, segmentBytes: Int, from remote: SocketAddress,
    to local: SocketAddress, _ congestionMarks: UInt8, _ id: SlotID
  ) {
    guard packetPorts.contains(id) else { return }
    let port = packetPorts[id]
    let receipt = port.endpoint.receive(
      bytes, segmentBytes: segmentBytes, from: remote, to: local, ecn: congestionMarks, now: now)
    if case .foreign(let shard) = receipt, case .hub(let hub) = role {
      hub.handOver(
        Int(shard),
        ForeignPackets(
          bytes: Array(bytes), segmentBytes: segmentBytes, remote: remote, local: local,
          congestionMarks: congestionMarks))
    }
    pollTunnels(of: port, id)
  }

  /// Another shard's socket has received packets of a link of ours, as their sender has moved.
  func receiveForeign(_ packets: ForeignPackets) {
    guard case .hub(let hub) = role, let id = hub.packetPort, packetPorts.contains(id) else {
      return
    }
    let port = packetPorts[id]
    packets.bytes.withUnsafeBytes {
      _ = port.endpoint.receive(
        $0, segmentBytes: packets.segmentBytes, from: packets.remote, to: packets.local,
        ecn: packets.congestionMarks, now: now, isHandedOver: true)
    }
    pollTunnels(of: port, id)
  }

  // MARK: Handshakes by turns

  /// A packet with a long header belongs to a handshake (RFC 9000 section 17.2), which costs what a
  /// TLS handshake costs: it waits for its turn as those do (`ShardHandshakes`).
  private func waitForTurn(
    _ datagram: Datagram, _ bytes: UnsafeRawBufferPointer, _ local: SocketAddress, _ port: SlotID
  ) {
    guard waitingPackets.count < Limits.handshakesMax else {
      counters.handshakesRefused += 1
      metrics.packets.drops.waiting += 1
      return
    }
    waitingPackets.append(
      WaitingPackets(
        bytes: Array(bytes), segmentBytes: datagram.segmentBytes, remote: datagram.source,
        local: local, congestionMarks: datagram.congestionMarks, port: port))
  }

  /// Gives the next packets of handshakes their turn.
  func advancePacketHandshakes() {
    guard !waitingPackets.isEmpty else { return }
    let count = min(waitingPackets.count, Limits.handshakeStepsPerTick)
    let turn = waitingPackets[..<count]
    waitingPackets.removeFirst(count)
    for packets in turn {
      packets.bytes.withUnsafeBytes {
        receive(
          $0, segmentBytes: packets.segmentBytes, from: packets.remote, to: packets.local,
          packets.congestionMarks, packets.port)
      }
    }
  }

  // MARK: Time

  /// When an endpoint is to be looked after next.
  var nextPacketDeadline: Instant? {
    var deadline: Instant? = waitingPackets.isEmpty && !hasUnsentPackets ? nil : now
    for index in 0..<packetPorts.slotsEverUsed {
      guard let id = packetPorts.id(at: index), let next = packetPorts[id].endpoint.nextDeadline
      else { continue }
      deadline = min(deadline ?? next, next)
    }
    return deadline
  }

  func handlePacketDeadlines() {
    for index in 0..<packetPorts.slotsEverUsed {
      guard let id = packetPorts.id(at: index) else { continue }
      let port = packetPorts[id]
      guard let deadline = port.endpoint.nextDeadline, deadline <= now else { continue }
      port.endpoint.handleDeadline(now: now)
      pollTunnels(of: port, id)
    }
  }

  // MARK: Sending

  /// Sends what endpoints have, tells what that has changed, and so on for some rounds.
  func flushPackets() {
    hasUnsentPackets = false
    for index in 0..<packetPorts.slotsEverUsed {
      guard let id = packetPorts.id(at: index) else { continue }
      let port = packetPorts[id]
      var rounds = 0
      while sendPackets(of: port) {
        pollTunnels(of: port, id)
        rounds += 1
        if rounds == Limits.packetRoundsPerTick {
          hasUnsentPackets = hasUnsentPackets || port.endpoint.hasOutput
          break
        }
      }
      if port.isClosing, !port.endpoint.hasOutput,
        port.sockets.allSatisfy({ packetSockets[$0].pending == 0 })
      {
        closePort(id)
      }
    }
    settleTunnels()
  }

  /// Sends batches until the endpoint has none; true when there were any and there may be more
  /// after a look at the tunnels. What finds a socket busy waits in its endpoint.
  private func sendPackets(of port: PacketPort) -> Bool {
    var count = 0
    while port.endpoint.hasOutput {
      guard port.sockets.allSatisfy({ packetSockets[$0].pending < packetSockets[$0].pendingMax }),
        let buffer = store[ShardPool.packetSend].take()
      else { break }
      let room = Slice(buffer: buffer, offset: 0, count: store[ShardPool.packetSend].shape.bytes)
      guard let batch = port.endpoint.pollPackets(into: store.mutableBytes(room), now: now) else {
        store.release(buffer)
        break
      }
      count += 1
      send(batch, Slice(buffer: buffer, offset: 0, count: batch.byteCount), of: port)
    }
    return count > 0
  }

  /// Sends a batch, and takes over its reference.
  private func send(_ batch: QUICPacketBatch, _ bytes: Slice, of port: PacketPort) {
    // Of a path that is no more, nothing leaves.
    guard let slot = socket(for: batch, of: port) else { return store.release(bytes) }
    if packetSockets[slot].cutsSegments || batch.segmentBytes >= batch.byteCount {
      send(PacketSend(socket: slot, bytes: bytes, segmentBytes: batch.segmentBytes, batch: batch))
    } else {
      sendOneByOne(batch, bytes, slot)
    }
  }

  /// The socket of a batch's path: one that is for its peer alone before one that is for all.
  private func socket(for batch: QUICPacketBatch, of port: PacketPort) -> SlotID? {
    var shared: SlotID?
    for slot in port.sockets {
      let socket = packetSockets[slot]
      guard socket.peer == nil || socket.peer == batch.remote else { continue }
      let isAny = socket.local.ip.isAny && socket.local.ip.family == batch.local.ip.family
      guard isAny || socket.local == batch.local else { continue }
      if socket.peer != nil { return slot }
      shared = shared ?? slot
    }
    return shared
  }

  func send(_ send: PacketSend) {
    guard let id = packetSends.insert(send) else { return store.release(send.bytes) }
    let socket = packetSockets[send.socket]
    packetSockets[send.socket].pending += 1
    ring.sendDatagram(
      send.bytes, segmentBytes: send.segmentBytes, on: socket.socket,
      to: socket.peer == nil ? send.batch.remote : nil,
      from: socket.local.ip.isAny ? send.batch.local.ip : nil,
      congestionMarks: send.batch.ecn, token: OperationToken(.packetSend, id).token)
  }

  /// A batch as its packets, each by itself.
  private func sendOneByOne(_ batch: QUICPacketBatch, _ bytes: Slice, _ slot: SlotID) {
    var rest = bytes
    while rest.count > 0 {
      let packet = rest.removePrefix(min(batch.segmentBytes, Int(rest.count)))
      store.retain(packet)
      send(
        PacketSend(socket: slot, bytes: packet, segmentBytes: Int(packet.count), batch: batch))
    }
    store.release(bytes)
  }

  func packetsSent(_ id: SlotID, _ completion: Completion) {
    guard let send = packetSends.remove(id) else { return }
    guard packetSockets.contains(send.socket) else { return store.release(send.bytes) }
    packetSockets[send.socket].pending -= 1
    let isBatch = send.segmentBytes < Int(send.bytes.count)
    switch completion.result {
    // The kernel, the device or the path does not cut batches: one more try, and no more batches
    // on this socket (udp(7)).
    case -ErrorNumber.invalidArgument where isBatch, -ErrorNumber.messageTooLong where isBatch,
      -ErrorNumber.inputOutput where isBatch, -ErrorNumber.notSupported where isBatch:
      packetSockets[send.socket].cutsSegments = false
      guard !packetSockets[send.socket].isClosing else { break }
      counters.batchesRefused += 1
      return sendOneByOne(send.batch, send.bytes, send.socket)
    case -ErrorNumber.connectionRefused: packetsRefused(send.socket)
    // Lost, as packets may be: the endpoint sends again what mattered. A probe of the path's MTU
    // may be longer than the device takes.
    default: break
    }
    store.release(send.bytes)
  }
}
