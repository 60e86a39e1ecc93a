// How datagrams and what the kernel says about them lie in memory, the same for all rings.

import CLinuxIO
import Glibc
import RIBase

/// The layout of a received datagram in its buffer: that of io_uring's multishot recvmsg
/// (io_uring_prep_recvmsg_multishot(3)).
///
/// ```
/// 0        16            48               112
/// | header | source name | control data   | payload …
/// ```
/// The header is four 32-bit words: name bytes, control bytes, payload bytes, MSG_* flags.
enum DatagramLayout {
  static let headerBytes = 16
  static let nameBytes = 32
  /// Room for one in6_pktinfo and one UDP_GRO size; also for what `encodeControl` writes.
  static let controlBytes = 64
  static let controlOffset = headerBytes + nameBytes
  static let payloadOffset = controlOffset + controlBytes

  /// Cuts the datagram out of `slice`, whose bytes are `bytes`. Nil when it was truncated to the
  /// buffer, or names no source and is not from a connected peer.
  static func decode(_ slice: Slice, _ bytes: UnsafeRawBufferPointer, peer: SocketAddress?)
    -> Datagram?
  {
    guard bytes.count >= payloadOffset else { return nil }
    let nameCount = Int(bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self))
    let controlCount = Int(bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    let payloadCount = Int(bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
    let flags = bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self)
    guard flags & UInt32(MSG_TRUNC) == 0, payloadCount <= bytes.count - payloadOffset
    else { return nil }
    let name = bytes[headerBytes..<headerBytes + min(nameCount, nameBytes)]
    guard let source = SocketAddress(decoding: UnsafeRawBufferPointer(rebasing: name)) ?? peer
    else { return nil }
    var datagram = Datagram(
      source: source, local: nil,
      payload: Slice(
        buffer: slice.buffer, offset: Int(slice.offset) + payloadOffset, count: payloadCount),
      segmentBytes: payloadCount)
    let control = bytes[controlOffset..<controlOffset + min(controlCount, controlBytes)]
    readControl(UnsafeRawBufferPointer(rebasing: control), into: &datagram)
    return datagram
  }

  /// Reads the control messages (cmsg(3)): destination address and segment size.
  private static func readControl(_ control: UnsafeRawBufferPointer, into datagram: inout Datagram)
  {
    let headBytes = MemoryLayout<cmsghdr>.size
    var offset = 0
    while offset + headBytes <= control.count {
      let head = control.loadUnaligned(fromByteOffset: offset, as: cmsghdr.self)
      let length = Int(head.cmsg_len)
      guard length >= headBytes, length <= control.count - offset else { return }
      let data = UnsafeRawBufferPointer(rebasing: control[offset + headBytes..<offset + length])
      switch (head.cmsg_level, head.cmsg_type) {
      case (Int32(IPPROTO_IP), IP_PKTINFO) where data.count >= MemoryLayout<in_pktinfo>.size:
        let info = data.loadUnaligned(as: in_pktinfo.self)
        datagram.local = IPAddress(v4: UInt32(bigEndian: info.ipi_addr.s_addr))
      case (Int32(IPPROTO_IPV6), IPV6_PKTINFO) where data.count >= MemoryLayout<ri_in6_pktinfo>.size:
        datagram.local = IPAddress(data.loadUnaligned(as: ri_in6_pktinfo.self).address)
      case (Int32(IPPROTO_UDP), RI_UDP_GRO) where data.count >= MemoryLayout<Int32>.size:
        datagram.segmentBytes = Int(data.loadUnaligned(as: Int32.self))
      default: break
      }
      offset += (length + 7) & ~7
    }
  }

  /// Writes the control messages of a datagram to send into `bytes` (`controlBytes` of them) and
  /// returns their length: 0 when there are none. Sizes: udp(7), ip(7), ipv6(7).
  static func encodeControl(
    segmentBytes: Int, payloadBytes: Int, source: IPAddress?,
    into bytes: UnsafeMutableRawBufferPointer
  ) -> Int {
    var offset = 0
    func put<T>(_ level: Int32, _ type: Int32, _ value: T) {
      let length = MemoryLayout<cmsghdr>.size + MemoryLayout<T>.size
      var head = cmsghdr()
      head.cmsg_len = length
      head.cmsg_level = level
      head.cmsg_type = type
      bytes.storeBytes(of: head, toByteOffset: offset, as: cmsghdr.self)
      bytes.storeBytes(of: value, toByteOffset: offset + MemoryLayout<cmsghdr>.size, as: T.self)
      offset += (length + 7) & ~7
    }
    if segmentBytes > 0, segmentBytes < payloadBytes {
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
}
