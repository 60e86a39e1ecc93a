// The UDP side of a target: echoes datagrams without their PROXY headers, which stand in the first
// datagram of a session, in every one, or nowhere.

import CLoadIO
import Glibc
import LoadKit

final class TargetDatagrams {
  /// Received at a time before connections have their turn.
  private static let batch = 64
  /// Past it, further sessions are echoed and not told apart.
  private static let sessionsMax = 100_000

  let socket: Int32
  private let tally: TargetTally
  private let buffer: UnsafeMutablePointer<UInt8>
  private var sessions: Set<Endpoint> = []

  init(_ endpoint: Endpoint, _ tally: TargetTally) throws(LoadError) {
    self.tally = tally
    let socket = try endpoint.socket(SOCK_DGRAM)
    self.socket = socket
    buffer = .allocate(capacity: 65_536)
    for option in [SO_RCVBUF, SO_SNDBUF] { setOption(socket, SOL_SOCKET, option, 4 << 20) }
    guard endpoint.withName({ bind(socket, $0, $1) }) == 0 else {
      throw failure("bind UDP \(endpoint)")
    }
  }

  deinit {
    close(socket)
    buffer.deallocate()
  }

  /// Echoes what is there.
  func echo() {
    for _ in 0..<Self.batch {
      var name = sockaddr_storage()
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      let count = withUnsafeMutablePointer(to: &name) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          recvfrom(socket, buffer, 65_536, 0, $0, &length)
        }
      }
      guard count >= 0 else { return }
      tally.result.datagrams += 1
      tally.result.bytesReceived += UInt64(count)
      let bytes = UnsafeBufferPointer(start: buffer, count: count)
      var (start, client) = (0, Endpoint(name))
      if case .header(let header) = ProxyHeader.parse(bytes) {
        start = header.byteCount
        client = header.source ?? client
      }
      if let peer = Endpoint(name), sessions.count < Self.sessionsMax,
        sessions.insert(peer).inserted
      {
        tally.result.sessions += 1
        if start > 0 { tally.result.headersV2 += 1 } else { tally.result.headersAbsent += 1 }
        tally.saw(client)
      }
      guard start < count else { continue }
      let sent = withUnsafePointer(to: name) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          sendto(socket, buffer + start, count - start, 0, $0, length)
        }
      }
      if sent > 0 { tally.result.bytesSent += UInt64(sent) }
    }
  }
}
