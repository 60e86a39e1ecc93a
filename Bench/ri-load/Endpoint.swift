// Addresses of either family: where an edge or a target is, and who a client was.

import CLoadIO
import Glibc
import LoadKit

/// An IP address and a port.
struct Endpoint: Hashable, Sendable, CustomStringConvertible {
  /// 4 bytes or 16.
  var address: [UInt8]
  var port: UInt16

  init(address: [UInt8], port: UInt16) {
    self.address = address
    self.port = port
  }

  /// Nil for what is neither IPv4 nor IPv6.
  init?(_ storage: sockaddr_storage) {
    switch Int32(storage.ss_family) {
    case AF_INET:
      let name = withUnsafeBytes(of: storage) { $0.load(as: sockaddr_in.self) }
      address = withUnsafeBytes(of: name.sin_addr) { Array($0) }
      port = UInt16(bigEndian: name.sin_port)
    case AF_INET6:
      let name = withUnsafeBytes(of: storage) { $0.load(as: sockaddr_in6.self) }
      let bytes = withUnsafeBytes(of: name.sin6_addr) { Array($0) }
      let isMapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
      address = isMapped ? Array(bytes[12...]) : bytes
      port = UInt16(bigEndian: name.sin6_port)
    default: return nil
    }
  }

  var family: Int32 { address.count == 4 ? AF_INET : AF_INET6 }

  var storage: sockaddr_storage {
    var storage = sockaddr_storage()
    withUnsafeMutableBytes(of: &storage) { bytes in
      if address.count == 4 {
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        withUnsafeMutableBytes(of: &name.sin_addr) { $0.copyBytes(from: address) }
        bytes.storeBytes(of: name, as: sockaddr_in.self)
      } else {
        var name = sockaddr_in6()
        name.sin6_family = sa_family_t(AF_INET6)
        name.sin6_port = port.bigEndian
        withUnsafeMutableBytes(of: &name.sin6_addr) { $0.copyBytes(from: address) }
        bytes.storeBytes(of: name, as: sockaddr_in6.self)
      }
    }
    return storage
  }

  var nameLength: socklen_t {
    socklen_t(address.count == 4 ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size)
  }

  /// The address alone, as people write it.
  var host: String {
    var text = [CChar](repeating: 0, count: 64)
    guard inet_ntop(family, address, &text, socklen_t(text.count)) != nil else { return "?" }
    return String(decoding: text.map { UInt8(bitPattern: $0) }.prefix { $0 != 0 }, as: UTF8.self)
  }

  var description: String { address.count == 4 ? "\(host):\(port)" : "[\(host)]:\(port)" }

  /// From `HOST:PORT` or `[IPv6]:PORT`; a name is looked up, its first address taken.
  static func resolve(_ text: String) throws(LoadError) -> Endpoint {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...])
    else { throw LoadError("\(text): an address looks like 203.0.113.7:443 or [2001:db8::1]:443") }
    var host = String(text[..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    var found: UnsafeMutablePointer<addrinfo>?
    let result = getaddrinfo(host, nil, nil, &found)
    guard result == 0, let first = found else {
      throw LoadError("\(host): \(String(cString: gai_strerror(result)))")
    }
    defer { freeaddrinfo(found) }
    var storage = sockaddr_storage()
    memcpy(&storage, first.pointee.ai_addr, Int(first.pointee.ai_addrlen))
    guard var endpoint = Endpoint(storage) else { throw LoadError("\(host) has no IP address") }
    endpoint.port = port
    return endpoint
  }

  /// A non-blocking socket of the family.
  func socket(_ type: __socket_type) throws(LoadError) -> Int32 {
    let flags = SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
    let descriptor = Glibc.socket(family, Int32(type.rawValue | flags), 0)
    guard descriptor >= 0 else { throw failure("socket") }
    return descriptor
  }

  /// What `call`, connect or bind, says of this address.
  func withName(_ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    var storage = storage
    return withUnsafePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0, nameLength) }
    }
  }

  static func local(_ descriptor: Int32) -> Endpoint? { name(descriptor, getsockname) }
  static func peer(_ descriptor: Int32) -> Endpoint? { name(descriptor, getpeername) }

  private static func name(
    _ descriptor: Int32,
    _ call: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
  ) -> Endpoint? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(descriptor, $0, &length) }
    }
    return result == 0 ? Endpoint(storage) : nil
  }
}

/// What the last call of the kernel said.
func failure(_ call: String) -> LoadError {
  LoadError("\(call): \(String(cString: strerror(errno)))")
}

func setOption(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32 = 1) {
  var value = value
  setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
}
