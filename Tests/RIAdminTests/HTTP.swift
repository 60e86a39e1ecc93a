// Servers for the length of a test, and clients: curl, and sockets of our own where curl is too
// well-behaved.

import Foundation
import Glibc
import RIAdmin
import RIBase
import RemoteIngress

let adminToken = "a-token-nobody-may-see"

/// Runs `body` beside a server on a free port of loopback.
func withServer(
  _ source: any AdminSource, token: String? = nil, host: String = "127.0.0.1",
  limits: AdminLimits = AdminLimits(), _ body: (Int) async throws -> Void
) async throws {
  let settings = AdminSettings(host: host, port: 0, token: try token.map { try Secret($0) })
  let server = AdminServer(source, settings, limits: limits)
  let port = try await server.start()
  do {
    try await body(Int(port))
  } catch {
    await server.stop()
    throw error
  }
  await server.stop()
}

struct Answer {
  var status = 0
  /// Names in lower case.
  var headers: [String: String] = [:]
  var body = ""
}

/// One request by curl.
func curl(
  _ port: Int, _ path: String, _ arguments: [String] = []
) async throws -> Answer {
  let (raw, _) = try await runToEnd(
    ["curl", "-sS", "-i", "--max-time", "20", "http://127.0.0.1:\(port)\(path)"] + arguments)
  var answer = Answer()
  guard let end = raw.range(of: "\r\n\r\n") else { return answer }
  answer.body = String(raw[end.upperBound...])
  let lines = raw[..<end.lowerBound].components(separatedBy: "\r\n")
  answer.status = Int(lines[0].split(separator: " ")[1]) ?? 0
  for line in lines.dropFirst() {
    let parts = line.split(separator: ":", maxSplits: 1)
    answer.headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
  }
  return answer
}

/// What blocks goes off the threads that the server needs.
func blocking<Result: Sendable>(
  _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
  try await withCheckedThrowingContinuation { continuation in
    Thread { continuation.resume(with: Swift.Result(catching: body)) }.start()
  }
}

/// Runs a program: its output, errors included, and its exit code.
func runToEnd(_ arguments: [String], input: String? = nil) async throws -> (String, Int32) {
  try await blocking {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    let stdin = Pipe()
    process.standardInput = stdin
    try process.run()
    if let input { try stdin.fileHandleForWriting.write(contentsOf: Data(input.utf8)) }
    try stdin.fileHandleForWriting.close()
    let data = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (String(decoding: data, as: UTF8.self), process.terminationStatus)
  }
}

/// A connection of our own. One task uses it at a time.
final class RawClient: @unchecked Sendable {
  private let descriptor: Int32
  private var buffered = ""

  /// `receiveBytes`: what the kernel may hold for us.
  init(_ port: Int, receiveBytes: Int32 = 0) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var size = receiveBytes
    if size > 0 {
      setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    }
    var limit = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(
      descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(port).bigEndian)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard code == 0 else { throw Problem("connect: errno \(errno)") }
  }

  deinit { close(descriptor) }

  func send(_ text: String) async throws {
    let bytes = Array(text.utf8)
    try await blocking { [descriptor] in
      guard Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
      else { throw Problem("send: errno \(errno)") }
    }
  }

  func get(_ path: String) async throws {
    try await send("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
  }

  /// All that has come, up to and with `text`.
  func read(until text: String) async throws -> String {
    while true {
      if let range = buffered.range(of: text) {
        let read = String(buffered[..<range.upperBound])
        buffered = String(buffered[range.upperBound...])
        return read
      }
      guard let more = try await receive() else {
        throw Problem("ended before '\(text)': \(buffered)")
      }
      buffered += more
    }
  }

  /// All until the other side closes.
  func readToEnd() async throws -> String {
    var all = buffered
    while let more = try await receive() { all += more }
    return all
  }

  /// nil at the end.
  private func receive() async throws -> String? {
    try await blocking { [descriptor] in
      var bytes = [UInt8](repeating: 0, count: 1 << 16)
      let count = recv(descriptor, &bytes, bytes.count, 0)
      if count < 0 {
        if errno == ECONNRESET { return nil }
        throw Problem("recv: errno \(errno)")
      }
      return count == 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
    }
  }
}

struct Problem: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

/// Polls until it holds; the deadline is a guard against hanging.
func wait(for what: String, until condition: () async throws -> Bool) async throws {
  let deadline = ContinuousClock.now + .seconds(20)
  while try await !condition() {
    guard ContinuousClock.now < deadline else { throw Problem("waited in vain for \(what)") }
    try await Task.sleep(for: .milliseconds(5))
  }
}
