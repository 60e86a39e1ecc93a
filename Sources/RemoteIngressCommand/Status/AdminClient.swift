// The few words of HTTP/1.1 that asking for a status takes.

import Glibc
import RIWire
import RemoteIngress

/// Asks an admin interface.
struct AdminClient {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  /// More is no status.
  private static let answerBytesMax = 64 << 20
  private static let secondsMax = 5

  private let endpoint: Endpoint
  private let token: String?

  init(_ endpoint: Endpoint, token: String?) {
    self.endpoint = endpoint
    self.token = token
  }

  func status() throws(Failure) -> StatusSample {
    let body = try get("/status")
    return StatusSample(body)
  }

  private func get(_ path: String) throws(Failure) -> [UInt8] {
    let descriptor = try connect()
    defer { close(descriptor) }
    var lines = ["GET \(path) HTTP/1.1", "Host: \(place)", "Connection: close"]
    if let token { lines.append("Authorization: Bearer \(token)") }
    let request = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
      throw failure("does not listen")
    }
    var answer: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = recv(descriptor, &chunk, chunk.count, 0)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure("does not answer") }
      guard count > 0 else { break }
      answer += chunk[..<count]
      guard answer.count <= Self.answerBytesMax else { throw failure("answers without end") }
    }
    return try body(of: answer)
  }

  private func body(of answer: [UInt8]) throws(Failure) -> [UInt8] {
    guard let response = HTTPAnswer(answer) else { throw failure("does not speak HTTP") }
    switch response.status {
    case 200: return response.body
    case 401, 403:
      throw failure("wants a bearer token: --token-file, or REMOTEINGRESS_ADMIN_TOKEN")
    case let status: throw failure("answers \(status)")
    }
  }

  private var place: String {
    endpoint.host.contains(":")
      ? "[\(endpoint.host)]:\(endpoint.port)" : "\(endpoint.host):\(endpoint.port)"
  }

  private func failure(_ what: String) -> Failure { Failure(description: "\(place) \(what)") }

  private func connect() throws(Failure) -> Int32 {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(endpoint.host, "\(endpoint.port)", &hints, &found) == 0 else {
      throw failure("has no address")
    }
    defer { freeaddrinfo(found) }
    var next = found
    var code: Int32 = 0
    // SAFETY: the list belongs to us until freeaddrinfo(3) and ends with a null pointer.
    while let address = next?.pointee {
      next = address.ai_next
      let descriptor = socket(
        address.ai_family, address.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else { continue }
      var limit = timeval(tv_sec: Self.secondsMax, tv_usec: 0)
      let size = socklen_t(MemoryLayout<timeval>.size)
      setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
      setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
      if Glibc.connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 { return descriptor }
      code = errno
      close(descriptor)
    }
    throw failure("is not there: \(String(cString: strerror(code)))")
  }
}

/// A whole answer of an HTTP/1.1 server that has closed its connection.
struct HTTPAnswer {
  var status: Int
  var body: [UInt8]

  init?(_ bytes: [UInt8]) {
    let end = Array("\r\n\r\n".utf8)
    guard let head = bytes.indices.first(where: { bytes[$0...].starts(with: end) }) else {
      return nil
    }
    let lines = String(decoding: bytes[..<head], as: UTF8.self).split(separator: "\r\n")
    let first = lines.first?.split(separator: " ") ?? []
    guard first.count >= 2, first[0].hasPrefix("HTTP/1."), let status = Int(first[1]) else {
      return nil
    }
    self.status = status
    let rest = bytes[(head + 4)...]
    let isChunked = lines.contains {
      $0.lowercased().hasPrefix("transfer-encoding:") && $0.lowercased().hasSuffix("chunked")
    }
    guard isChunked else {
      body = Array(rest)
      return
    }
    guard let joined = Self.joined(chunks: rest) else { return nil }
    body = joined
  }

  /// RFC 9112 section 7.1.
  private static func joined(chunks: ArraySlice<UInt8>) -> [UInt8]? {
    var rest = chunks
    var body: [UInt8] = []
    while let newline = rest.firstIndex(of: 0x0A) {
      let line = String(decoding: rest[..<newline], as: UTF8.self)
      let digits = line.prefix { $0.isHexDigit }
      guard let count = Int(digits, radix: 16), count >= 0 else { return nil }
      if count == 0 { return body }
      rest = rest[(newline + 1)...]
      guard rest.count >= count + 2 else { return nil }
      body += rest.prefix(count)
      rest = rest.dropFirst(count + 2)
    }
    return nil
  }
}
