// The socket calls that act at once, shared by the rings that talk to a real kernel.

import CLinuxIO
import Glibc
import RIBase

/// Makes and asks sockets by plain system calls. All are close-on-exec.
struct Sockets {
  /// Whether sockets are made O_NONBLOCK. epoll needs it; io_uring must not have it, for it fails
  /// operations on such sockets with -EAGAIN instead of waiting (io_uring_enter(2)).
  let nonblocking: Bool

  /// For `accept4` and IORING_OP_ACCEPT.
  var acceptFlags: Int32 {
    Int32(SOCK_CLOEXEC.rawValue) | (nonblocking ? Int32(SOCK_NONBLOCK.rawValue) : 0)
  }

  func listen(
    on address: SocketAddress, reusePort: Bool, backlog: Int
  ) throws(RingError) -> Socket {
    let socket = try make(SOCK_STREAM, address.ip.family)
    setInt(socket, SOL_SOCKET, SO_REUSEADDR, 1)
    // Accepted sockets inherit it, which saves a call for each.
    setInt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    do throws(RingError) {
      try bind(socket, to: address, reusePort: reusePort)
      if Glibc.listen(socket.descriptor, Int32(clamping: backlog)) != 0 {
        throw RingError(call: "listen", code: errno)
      }
    } catch {
      closeNow(socket)
      throw error
    }
    return socket
  }

  func bindDatagram(to address: SocketAddress, reusePort: Bool) throws(RingError) -> Socket {
    let socket = try make(SOCK_DGRAM, address.ip.family)
    reportDatagramDetails(socket, address.ip.family)
    do throws(RingError) {
      try bind(socket, to: address, reusePort: reusePort)
    } catch {
      closeNow(socket)
      throw error
    }
    return socket
  }

  func makeStreamSocket(_ family: IPAddress.Family) throws(RingError) -> Socket {
    let socket = try make(SOCK_STREAM, family)
    setInt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    return socket
  }

  func connectDatagram(
    to address: SocketAddress, from source: SocketAddress?
  ) throws(RingError) -> Socket {
    let socket = try make(SOCK_DGRAM, address.ip.family)
    reportDatagramDetails(socket, address.ip.family)
    do throws(RingError) {
      if let source { try bind(socket, to: source, reusePort: true) }
    } catch {
      closeNow(socket)
      throw error
    }
    let result = KernelAddress(address).withSockaddr { connect(socket.descriptor, $0, $1) }
    if result != 0 {
      let code = errno
      closeNow(socket)
      throw RingError(call: "connect", code: code)
    }
    return socket
  }

  func localAddress(of socket: Socket) -> SocketAddress? {
    var address = KernelAddress()
    let result = address.withMutableSockaddr { getsockname(socket.descriptor, $0, $1) }
    return result == 0 ? address.socketAddress : nil
  }

  func peerAddress(of socket: Socket) -> SocketAddress? {
    var address = KernelAddress()
    let result = address.withMutableSockaddr { getpeername(socket.descriptor, $0, $1) }
    return result == 0 ? address.socketAddress : nil
  }

  func set(_ option: SocketOption, on socket: Socket) {
    switch option {
    case .noDelay(let on): setInt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, on ? 1 : 0)
    case .notSentLowWater(let bytes):
      setInt(socket, Int32(IPPROTO_TCP), RI_TCP_NOTSENT_LOWAT, Int32(clamping: bytes))
    // Past the system's limit where the process may (CAP_NET_ADMIN), else up to it.
    case .receiveBufferHeld(let bytes):
      if canUnlockBuffers(of: socket) {
        setInt(socket, SOL_SOCKET, SO_RCVBUF, Int32(clamping: bytes))
      }
    case .receiveBufferReleased: setInt(socket, SOL_SOCKET, RI_SO_BUF_LOCK, 0)
    case .receiveBufferBytes(let bytes):
      if !setInt(socket, SOL_SOCKET, SO_RCVBUFFORCE, Int32(clamping: bytes)) {
        setInt(socket, SOL_SOCKET, SO_RCVBUF, Int32(clamping: bytes))
      }
    case .sendBufferBytes(let bytes):
      if !setInt(socket, SOL_SOCKET, SO_SNDBUFFORCE, Int32(clamping: bytes)) {
        setInt(socket, SOL_SOCKET, SO_SNDBUF, Int32(clamping: bytes))
      }
    case .congestionControl(let name):
      _ = name.withCString {
        setsockopt(socket.descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, $0, socklen_t(strlen($0)))
      }
    // Of the two families a socket takes its own.
    case .congestionMarks:
      setInt(socket, Int32(IPPROTO_IP), IP_RECVTOS, 1)
      setInt(socket, Int32(IPPROTO_IPV6), IPV6_RECVTCLASS, 1)
    case .unfragmented:
      setInt(socket, Int32(IPPROTO_IP), IP_MTU_DISCOVER, RI_IP_PMTUDISC_PROBE)
      setInt(socket, Int32(IPPROTO_IPV6), IPV6_MTU_DISCOVER, RI_IP_PMTUDISC_PROBE)
    case .pickedByConnectionID(let count):
      _ = ri_pick_by_connection_id(socket.descriptor, UInt32(max(1, count)))
    case .pickedByAddresses: _ = ri_pick_by_addresses(socket.descriptor)
    }
  }

  /// The kernel doubles what was asked for, for its own use (socket(7)).
  func bufferBytes(of socket: Socket) -> (receive: Int, send: Int)? {
    guard let receive = getInt(socket, SOL_SOCKET, SO_RCVBUF),
      let send = getInt(socket, SOL_SOCKET, SO_SNDBUF)
    else { return nil }
    return (Int(receive) / 2, Int(send) / 2)
  }

  /// rtnetlink(7): addresses and routes of both families.
  func watchAddresses() throws(RingError) -> Socket {
    let descriptor = ri_watch_addresses(nonblocking ? 1 : 0)
    if descriptor < 0 { throw RingError(call: "netlink", code: -descriptor) }
    return Socket(descriptor: descriptor)
  }

  /// Whether a buffer size that was set can be left to the kernel again (SO_BUF_LOCK, socket(7)).
  private func canUnlockBuffers(of socket: Socket) -> Bool {
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(socket.descriptor, SOL_SOCKET, RI_SO_BUF_LOCK, &value, &size) == 0
  }

  func shutdownSending(_ socket: Socket) {
    _ = shutdown(socket.descriptor, Int32(SHUT_WR))
  }

  /// Makes the socket's close a reset: what is unsent is dropped (SO_LINGER with zero seconds).
  func resetOnClose(_ socket: Socket) {
    var value = linger(l_onoff: 1, l_linger: 0)
    setsockopt(
      socket.descriptor, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
  }

  /// The error pending on a socket, cleared by asking (SO_ERROR); 0 when there is none.
  func pendingError(of socket: Socket) -> Int32 {
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    let result = getsockopt(socket.descriptor, SOL_SOCKET, SO_ERROR, &value, &size)
    return result == 0 ? value : errno
  }

  /// Whether a TCP connection has come to its end in both directions (TCP_INFO: TCP_CLOSE).
  func isDisconnected(_ socket: Socket) -> Bool {
    var info = tcp_info()
    var size = socklen_t(MemoryLayout<tcp_info>.size)
    let result = getsockopt(socket.descriptor, Int32(IPPROTO_TCP), TCP_INFO, &info, &size)
    return result == 0 && Int(info.tcpi_state) == TCP_CLOSE
  }

  /// tcpi_min_rtt of tcp(7): the least of the last five minutes (tcp_min_rtt_wlen).
  func minimumRoundTrip(of socket: Socket) -> Interval? {
    var microseconds: UInt32 = 0
    guard ri_minimum_rtt(socket.descriptor, &microseconds) == 0, microseconds > 0,
      microseconds != .max
    else { return nil }
    return .microseconds(Int64(microseconds))
  }

  func closeNow(_ socket: Socket) {
    _ = Glibc.close(socket.descriptor)
  }

  // MARK: Parts

  private func make(
    _ kind: __socket_type, _ family: IPAddress.Family
  ) throws(RingError) -> Socket {
    let flags = Int32(kind.rawValue) | acceptFlags
    let descriptor = Glibc.socket(family.addressFamily, flags, 0)
    if descriptor < 0 { throw RingError(call: "socket", code: errno) }
    return Socket(descriptor: descriptor)
  }

  private func bind(
    _ socket: Socket, to address: SocketAddress, reusePort: Bool
  ) throws(RingError) {
    if reusePort { setInt(socket, SOL_SOCKET, SO_REUSEPORT, 1) }
    if address.ip.family == .v6 { setInt(socket, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
    let result = KernelAddress(address).withSockaddr { Glibc.bind(socket.descriptor, $0, $1) }
    if result != 0 { throw RingError(call: "bind", code: errno) }
  }

  /// Whether the kernel cuts one send into datagrams (UDP_SEGMENT, Linux 4.18). An older one passes
  /// over the request and sends all as one.
  static let cutsSegments: Bool = {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { return false }
    defer { Glibc.close(socket) }
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(socket, Int32(IPPROTO_UDP), RI_UDP_SEGMENT, &value, &size) == 0
  }()

  /// Asks for destination addresses (ip(7), ipv6(7)) and joined datagrams (udp(7)).
  private func reportDatagramDetails(_ socket: Socket, _ family: IPAddress.Family) {
    switch family {
    case .v4: setInt(socket, Int32(IPPROTO_IP), IP_PKTINFO, 1)
    case .v6: setInt(socket, Int32(IPPROTO_IPV6), IPV6_RECVPKTINFO, 1)
    }
    setInt(socket, Int32(IPPROTO_UDP), RI_UDP_GRO, 1)
  }

  @discardableResult
  private func setInt(_ socket: Socket, _ level: Int32, _ name: Int32, _ value: Int32) -> Bool {
    var value = value
    let size = socklen_t(MemoryLayout<Int32>.size)
    return setsockopt(socket.descriptor, level, name, &value, size) == 0
  }

  private func getInt(_ socket: Socket, _ level: Int32, _ name: Int32) -> Int32? {
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(socket.descriptor, level, name, &value, &size) == 0 ? value : nil
  }
}
