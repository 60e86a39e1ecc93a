// A blocking TCP socket on loopback, for the demo's client and target only.

import Glibc

/// A connected or listening socket, closed by `close`.
struct BlockingSocket: Sendable {
  let descriptor: Int32

  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  /// A listener on 127.0.0.1 and a free port.
  static func listen() throws -> (socket: BlockingSocket, port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = loopback(port: 0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let code = withGenericAddress(&address) { bind(descriptor, $0, length) }
    guard descriptor >= 0, code == 0, Glibc.listen(descriptor, 512) == 0 else {
      throw Failure(description: "no listener on loopback")
    }
    _ = withGenericAddress(&address) { getsockname(descriptor, $0, &length) }
    return (BlockingSocket(descriptor: descriptor), UInt16(bigEndian: address.sin_port))
  }

  static func connect(port: UInt16) throws -> BlockingSocket {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = loopback(port: port)
    let length = socklen_t(MemoryLayout<sockaddr_in>.size)
    guard descriptor >= 0,
      withGenericAddress(&address, { Glibc.connect(descriptor, $0, length) }) == 0
    else {
      _ = Glibc.close(descriptor)
      throw Failure(description: "no connection to port \(port)")
    }
    var on: Int32 = 1
    setsockopt(
      descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    return BlockingSocket(descriptor: descriptor)
  }

  func accept() -> BlockingSocket? {
    let accepted = Glibc.accept(descriptor, nil, nil)
    return accepted < 0 ? nil : BlockingSocket(descriptor: accepted)
  }

  /// Reads into `buffer` once; returns the count, 0 at the end of the stream.
  func read(into buffer: inout [UInt8]) throws -> Int {
    let count = Glibc.read(descriptor, &buffer, buffer.count)
    guard count >= 0 else { throw Failure(description: "read failed: errno \(errno)") }
    return count
  }

  func write(_ bytes: some Collection<UInt8>) throws {
    let done = bytes.withContiguousStorageIfAvailable { bytes in
      var sent = 0
      while sent < bytes.count {
        let count = send(
          descriptor, bytes.baseAddress.map { $0 + sent }, bytes.count - sent,
          Int32(MSG_NOSIGNAL))
        guard count > 0 else { return false }
        sent += count
      }
      return true
    }
    guard done == true else { throw Failure(description: "write failed: errno \(errno)") }
  }

  func close() { _ = Glibc.close(descriptor) }

  private static func loopback(port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
  }

  private static func withGenericAddress<Result>(
    _ address: inout sockaddr_in, _ body: (UnsafeMutablePointer<sockaddr>) -> Result
  ) -> Result {
    // SAFETY: sockaddr_in begins as a sockaddr; the pointer is used within the call only.
    withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body)
    }
  }
}
