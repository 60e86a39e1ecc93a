// The demo's target: an HTTP server behind the PROXY protocol, as nginx would stand there.

import Dispatch
import Synchronization

/// Serves `GET /`, `GET /bytes/N` and `PUT /` on loopback, a thread a connection.
final class DemoTarget: Sendable {
  let port: UInt16
  private let listener: BlockingSocket
  private let pattern: DemoPattern

  init(pattern: DemoPattern) throws {
    (listener, port) = try BlockingSocket.listen()
    self.pattern = pattern
    let queue = DispatchQueue(label: "demo.target", attributes: .concurrent)
    DispatchQueue(label: "demo.accept").async { [self] in
      while let client = listener.accept() {
        queue.async { [self] in
          try? serve(client)
          client.close()
        }
      }
    }
  }

  private func serve(_ client: BlockingSocket) throws {
    var reader = LineReading(socket: client)
    guard let proxy = try reader.line(), proxy.hasPrefix("PROXY ") else { return }
    let address = proxy.split(separator: " ").dropFirst(2).first ?? "?"
    while let request = try reader.line() {
      var length = 0
      while let header = try reader.line(), !header.isEmpty {
        let parts = header.split(separator: ":", maxSplits: 1)
        if parts.count == 2, parts[0].lowercased() == "content-length" {
          length = Int(parts[1].filter { !$0.isWhitespace }) ?? 0
        }
      }
      let words = request.split(separator: " ")
      guard words.count == 3 else { return }
      if words[0] == "PUT" {
        let intact = try reader.check(length, against: pattern)
        try answer(client, intact ? "every byte arrived\n" : "bytes differ\n")
      } else if words[1].hasPrefix("/bytes/"), let count = Int(words[1].dropFirst(7)) {
        try sendPattern(client, max(0, count))
      } else {
        try answer(client, "hello, \(address), from behind the tunnel\n")
      }
    }
  }

  private func answer(_ client: BlockingSocket, _ text: String) throws {
    try client.write(
      Array("HTTP/1.1 200 OK\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)".utf8))
  }

  private func sendPattern(_ client: BlockingSocket, _ count: Int) throws {
    try client.write(Array("HTTP/1.1 200 OK\r\nContent-Length: \(count)\r\n\r\n".utf8))
    var offset = 0
    while offset < count {
      let part = pattern.bytes(at: offset, limit: min(262_144, count - offset))
      try client.write(part)
      offset += part.count
    }
  }
}

/// Lines and bodies of HTTP, read from a socket.
struct LineReading {
  let socket: BlockingSocket
  private var buffer = [UInt8](repeating: 0, count: 262_144)
  private var start = 0
  private var end = 0

  init(socket: BlockingSocket) { self.socket = socket }

  /// The next line without its end, nil at the end of the stream. A line has at most 8 KiB.
  mutating func line() throws -> String? {
    var line: [UInt8] = []
    while line.count < 8_192 {
      guard try fill() else { return nil }
      let byte = buffer[start]
      start += 1
      if byte == 10 {
        if line.last == 13 { line.removeLast() }
        return String(decoding: line, as: UTF8.self)
      }
      line.append(byte)
    }
    throw BlockingSocket.Failure(description: "a line too long")
  }

  /// Reads `count` bytes and tells whether they are the pattern's.
  mutating func check(_ count: Int, against pattern: DemoPattern) throws -> Bool {
    var offset = 0
    while offset < count {
      guard try fill() else { return false }
      let part = buffer[start..<min(end, start + count - offset)]
      guard pattern.matches(part, at: offset) else { return false }
      start += part.count
      offset += part.count
    }
    return true
  }

  private mutating func fill() throws -> Bool {
    if start < end { return true }
    start = 0
    end = try socket.read(into: &buffer)
    return end > 0
  }
}
