// How datagrams and what the kernel says about them lie in memory, the same for all rings.

import CLinuxIO
import Glibc
import RIBase

/// The layout of a received datagram in its buffer: that of io_uring's multishot recvmsg
/// (io_uring_prep_recvmsg_multishot(3)).
///
/// ```
/// 0        16            48               144
/// | header | source name | control data   | payload …
/// ```
/// The header is four 32-bit words: name bytes, control bytes, payload bytes, MSG_* flags.
enum DatagramLayout {
  static let headerBytes = 16
  static let nameBytes = 32
  /// Room for one in6_pktinfo, one UDP_GRO size and one traffic class.
  static let controlBytes = 96
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

  /// Reads the control messages (cmsg(3)): destination address, segment size, congestion marks.
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
      case (Int32(IPPROTO_IPV6), IPV6_PKTINFO)
      where data.count >= MemoryLayout<ri_in6_pktinfo>.size:
        datagram.local = IPAddress(data.loadUnaligned(as: ri_in6_pktinfo.self).address)
      case (Int32(IPPROTO_UDP), RI_UDP_GRO) where data.count >= MemoryLayout<Int32>.size:
        datagram.segmentBytes = Int(data.loadUnaligned(as: Int32.self))
      case (Int32(IPPROTO_IP), Int32(IP_TOS)) where data.count >= 1:
        datagram.congestionMarks = data[0] & 3
      case (Int32(IPPROTO_IPV6), Int32(IPV6_TCLASS)) where data.count >= MemoryLayout<Int32>.size:
        datagram.congestionMarks = UInt8(data.loadUnaligned(as: Int32.self) & 3)
      default: break
      }
      offset += (length + 7) & ~7
    }
  }

  /// Receives one datagram by recvmsg(2), without waiting, into `bytes` (more than
  /// `payloadOffset`). Returns the bytes used or a negated errno.
  static func receive(from descriptor: Int32, into bytes: UnsafeMutableRawBufferPointer) -> Int32 {
    guard let base = bytes.baseAddress else { return -ENOBUFS }
    var vector = iovec(
      iov_base: base + payloadOffset, iov_len: bytes.count - payloadOffset)
    let (count, message) = withUnsafeMutablePointer(to: &vector) { vector in
      var message = msghdr()
      message.msg_name = base + headerBytes
      message.msg_namelen = socklen_t(nameBytes)
      message.msg_control = base + controlOffset
      message.msg_controllen = controlBytes
      message.msg_iov = vector
      message.msg_iovlen = 1
      // SAFETY: name, control and payload lie one after the other inside `bytes`.
      return (recvmsg(descriptor, &message, Int32(MSG_DONTWAIT | MSG_TRUNC)), message)
    }
    if count < 0 { return -errno }
    bytes.storeBytes(of: UInt32(message.msg_namelen), toByteOffset: 0, as: UInt32.self)
    bytes.storeBytes(of: UInt32(message.msg_controllen), toByteOffset: 4, as: UInt32.self)
    bytes.storeBytes(of: UInt32(clamping: count), toByteOffset: 8, as: UInt32.self)
    bytes.storeBytes(
      of: UInt32(bitPattern: message.msg_flags), toByteOffset: 12, as: UInt32.self)
    return Int32(payloadOffset + min(count, bytes.count - payloadOffset))
  }
}
