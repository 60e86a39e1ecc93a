// Non-blocking TCP sockets, on 127.0.0.1 unless told otherwise, and the error of everything here
// that can fail.

import CLoadIO
import Glibc

/// Something that ends a load, in words.
public struct LoadError: Error, Codable, Sendable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }

  static func system(_ call: String) -> LoadError {
    LoadError("\(call): \(String(cString: strerror(errno)))")
  }
}

/// Which congestion control sockets ask for; nil leaves it to the route or the system.
public typealias CongestionControl = String

/// An IPv4 address in digits and dots.
public typealias Host = String
public let loopbackHost: Host = "127.0.0.1"
/// All addresses of a listener's network.
public let anyHost: Host = "0.0.0.0"

/// A listening socket on 127.0.0.1; port 0 takes a free one.
public func listenOnLoopback(
  _ port: UInt16, congestion: CongestionControl? = nil
) throws(LoadError) -> Int32 {
  try listenOn(loopbackHost, port, congestion: congestion)
}

/// A listening socket; port 0 takes a free one.
public func listenOn(
  _ host: Host, _ port: UInt16, congestion: CongestionControl?
) throws(LoadError) -> Int32 {
  let listener = try streamSocket(congestion)
  setOption(listener, SOL_SOCKET, SO_REUSEADDR)
  let bound = withAddress(host, port) { bind(listener, $0, $1) }
  guard bound == 0 else { throw .system("bind port \(port)") }
  guard listen(listener, 4096) == 0 else { throw .system("listen") }
  return listener
}

/// A connection under way to a port of 127.0.0.1. It may be written at once: the kernel says EAGAIN
/// until it is established.
public func connectToLoopback(
  _ port: UInt16, congestion: CongestionControl? = nil
) throws(LoadError) -> Int32 {
  try connectTo(loopbackHost, port, congestion: congestion)
}

/// A connection under way, as `connectToLoopback` gives it; `receiveBufferBytes` is SO_RCVBUF, nil
/// leaves it to the kernel.
public func connectTo(
  _ host: Host, _ port: UInt16, congestion: CongestionControl?, receiveBufferBytes: Int? = nil
) throws(LoadError) -> Int32 {
  let descriptor = try streamSocket(congestion)
  setOption(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY)
  if let receiveBufferBytes {
    setOption(descriptor, SOL_SOCKET, SO_RCVBUF, Int32(clamping: receiveBufferBytes))
  }
  let result = withAddress(host, port) { connect(descriptor, $0, $1) }
  guard result == 0 || errno == EINPROGRESS else {
    let error = LoadError.system("connect to \(host) port \(port)")
    close(descriptor)
    throw error
  }
  return descriptor
}

/// The next connection waiting at a listener, or nil.
public func acceptFromLoopback(_ listener: Int32) -> Int32? {
  let descriptor = load_accept(listener)
  guard descriptor >= 0 else { return nil }
  setOption(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY)
  return descriptor
}

/// The port a socket is bound to.
public func localPort(_ descriptor: Int32) -> UInt16 {
  var address = sockaddr_in()
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  _ = withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
  }
  return UInt16(bigEndian: address.sin_port)
}

/// The congestion control a connection really uses.
public func congestionControl(of descriptor: Int32) -> CongestionControl {
  var name = [UInt8](repeating: 0, count: 16)
  var length = socklen_t(name.count)
  guard getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, &name, &length) == 0 else {
    return "unknown"
  }
  return String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
}

private func streamSocket(_ congestion: CongestionControl?) throws(LoadError) -> Int32 {
  let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
  let descriptor = socket(AF_INET, type, 0)
  guard descriptor >= 0 else { throw .system("socket") }
  if let congestion {
    let length = socklen_t(congestion.utf8.count)
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, congestion, length)
  }
  return descriptor
}

/// Ends the kernel's growing of a send buffer.
func limitSendBuffer(_ descriptor: Int32, _ bytes: Int) {
  setOption(descriptor, SOL_SOCKET, SO_SNDBUF, Int32(clamping: bytes))
}

private func setOption(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32 = 1) {
  var value = value
  setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
}

private func withAddress(
  _ host: Host, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Int32 {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  // What is no address becomes one that nobody has.
  if inet_pton(AF_INET, host, &address.sin_addr) != 1 { address.sin_addr = in_addr(s_addr: .max) }
  return withUnsafePointer(to: address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }
}
