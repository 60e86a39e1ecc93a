// UDP sockets on loopback, and datagrams sent and received many in one call.

import CLoadIO
import Glibc

/// A UDP socket with large buffers; bound to a port of 127.0.0.1 or connected to one.
func datagramSocket(bound port: UInt16? = nil, to peer: UInt16? = nil) throws(LoadError) -> Int32 {
  let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
  guard socket >= 0 else { throw .system("socket") }
  for option in [SO_RCVBUF, SO_SNDBUF] {
    var bytes: Int32 = 4 << 20
    setsockopt(socket, SOL_SOCKET, option, &bytes, socklen_t(MemoryLayout<Int32>.size))
  }
  if let port, withLoopback(port, { bind(socket, $0, $1) }) != 0 { throw .system("bind") }
  if let peer, withLoopback(peer, { connect(socket, $0, $1) }) != 0 { throw .system("connect") }
  return socket
}

private func withLoopback(
  _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Int32 {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  return withUnsafePointer(to: address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }
}

/// Room for some datagrams and their addresses. One thread uses it.
final class DatagramBatch {
  static let capacity = 32

  let messages = UnsafeMutablePointer<load_message>.allocate(capacity: capacity)
  private let vectors = UnsafeMutablePointer<iovec>.allocate(capacity: capacity)
  private let names = UnsafeMutablePointer<sockaddr_in>.allocate(capacity: capacity)
  private let memory: UnsafeMutableRawPointer
  private let bytesMax: Int

  /// For datagrams of at most `bytesMax`; one that is longer is seen to be, by a byte.
  init(bytesMax: Int) {
    self.bytesMax = bytesMax + 1
    memory = .allocate(byteCount: Self.capacity * self.bytesMax, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.capacity * self.bytesMax)
    names.initialize(repeating: sockaddr_in(), count: Self.capacity)
    for i in 0..<Self.capacity {
      (vectors + i).initialize(to: iovec(iov_base: payload(i), iov_len: self.bytesMax))
      var message = load_message()
      message.header.msg_iov = vectors + i
      message.header.msg_iovlen = 1
      (messages + i).initialize(to: message)
    }
  }

  deinit {
    messages.deallocate()
    vectors.deallocate()
    names.deallocate()
    memory.deallocate()
  }

  func payload(_ i: Int) -> UnsafeMutableRawPointer { memory + i * bytesMax }
  func count(_ i: Int) -> Int { Int(messages[i].count) }
  func name(_ i: Int) -> sockaddr_in { names[i] }

  /// Receives what is there, `capacity` at most; 0 when there is nothing.
  func receive(from socket: Int32) -> Int {
    for i in 0..<Self.capacity {
      vectors[i].iov_len = bytesMax
      messages[i].header.msg_name = UnsafeMutableRawPointer(names + i)
      messages[i].header.msg_namelen = socklen_t(MemoryLayout<sockaddr_in>.size)
    }
    return max(0, Int(load_recvmmsg(socket, messages, UInt32(Self.capacity))))
  }

  /// Sends the first `count` back to where they came from.
  func sendBack(_ count: Int, on socket: Int32) {
    for i in 0..<count { vectors[i].iov_len = Int(messages[i].count) }
    sendAll(count, on: socket)
  }

  /// Sends the first `count`, of `bytes` each, to one address (nil: the connected one). Returns how
  /// many the kernel took.
  @discardableResult
  func send(_ count: Int, bytes: Int, on socket: Int32, to address: sockaddr_in?) -> Int {
    for i in 0..<count {
      vectors[i].iov_len = bytes
      messages[i].header.msg_name = nil
      messages[i].header.msg_namelen = 0
      if let address {
        names[i] = address
        messages[i].header.msg_name = UnsafeMutableRawPointer(names + i)
        messages[i].header.msg_namelen = socklen_t(MemoryLayout<sockaddr_in>.size)
      }
    }
    return sendAll(count, on: socket)
  }

  @discardableResult
  private func sendAll(_ count: Int, on socket: Int32) -> Int {
    max(0, Int(load_sendmmsg(socket, messages, UInt32(count))))
  }
}

/// What stands in front of each datagram of a load: its number and when it was sent, and behind it
/// bytes that follow from the number.
struct DatagramStamp {
  static let byteCount = 16
  var number: UInt64
  var sentAt: UInt64

  func write(to payload: UnsafeMutableRawPointer, bytes: Int, _ pattern: Pattern) {
    payload.storeBytes(of: number, as: UInt64.self)
    payload.storeBytes(of: sentAt, toByteOffset: 8, as: UInt64.self)
    memcpy(payload + Self.byteCount, pattern.bytes(at: number &* 31), bytes - Self.byteCount)
  }

  /// Nil when it is not one of `bytes`, or its bytes are not those of its number.
  init?(reading payload: UnsafeRawPointer, count: Int, bytes: Int, _ pattern: Pattern) {
    guard count == bytes else { return nil }
    number = payload.loadUnaligned(as: UInt64.self)
    sentAt = payload.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
    guard
      pattern.matches(
        payload + Self.byteCount, count: bytes - Self.byteCount, at: number &* 31)
    else { return nil }
  }

  init(number: UInt64, sentAt: UInt64) {
    self.number = number
    self.sentAt = sentAt
  }
}
