// Socket addresses in the kernel's form: sockaddr_in and sockaddr_in6.

import Glibc
import RIBase

/// A socket address as the kernel reads and writes it; room for every family. Trivial.
struct KernelAddress {
  var storage = sockaddr_storage()
  /// Bytes in use; before a call that fills it in: bytes of room.
  var count = socklen_t(MemoryLayout<sockaddr_storage>.size)

  /// Room for the kernel to write an address to.
  init() {}

  init(_ address: SocketAddress) {
    count = withUnsafeMutableBytes(of: &storage) { address.encode(into: $0) }
  }

  /// The address, or nil when it is neither IPv4 nor IPv6.
  var socketAddress: SocketAddress? {
    withUnsafeBytes(of: storage) {
      SocketAddress(decoding: UnsafeRawBufferPointer(rebasing: $0.prefix(Int(count))))
    }
  }

  /// Lends the address to a system call.
  func withSockaddr<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    // SAFETY: sockaddr is the smaller and less aligned beginning of sockaddr_storage; `count` bytes
    // of it are initialised, and `body` has the pointer for the length of its call.
    withUnsafePointer(to: storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, count) }
    }
  }

  /// Lends the room to a system call that writes an address.
  mutating func withMutableSockaddr<R>(
    _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> R
  ) -> R {
    // SAFETY: as above; `count` tells the kernel the room there is, and it writes no more than
    // that.
    count = socklen_t(MemoryLayout<sockaddr_storage>.size)
    return withUnsafeMutablePointer(to: &storage) { storage in
      storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, &count) }
    }
  }
}

extension SocketAddress {
  /// Bytes of the largest kernel form (sockaddr_in6).
  static var kernelBytesMax: Int { MemoryLayout<sockaddr_in6>.size }

  /// Writes the kernel's form (at most `kernelBytesMax` bytes) and returns its length.
  func encode(into bytes: UnsafeMutableRawBufferPointer) -> socklen_t {
    switch ip.family {
    case .v4:
      var form = sockaddr_in()
      form.sin_family = sa_family_t(AF_INET)
      form.sin_port = port.bigEndian
      form.sin_addr.s_addr = ip.v4.bigEndian
      bytes.storeBytes(of: form, as: sockaddr_in.self)
      return socklen_t(MemoryLayout<sockaddr_in>.size)
    case .v6:
      var form = sockaddr_in6()
      form.sin6_family = sa_family_t(AF_INET6)
      form.sin6_port = port.bigEndian
      form.sin6_addr = ip.in6
      form.sin6_scope_id = scope
      bytes.storeBytes(of: form, as: sockaddr_in6.self)
      return socklen_t(MemoryLayout<sockaddr_in6>.size)
    }
  }

  /// Reads the kernel's form; nil when it is cut short or of another family. An IPv4-mapped IPv6
  /// address stays one: our IPv6 sockets carry IPv6 only.
  init?(decoding bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= MemoryLayout<sa_family_t>.size else { return nil }
    switch Int32(bytes.loadUnaligned(as: sa_family_t.self)) {
    case AF_INET:
      guard bytes.count >= MemoryLayout<sockaddr_in>.size else { return nil }
      let form = bytes.loadUnaligned(as: sockaddr_in.self)
      self.init(
        IPAddress(v4: UInt32(bigEndian: form.sin_addr.s_addr)), UInt16(bigEndian: form.sin_port))
    case AF_INET6:
      guard bytes.count >= MemoryLayout<sockaddr_in6>.size else { return nil }
      let form = bytes.loadUnaligned(as: sockaddr_in6.self)
      self.init(
        IPAddress(form.sin6_addr), UInt16(bigEndian: form.sin6_port), scope: form.sin6_scope_id)
    default: return nil
    }
  }
}

extension IPAddress {
  init(_ address: in6_addr) {
    let (high, low) = withUnsafeBytes(of: address) {
      ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }
    self.init(v6High: UInt64(bigEndian: high), low: UInt64(bigEndian: low))
  }

  /// The kernel's form of an IPv6 address.
  var in6: in6_addr {
    var address = in6_addr()
    withUnsafeMutableBytes(of: &address) {
      $0.storeBytes(of: high.bigEndian, as: UInt64.self)
      $0.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    return address
  }

  /// AF_INET or AF_INET6.
  var addressFamily: Int32 { family.addressFamily }
}

extension IPAddress.Family {
  /// AF_INET or AF_INET6.
  var addressFamily: Int32 {
    switch self {
    case .v4: AF_INET
    case .v6: AF_INET6
    }
  }
}
