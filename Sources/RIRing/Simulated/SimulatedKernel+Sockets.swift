// The simulated kernel's descriptors and addresses: what acts at once.

import Glibc
import RIBase

extension SimulatedKernel {
  func socket(_ descriptor: Int32) -> SimulatedSocket? {
    let index = Int(descriptor) - Self.descriptorMin
    return index >= 0 && index < sockets.count ? sockets[index] : nil
  }

  /// The numbers below are standard input, output and error.
  static let descriptorMin = 3

  /// Gives the socket a descriptor in the ring's process; false when the process has its fill. The
  /// number freed last is taken first, so that a stale use hits soon.
  func open(_ socket: SimulatedSocket, in ring: SimulatedRing) -> Bool {
    guard ring.descriptorCount < min(descriptorsMax, ring.descriptorsMax) else {
      tally.descriptorsRefused += 1
      return false
    }
    ring.descriptorCount += 1
    socket.owner = ring.index
    if let descriptor = freeDescriptors.popLast() {
      socket.descriptor = descriptor
      sockets[Int(descriptor) - Self.descriptorMin] = socket
    } else {
      socket.descriptor = Int32(sockets.count + Self.descriptorMin)
      sockets.append(socket)
    }
    return true
  }

  /// Makes a socket and binds it to `address`; port 0 takes a free one.
  func makeSocket(
    _ role: SimulatedSocket.Role, at address: SocketAddress, reusePort: Bool, ring: SimulatedRing
  ) throws(RingError) -> SimulatedSocket {
    if address.ip.family == .v6, !hasIPv6 { throw RingError(call: "socket", code: EAFNOSUPPORT) }
    guard owns(address.ip, ring.host) else { throw RingError(call: "bind", code: EADDRNOTAVAIL) }
    var address = address
    let bound = role == .datagram ? datagramSockets : listeners
    if address.port == 0 {
      address.port = freePort(bound)
    } else if (bound[address.port] ?? []).contains(where: {
      $0.host == ring.host && $0.family == address.ip.family
        && ($0.local.ip == address.ip || $0.local.ip.isAny || address.ip.isAny)
        && !($0.reusesPort && reusePort)
    }) {
      throw RingError(call: "bind", code: EADDRINUSE)
    }
    let socket = newSocket(role, address, ring.host)
    socket.reusesPort = reusePort
    guard open(socket, in: ring) else { throw RingError(call: "socket", code: EMFILE) }
    switch role {
    case .datagram: datagramSockets[address.port, default: []].append(socket)
    case .listener: listeners[address.port, default: []].append(socket)
    case .stream: break
    }
    return socket
  }

  func newSocket(
    _ role: SimulatedSocket.Role, _ address: SocketAddress, _ host: SimulatedHost
  ) -> SimulatedSocket {
    SimulatedSocket(
      role, address, host: host, sendCapacity: sendBufferBytes,
      receiveCapacity: role == .datagram ? Self.datagramQueueBytes : receiveBufferBytes)
  }

  /// Closes a descriptor as close(2) does; its operations have ended before.
  func close(_ socket: SimulatedSocket, mode: CloseMode) {
    sockets[Int(socket.descriptor) - Self.descriptorMin] = nil
    freeDescriptors.append(socket.descriptor)
    ring(socket.owner)?.descriptorCount -= 1
    socket.descriptor = -1
    socket.isClosed = true
    switch socket.role {
    case .stream: closeStream(socket, mode: mode)
    case .listener:
      listeners[socket.local.port]?.removeAll { $0 === socket }
      for waiting in socket.backlog {
        waiting.isClosed = true
        closeStream(waiting, mode: .reset)
      }
      socket.backlog.removeAll()
    case .datagram: datagramSockets[socket.local.port]?.removeAll { $0 === socket }
    }
  }

  // MARK: Addresses

  /// The host that an address leads to from `host`.
  func host(of ip: IPAddress, from host: SimulatedHost) -> SimulatedHost? {
    ip.isLoopback ? host : hostOfAddress[ip]
  }

  /// The address that `host` sends from to `destination`.
  func sourceAddress(on host: SimulatedHost, to destination: IPAddress) -> IPAddress {
    if destination.isLoopback { return destination }
    let family = destination.family
    return hosts[host.index].first { $0.family == family }
      ?? (family == .v4 ? .loopbackV4 : .loopbackV6)
  }

  func ephemeralPort() -> Port {
    nextPort = nextPort == 60_999 ? 32_768 : nextPort + 1
    return nextPort
  }

  private func owns(_ ip: IPAddress, _ host: SimulatedHost) -> Bool {
    ip.isAny || ip.isLoopback || hostOfAddress[ip] == host
  }

  private func freePort(_ bound: [Port: [SimulatedSocket]]) -> Port {
    for _ in 0..<28_232 {
      let port = ephemeralPort()
      if (bound[port] ?? []).isEmpty { return port }
    }
    return ephemeralPort()
  }

  // MARK: Readiness

  /// Puts a readable socket on the list of the ring that waits for it.
  func list(_ socket: SimulatedSocket) {
    guard !socket.isListed, socket.isReadable else { return }
    guard let waiting = socket.receive?.ring ?? socket.accept?.ring, let ring = ring(waiting)
    else { return }
    socket.isListed = true
    ring.readable.append(socket)
  }

  /// Something arrived at the socket: its application notices, now or later.
  func arrived(at socket: SimulatedSocket) {
    guard !socket.isStalled else { return }
    if chance.chance(faults.stall) {
      tally.stalls += 1
      socket.isStalled = true
      schedule(.unstalled(socket), at: now + faults.stallTime)
    } else {
      list(socket)
    }
  }
}
