// A datagram to send, in the form that sendmsg takes.

import CLinuxIO
import Glibc
import RIBase

/// Lays a message header, its vector, its name and its control data out in one piece of memory.
enum OutgoingDatagram {
  private static let vectorOffset = MemoryLayout<msghdr>.size
  private static let nameOffset = vectorOffset + MemoryLayout<iovec>.size
  private static let nameBytes = 32
  private static let controlOffset = nameOffset + nameBytes
  /// Room for one UDP_SEGMENT, one in6_pktinfo and one traffic class.
  private static let controlBytes = 96
  /// Bytes of memory that `encode` needs, aligned to 8.
  static let byteCount = controlOffset + controlBytes

  /// The message, inside `memory`; it points to `payload`, and lives as long as both.
  static func encode(
    _ payload: UnsafeMutableRawBufferPointer, segmentBytes: Int, to destination: SocketAddress?,
    from source: IPAddress?, congestionMarks: UInt8, into memory: UnsafeMutableRawPointer
  ) -> UnsafeMutablePointer<msghdr> {
    // SAFETY: the offsets lie one after the other inside `byteCount` bytes, each aligned for its
    // type.
    let message = memory.bindMemory(to: msghdr.self, capacity: 1)
    message.initialize(to: msghdr())
    let vector = (memory + vectorOffset).bindMemory(to: iovec.self, capacity: 1)
    vector.initialize(to: iovec(iov_base: payload.baseAddress, iov_len: payload.count))
    message.pointee.msg_iov = vector
    message.pointee.msg_iovlen = 1
    if let destination {
      let name = UnsafeMutableRawBufferPointer(start: memory + nameOffset, count: nameBytes)
      message.pointee.msg_namelen = destination.encode(into: name)
      message.pointee.msg_name = memory + nameOffset
    }
    let control = UnsafeMutableRawBufferPointer(start: memory + controlOffset, count: controlBytes)
    message.pointee.msg_controllen = encodeControl(
      segmentBytes < payload.count ? segmentBytes : 0, source, into: control)
    if congestionMarks > 0 {
      message.pointee.msg_controllen += encodeMarks(
        congestionMarks, destination?.ip.family,
        into: UnsafeMutableRawBufferPointer(rebasing: control[message.pointee.msg_controllen...]))
    }
    if message.pointee.msg_controllen > 0 { message.pointee.msg_control = memory + controlOffset }
    return message
  }

  /// Writes the control messages and returns their length: 0 when there are none. Sizes and source
  /// addresses: udp(7), ip(7), ipv6(7).
  private static func encodeControl(
    _ segmentBytes: Int, _ source: IPAddress?, into bytes: UnsafeMutableRawBufferPointer
  ) -> Int {
    var offset = 0
    func put<T>(_ level: Int32, _ type: Int32, _ value: T) {
      offset += Self.put(level, type, value, at: offset, into: bytes)
    }
    if segmentBytes > 0 {
      put(Int32(IPPROTO_UDP), RI_UDP_SEGMENT, UInt16(clamping: segmentBytes))
    }
    switch source?.family {
    case .v4:
      var info = in_pktinfo()
      info.ipi_spec_dst.s_addr = source?.v4.bigEndian ?? 0
      put(Int32(IPPROTO_IP), IP_PKTINFO, info)
    case .v6:
      var info = ri_in6_pktinfo()
      info.address = source?.in6 ?? in6_addr()
      put(Int32(IPPROTO_IPV6), IPV6_PKTINFO, info)
    case nil: break
    }
    return offset
  }

  /// Writes the congestion marks as the traffic class of the IP header. Without a family for both:
  /// a socket passes over what is for the other.
  private static func encodeMarks(
    _ marks: UInt8, _ family: IPAddress.Family?, into bytes: UnsafeMutableRawBufferPointer
  ) -> Int {
    var offset = 0
    if family != .v6 {
      offset += put(Int32(IPPROTO_IP), Int32(IP_TOS), Int32(marks), at: offset, into: bytes)
    }
    if family != .v4 {
      offset += put(
        Int32(IPPROTO_IPV6), Int32(IPV6_TCLASS), Int32(marks), at: offset, into: bytes)
    }
    return offset
  }

  /// Writes one control message (cmsg(3)) and returns the bytes it takes.
  private static func put<T>(
    _ level: Int32, _ type: Int32, _ value: T, at offset: Int,
    into bytes: UnsafeMutableRawBufferPointer
  ) -> Int {
    var head = cmsghdr()
    head.cmsg_len = MemoryLayout<cmsghdr>.size + MemoryLayout<T>.size
    head.cmsg_level = level
    head.cmsg_type = type
    bytes.storeBytes(of: head, toByteOffset: offset, as: cmsghdr.self)
    bytes.storeBytes(of: value, toByteOffset: offset + MemoryLayout<cmsghdr>.size, as: T.self)
    return (head.cmsg_len + 7) & ~7
  }
}
