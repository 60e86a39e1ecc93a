// Blocking TCP sockets on loopback for tests, with time-outs against hanging, and an echo server
// that stands for the target.

import Foundation
import Glibc

struct SocketFailure: Error, CustomStringConvertible {
  var description: String
}

/// A TCP connection. Owned by who made it; closed when let go of.
final class TestSocket: Sendable {
  let descriptor: Int32

  init(_ descriptor: Int32) {
    self.descriptor = descriptor
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
  }

  deinit { close(descriptor) }

  static func connect(to port: UInt16) throws -> TestSocket {
    let socket = TestSocket(Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    let code = withAddress(port) { Glibc.connect(socket.descriptor, $0, $1) }
    guard code == 0 else { throw SocketFailure(description: "connect: errno \(errno)") }
    return socket
  }

  /// A listening socket and its port; 0 takes a free one.
  static func listen(on port: UInt16 = 0) throws -> (socket: TestSocket, port: UInt16) {
    let socket = TestSocket(Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    var on: Int32 = 1
    setsockopt(
      socket.descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
    guard withAddress(port, { bind(socket.descriptor, $0, $1) }) == 0,
      Glibc.listen(socket.descriptor, 512) == 0
    else { throw SocketFailure(description: "listen on \(port): errno \(errno)") }
    var address = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    _ = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        getsockname(socket.descriptor, $0, &length)
      }
    }
    return (socket, UInt16(bigEndian: address.sin_port))
  }

  func send(_ text: String) throws {
    let bytes = Array(text.utf8)
    guard Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
      throw SocketFailure(description: "send: errno \(errno)")
    }
  }

  /// What comes next; empty at the end.
  func receive() throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4_096)
    let count = recv(descriptor, &bytes, bytes.count, 0)
    guard count >= 0 else { throw SocketFailure(description: "receive: errno \(errno)") }
    return Array(bytes[..<count])
  }

  /// Sends a text and waits for it to come back.
  func echo(_ text: String) throws {
    try send(text)
    var back: [UInt8] = []
    while back.count < text.utf8.count {
      let part = try receive()
      guard !part.isEmpty else { throw SocketFailure(description: "ended within an echo") }
      back += part
    }
    guard back == Array(text.utf8) else { throw SocketFailure(description: "another echo") }
  }
}

private func withAddress<Result>(
  _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  return withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }
}

/// Sends back what comes behind the PROXY line of each connection.
final class EchoServer: Sendable {
  let port: UInt16
  private let listener: TestSocket

  init() throws {
    (listener, port) = try TestSocket.listen()
    let listener = listener
    Thread.detachNewThread {
      while true {
        let descriptor = accept(listener.descriptor, nil, nil)
        if descriptor < 0, errno == EAGAIN || errno == EINTR { continue }
        guard descriptor >= 0 else { return }
        Thread.detachNewThread { Self.serve(TestSocket(descriptor)) }
      }
    }
  }

  func stop() { shutdown(listener.descriptor, Int32(SHUT_RDWR)) }

  private static func serve(_ socket: TestSocket) {
    var head: [UInt8] = []
    var newline: Int?
    while newline == nil {
      guard let part = try? socket.receive(), !part.isEmpty else { return }
      head += part
      newline = head.firstIndex(of: 0x0A)
    }
    var rest = newline.map { Array(head[($0 + 1)...]) } ?? []
    while true {
      if !rest.isEmpty, (try? socket.send(String(decoding: rest, as: UTF8.self))) == nil { return }
      guard let next = try? socket.receive(), !next.isEmpty else { return }
      rest = next
    }
  }
}

/// Clients that connect, echo and go, over and over, until they are stopped.
final class Load: Sendable {
  private let isStopped = Flag()
  let done: Counter = Counter()

  init(clients: Int, port: UInt16) {
    let (isStopped, done) = (isStopped, done)
    for client in 0..<clients {
      Thread.detachNewThread {
        while !isStopped.isSet {
          do {
            let socket = try TestSocket.connect(to: port)
            for i in 0..<20 { try socket.echo("client \(client) says \(i)") }
            done.increment()
          } catch {
            usleep(20_000)
          }
        }
      }
    }
  }

  func stop() { isStopped.set() }
  deinit { stop() }
}
