// Simulated UDP: datagrams that may be lost, doubled or overtaken.

import CLinuxIO
import Glibc
import RIBase

extension SimulatedKernel {
  /// Bytes that a datagram socket queues before it drops, unless told otherwise
  /// (net.core.rmem_default).
  static var datagramQueueBytes: Int { 212_992 }

  /// Sends the payload as datagrams of `segmentBytes` each; returns its bytes or a negated errno.
  func sendDatagrams(
    _ payload: UnsafeRawBufferPointer, segmentBytes: Int, on socket: SimulatedSocket,
    to destination: SocketAddress?, from source: IPAddress?, congestionMarks: UInt8
  ) -> Int32 {
    if socket.failure != 0 { return -socket.takeFailure() }
    guard var destination = destination ?? socket.remote else { return -EDESTADDRREQ }
    if let inside = translations.first(where: { $0.value == destination }) {
      destination = inside.key
    }
    let size = segmentBytes > 0 ? segmentBytes : max(payload.count, 1)
    guard size <= (destination.ip.family == .v4 ? 65_507 : 65_527) else { return -EMSGSIZE }
    if let refusal = faults.segmentRefusal, size < payload.count, size > refusal.above {
      return -refusal.code
    }
    guard let host = host(of: destination.ip, from: socket.host) else { return -ENETUNREACH }
    var local = socket.local
    if let source { local.ip = source }
    if local.ip.isAny { local.ip = sourceAddress(on: socket.host, to: destination.ip) }
    local = translations[local] ?? local
    var start = 0
    repeat {
      let end = min(payload.count, start + size)
      send(
        SimulatedDatagram(
          source: local, destination: destination, payload: Array(payload[start..<end]),
          congestionMarks: congestionMarks),
        from: socket.host, to: host)
      start = end
    } while start < payload.count
    return Int32(payload.count)
  }

  private func send(
    _ datagram: SimulatedDatagram, from: SimulatedHost, to: SimulatedHost
  ) {
    guard !isPartitioned(from, to), !chance.chance(faults.datagramLoss) else { return }
    let copies = chance.chance(faults.datagramDuplicate) ? 2 : 1
    for _ in 0..<copies {
      let line = line(from: from, to: to)
      var time = arrival(of: datagram.payload.count, on: line)
      if chance.chance(faults.datagramReorder) {
        let longest = max((line.path?.delay ?? faults.delay).upperBound.nanoseconds, 1_000)
        time = time + Interval(nanoseconds: Int64(chance.below(Int(longest) * 8)))
      }
      schedule(.datagram(datagram, to: to), at: time)
    }
  }

  func datagramArrived(_ datagram: SimulatedDatagram, at host: SimulatedHost) {
    let matching = (datagramSockets[datagram.destination.port] ?? []).filter {
      $0.host == host && ($0.local.ip.isAny || $0.local.ip == datagram.destination.ip)
        && $0.family == datagram.destination.ip.family
        && ($0.remote == nil || $0.remote == datagram.source)
    }
    // A connected socket matches before an unconnected one; SO_REUSEPORT chooses by the source.
    guard
      let socket = matching.first(where: { $0.remote != nil })
        ?? (matching.isEmpty ? nil : matching[Int(datagram.source.port) % matching.count])
    else { return refuse(datagram, at: host) }
    guard socket.datagramBytes + datagram.payload.count <= socket.receiveCapacity else { return }
    socket.datagrams.append(datagram)
    socket.datagramBytes += datagram.payload.count
    arrived(at: socket)
  }
}

extension SimulatedKernel {
  /// Tells the sender that nobody took its datagram.
  private func refuse(_ datagram: SimulatedDatagram, at host: SimulatedHost) {
    guard let sender = self.host(of: datagram.source.ip, from: host), !isPartitioned(host, sender)
    else { return }
    schedule(.unreachable(datagram, to: sender), at: now + delay())
  }

  /// A connected socket learns it by its next call; others do not (udp(7)).
  func unreachableArrived(_ datagram: SimulatedDatagram, at host: SimulatedHost) {
    let socket = (datagramSockets[datagram.source.port] ?? []).first {
      $0.host == host && $0.remote == datagram.destination && $0.local.ip == datagram.source.ip
    }
    guard let socket else { return }
    socket.failure = ECONNREFUSED
    arrived(at: socket)
  }
}

extension SimulatedDatagram {
  /// Writes the datagram as `DatagramLayout` has it, and returns the bytes used. What the buffer
  /// has no room for is cut off and marked (MSG_TRUNC).
  func write(to buffer: UnsafeMutableRawBufferPointer) -> Int {
    let layout = DatagramLayout.self
    precondition(buffer.count > layout.payloadOffset)
    let count = min(payload.count, buffer.count - layout.payloadOffset)
    let name = UnsafeMutableRawBufferPointer(
      rebasing: buffer[layout.headerBytes..<layout.controlOffset])
    let control = UnsafeMutableRawBufferPointer(
      rebasing: buffer[layout.controlOffset..<layout.payloadOffset])
    let header = [
      UInt32(source.encode(into: name)), UInt32(writeControl(to: control)), UInt32(count),
      count < payload.count ? UInt32(MSG_TRUNC) : 0,
    ]
    header.withUnsafeBytes { buffer.copyMemory(from: $0) }
    payload.withUnsafeBytes {
      UnsafeMutableRawBufferPointer(rebasing: buffer[layout.payloadOffset...])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<count]))
    }
    return layout.payloadOffset + count
  }

  /// The control messages as the kernel writes them for a receiver: IP_PKTINFO, IP_TOS.
  private func writeControl(to control: UnsafeMutableRawBufferPointer) -> Int {
    let used = writeDestination(to: control)
    guard congestionMarks > 0 else { return used }
    let headBytes = MemoryLayout<cmsghdr>.size
    var head = cmsghdr()
    head.cmsg_len = headBytes + MemoryLayout<Int32>.size
    head.cmsg_level = Int32(destination.ip.family == .v4 ? IPPROTO_IP : IPPROTO_IPV6)
    head.cmsg_type = destination.ip.family == .v4 ? Int32(IP_TOS) : Int32(IPV6_TCLASS)
    control.storeBytes(of: head, toByteOffset: used, as: cmsghdr.self)
    // The low byte is what matters of either width (little-endian).
    control.storeBytes(
      of: Int32(congestionMarks), toByteOffset: used + headBytes, as: Int32.self)
    return used + ((Int(head.cmsg_len) + 7) & ~7)
  }

  private func writeDestination(to control: UnsafeMutableRawBufferPointer) -> Int {
    let headBytes = MemoryLayout<cmsghdr>.size
    var head = cmsghdr()
    switch destination.ip.family {
    case .v4:
      var info = in_pktinfo()
      info.ipi_addr.s_addr = destination.ip.v4.bigEndian
      head.cmsg_len = headBytes + MemoryLayout<in_pktinfo>.size
      head.cmsg_level = Int32(IPPROTO_IP)
      head.cmsg_type = IP_PKTINFO
      control.storeBytes(of: info, toByteOffset: headBytes, as: in_pktinfo.self)
    case .v6:
      head.cmsg_len = headBytes + MemoryLayout<in6_addr>.size + MemoryLayout<UInt32>.size
      head.cmsg_level = Int32(IPPROTO_IPV6)
      head.cmsg_type = IPV6_PKTINFO
      control.storeBytes(of: destination.ip.in6, toByteOffset: headBytes, as: in6_addr.self)
    }
    control.storeBytes(of: head, as: cmsghdr.self)
    return (Int(head.cmsg_len) + 7) & ~7
  }
}
