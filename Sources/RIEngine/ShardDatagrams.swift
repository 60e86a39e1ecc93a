// The last steps of a datagram: collected during a tick, sent at its end, and what became of it.

import RIBase
import RIControl
import RIRing

extension Shard {
  /// Puts a datagram into the outbox, `header` and `payload` joined.
  func post(
    _ header: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer, of id: SlotID,
    on socket: Socket, to destination: SocketAddress?, from source: IPAddress?
  ) {
    guard header.count + payload.count <= Limits.udpPayloadBytesMax else {
      counters.drops.tooLong += 1
      return
    }
    let isTaken = outbox.append(
      header, payload, of: id, on: socket, to: destination, from: source,
      segmentBytesMax: segmentBytesMax, store: store)
    if !isTaken { counters.drops.noBuffer += 1 }
  }

  /// Sends what the tick has collected so far.
  func flushDatagrams() {
    guard !outbox.isEmpty else { return }
    outbox.takeRuns { send($0) }
  }

  /// Sends the last of what the tick has collected.
  func finishDatagrams() {
    flushDatagrams()
    outbox.rest(store)
  }

  /// Sends a run, and takes over its reference.
  private func send(_ run: DatagramRun) {
    guard let slot = pendingDatagrams.insert(run) else {
      counters.drops.socketFull += UInt64(run.count)
      store.release(run.bytes)
      return
    }
    ring.sendDatagram(
      run.bytes, segmentBytes: run.count > 1 ? run.segmentBytes : 0, on: run.socket,
      to: run.destination, from: run.source, token: OperationToken(.datagramSend, slot).token)
  }

  func datagramSent(_ slot: SlotID, _ completion: Completion) {
    guard let run = pendingDatagrams.remove(slot) else { return }
    defer { store.release(run.bytes) }
    let count = UInt64(run.count)
    switch completion.result {
    case 0...:
      let sent =
        completion.result < run.bytes.count
        ? UInt64(Int(completion.result) / max(run.segmentBytes, 1)) : count
      counters.datagramsDelivered += sent
      counters.drops.socketFull += count - sent
    case -ErrorNumber.connectionRefused:
      counters.drops.refused += count
      if sessions.contains(run.session), !outlivesRefusal(run.session) {
        endSession(run.session, tellsPeer: true)
      }
    case -ErrorNumber.wouldBlock, -ErrorNumber.noBuffers: counters.drops.socketFull += count
    // A path too narrow for the run's datagrams (udp(7)): runs of smaller ones go on.
    case -ErrorNumber.invalidArgument where run.count > 1,
      -ErrorNumber.messageTooLong where run.count > 1:
      segmentBytesMax = min(segmentBytesMax, run.segmentBytes - 1)
      sendOneByOne(run)
    // A device that cuts none, for it makes no checksums: there are no more runs.
    case -ErrorNumber.inputOutput where run.count > 1,
      -ErrorNumber.notSupported where run.count > 1:
      segmentBytesMax = 0
      sendOneByOne(run)
    default: counters.drops.failed += count
    }
  }

  /// The kernel did not take a run: its datagrams are sent again, each by itself.
  private func sendOneByOne(_ run: DatagramRun) {
    guard canSend(run) else {
      counters.drops.failed += UInt64(run.count)
      return
    }
    var rest = run.bytes
    while rest.count > 0 {
      var single = run
      single.bytes = rest.removePrefix(min(run.segmentBytes, Int(rest.count)))
      single.count = 1
      store.retain(single.bytes)
      send(single)
    }
  }

  /// Whether the socket of a run that has been under way is still there.
  private func canSend(_ run: DatagramRun) -> Bool {
    guard sessions.contains(run.session) else { return false }
    let session = sessions[run.session]
    if case .hub = role { return session.socket == run.socket.descriptor }
    return listeners.contains(session.listener) && !listeners[session.listener].isClosing
  }
}
