// Listening sockets: the hub's for tunnels, the edge's for clients.

import RIBase
import RIRing

/// A listening socket. Trivial.
struct Listener {
  var socket: Socket
  var address: SocketAddress
  var purpose: Purpose
  /// Whether an accept, or a receive of datagrams, is pending.
  var isAccepting = false
  var isClosing = false

  enum Purpose {
    case tunnels, clients
    /// UDP.
    case datagrams
  }
}

extension Shard {
  /// Opens a listener and accepts on it.
  func openListener(
    on address: SocketAddress, purpose: Listener.Purpose, reusePort: Bool
  ) throws(RingError) -> SlotID {
    try checkRoomForListener("listen")
    let socket = try ring.listen(
      on: address, reusePort: reusePort, backlog: Limits.listenBacklog)
    let bound = ring.localAddress(of: socket) ?? address
    guard purpose == .tunnels || !isReserved(socket),
      let id = listeners.insert(Listener(socket: socket, address: bound, purpose: purpose))
    else {
      refuse(socket)
      throw RingError(call: "listen", code: ErrorNumber.tooManyFiles)
    }
    armAccept(id)
    return id
  }

  /// Opens a UDP port for clients.
  func openDatagramListener(on address: SocketAddress) throws(RingError) -> SlotID {
    try checkRoomForListener("bind")
    let socket = try ring.bindDatagram(to: address, reusePort: false)
    ring.set(.receiveBufferBytes(Limits.datagramPortBufferBytes), on: socket)
    ring.set(.sendBufferBytes(Limits.datagramPortBufferBytes), on: socket)
    let bound = ring.localAddress(of: socket) ?? address
    guard !isReserved(socket),
      let id = listeners.insert(Listener(socket: socket, address: bound, purpose: .datagrams))
    else {
      discard(socket, .graceful)
      throw RingError(call: "bind", code: ErrorNumber.tooManyFiles)
    }
    armAccept(id)
    return id
  }

  /// Makes no socket for a listener that has no place: a hub may ask for every port there is, and
  /// what fails is tried again every few seconds.
  private func checkRoomForListener(_ call: String) throws(RingError) {
    guard listeners.count < listeners.capacity else {
      throw RingError(call: call, code: ErrorNumber.tooManyFiles)
    }
  }

  /// Whether listening failed because the machine has no IPv6, which "all addresses" may lack.
  func isWithoutFamily(_ address: SocketAddress, _ error: RingError) -> Bool {
    address.ip == .anyV6
      && (error.code == ErrorNumber.noSuchFamily || error.code == ErrorNumber.noSuchAddress)
  }

  func armAccept(_ id: SlotID) {
    guard listeners.contains(id), !listeners[id].isClosing, !listeners[id].isAccepting else {
      return
    }
    let purpose = listeners[id].purpose
    if purpose == .tunnels, isAcceptPaused { return }
    listeners[id].isAccepting = true
    switch purpose {
    case .datagrams: armDatagrams(id)
    case .tunnels, .clients:
      let kind: OperationKind = purpose == .tunnels ? .tunnelAccept : .clientAccept
      ring.accept(on: listeners[id].socket, token: OperationToken(kind, id).token)
    }
  }

  func closeListener(_ id: SlotID) {
    guard listeners.contains(id), !listeners[id].isClosing else { return }
    listeners[id].isClosing = true
    if listeners[id].purpose == .datagrams {
      // What was collected for its socket leaves first: the descriptor may be another's soon.
      flushDatagrams()
      endSessions(tellsPeer: true) { $0.listener == id }
    }
    ring.close(
      listeners[id].socket, mode: .graceful, token: OperationToken(.listenerClose, id).token)
  }

  func stopAccepting(_ whenDone: @escaping () -> Void) {
    for id in listeners.ids { closeListener(id) }
    stopAdmittingPackets()
    whenNotListening = whenDone
    finishStopAccepting()
  }

  func listenerClosed(_ id: SlotID) {
    listeners.remove(id)
    finishStopAccepting()
  }

  func finishStopAccepting() {
    guard listeners.count == 0, let whenDone = whenNotListening, !isAdmittingPackets else {
      return
    }
    whenNotListening = nil
    whenDone()
  }

  /// The accepted socket of a completion, or nil after having dealt with a failure: out of
  /// descriptors means a pause, as the backlog would fail again at once.
  func acceptedSocket(_ id: SlotID, _ completion: Completion) -> Socket? {
    if !completion.more, listeners.contains(id) {
      listeners[id].isAccepting = false
      if completion.result >= 0 || completion.result == -ErrorNumber.cancelled {
        // Cancelled: closing or paused, or the pause was over before its cancellation was.
        armAccept(id)
      } else {
        schedule(.accept, id, at: now + Limits.acceptPause)
      }
    }
    return completion.result >= 0 ? Socket(descriptor: completion.result) : nil
  }

  /// Whether a socket of a client or target is one of the last that the process may have. The
  /// kernel gives the lowest number that is free.
  func isReserved(_ socket: Socket) -> Bool {
    let reserve = min(
      Limits.descriptorsReserved, descriptorsMax / Limits.descriptorsReservedDivisor)
    return Int(socket.descriptor) >= descriptorsMax - reserve
  }

  /// Leaves tunnels that come in the kernel's backlog for now.
  func pauseAccepting() {
    guard !isAcceptPaused else { return }
    isAcceptPaused = true
    for id in listeners.ids where listeners[id].purpose == .tunnels && listeners[id].isAccepting {
      ring.cancel(OperationToken(.tunnelAccept, id).token)
    }
  }

  func resumeAccepting() {
    guard isAcceptPaused else { return }
    isAcceptPaused = false
    for id in listeners.ids where listeners[id].purpose == .tunnels { armAccept(id) }
  }

  /// Closes a socket that nothing hangs on yet; its peer sees a reset.
  func refuse(_ socket: Socket) { discard(socket, .reset) }

  /// Closes a socket that nobody needs to hear of any more.
  func discard(_ socket: Socket, _ mode: CloseMode) {
    // As many as there are descriptors: a slot is only a name for the close that is under way.
    guard let id = refusals.insert(socket) else { preconditionFailure("more sockets than slots") }
    ring.close(socket, mode: mode, token: OperationToken(.refusalClose, id).token)
  }
}
