// A link on a real socket, and the foreign programs at the other end.

import Foundation
import RIBase
import RICrypto
import TestRandom
import Testing

@testable import RITLS

/// Moves bytes between a link and a TCP connection until a condition holds.
final class SocketDriver {
  struct Closed: Error {}

  let end: LinkEnd
  private let socket: Int32
  private var outgoing: [UInt8] = []
  private var random = SplitMix64()
  private(set) var isPeerGone = false

  /// Takes over a connected socket.
  init(_ end: LinkEnd, socket: Int32) {
    self.end = end
    self.socket = socket
    _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK)
  }

  deinit { close(socket) }

  func send(_ plaintext: [UInt8]) {
    outgoing += end.control()
    outgoing += end.seal(plaintext, using: &random)
  }

  func finish() {
    end.link.close()
    outgoing += end.control()
  }

  /// Returns when `isDone` holds and all was sent; throws when the peer is gone before that.
  func pump(until isDone: () throws -> Bool) throws {
    outgoing += end.control()
    while try !isDone() || !outgoing.isEmpty {
      guard !isPeerGone, end.failure == nil else { throw Closed() }
      let events = Int16(POLLIN | (outgoing.isEmpty ? 0 : POLLOUT))
      var descriptor = pollfd(fd: socket, events: events, revents: 0)
      guard poll(&descriptor, 1, 30_000) > 0 else { throw Closed() }
      if descriptor.revents & Int16(POLLOUT) != 0 {
        let n = Glibc.send(socket, outgoing, outgoing.count, Int32(MSG_NOSIGNAL))
        if n > 0 { outgoing.removeFirst(n) }
      }
      if descriptor.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 { receive() }
    }
  }

  private func receive() {
    var bytes = [UInt8](repeating: 0, count: Int.random(in: 1...100_000, using: &random))
    let n = recv(socket, &bytes, bytes.count, 0)
    if n > 0 {
      end.receive(bytes[0..<n])
      outgoing += end.control()
    } else if n == 0 || errno != EAGAIN {
      isPeerGone = true
    }
  }
}

/// A listening or connected TCP socket on loopback.
enum Loopback {
  static func connect(_ port: UInt16) throws -> Int32 {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = self.address(port)
    let result = withSockaddr(&address) {
      Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
    try #require(result == 0)
    return socket
  }

  static func listen() throws -> (socket: Int32, port: UInt16) {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = self.address(0)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withSockaddr(&address) { Glibc.bind(socket, $0, size) }
    try #require(result == 0 && Glibc.listen(socket, 8) == 0)
    try #require(withSockaddr(&address) { getsockname(socket, $0, &size) } == 0)
    return (socket, UInt16(bigEndian: address.sin_port))
  }

  private static func address(_ port: UInt16) -> sockaddr_in {
    sockaddr_in(
      sin_family: UInt16(AF_INET), sin_port: port.bigEndian,
      sin_addr: in_addr(s_addr: UInt32(0x7F00_0001).bigEndian),
      sin_zero: (0, 0, 0, 0, 0, 0, 0, 0))
  }

  private static func withSockaddr<R>(
    _ address: inout sockaddr_in, _ body: (UnsafeMutablePointer<sockaddr>) -> R
  ) -> R {
    withUnsafeMutableBytes(of: &address) {
      body($0.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: sockaddr.self))
    }
  }
}

/// A foreign program that is spoken to by lines.
final class ForeignProgram {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private(set) var text = ""

  init(_ arguments: [String]) throws {
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.standardInput = input
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    try output.fileHandleForWriting.close()
  }

  deinit {
    // Not every program listens to SIGTERM here: children inherit a blocked one.
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    process.waitUntilExit()
  }

  func write(_ line: String) throws {
    try input.fileHandleForWriting.write(contentsOf: Data((line + "\n").utf8))
  }

  /// Reads output until `isDone` likes it.
  func read(until isDone: (String) -> Bool) throws {
    while !isDone(text) {
      let data = output.fileHandleForReading.availableData
      try #require(!data.isEmpty, "the program ended: \(text)")
      text += String(decoding: data, as: UTF8.self)
    }
  }

  /// The number behind the last occurrence of `prefix`, once its line is whole.
  func readPort(after prefix: String) throws -> UInt16 {
    func port() -> UInt16? {
      guard let range = text.range(of: prefix, options: .backwards),
        let end = text[range.upperBound...].firstIndex(of: "\n")
      else { return nil }
      return UInt16(text[range.upperBound..<end])
    }
    try read { _ in port() != nil }
    return try #require(port())
  }
}
