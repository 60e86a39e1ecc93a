// The demo's client: HTTP requests through the edge's port, one connection, every byte checked.

/// A keep-alive HTTP connection to the edge.
struct DemoClient {
  private let socket: BlockingSocket
  private var reader: LineReading
  private let pattern: DemoPattern

  init(port: UInt16, pattern: DemoPattern) throws {
    socket = try .connect(port: port)
    reader = LineReading(socket: socket)
    self.pattern = pattern
  }

  /// `GET /`; returns the body, a line.
  mutating func hello() throws -> String {
    try request("GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
    _ = try head()
    return try reader.line() ?? ""
  }

  /// Downloads `count` bytes; throws unless each is right.
  mutating func download(_ count: Int) throws {
    try request("GET /bytes/\(count) HTTP/1.1\r\nHost: demo\r\n\r\n")
    guard try head() == count, try reader.check(count, against: pattern) else {
      throw BlockingSocket.Failure(description: "the downloaded bytes differ")
    }
  }

  /// Uploads `count` bytes; throws unless the target saw each.
  mutating func upload(_ count: Int) throws {
    try request("PUT / HTTP/1.1\r\nHost: demo\r\nContent-Length: \(count)\r\n\r\n")
    var offset = 0
    while offset < count {
      let part = pattern.bytes(at: offset, limit: min(262_144, count - offset))
      try socket.write(part)
      offset += part.count
    }
    _ = try head()
    guard try reader.line() == "every byte arrived" else {
      throw BlockingSocket.Failure(description: "the uploaded bytes differ")
    }
  }

  func close() { socket.close() }

  private func request(_ text: String) throws { try socket.write(Array(text.utf8)) }

  /// Reads the head of an answer; returns its Content-Length.
  private mutating func head() throws -> Int {
    guard let status = try reader.line(), status == "HTTP/1.1 200 OK" else {
      throw BlockingSocket.Failure(description: "no answer")
    }
    var length = 0
    while let header = try reader.line(), !header.isEmpty {
      let parts = header.split(separator: ":", maxSplits: 1)
      if parts.count == 2, parts[0] == "Content-Length" {
        length = Int(parts[1].filter { !$0.isWhitespace }) ?? 0
      }
    }
    return length
  }
}
