// What a target has seen: connections, bytes, and the clients that the PROXY headers speak of.

import FoundationEssentials
import LoadKit

struct TargetResult: Codable, Equatable {
  struct Client: Codable, Equatable {
    var address: String
    /// Connections and UDP sessions.
    var count: Int
  }

  var seconds = 0.0
  var connections = 0
  var sessions = 0
  var datagrams = 0
  var bytesReceived: UInt64 = 0
  var bytesSent: UInt64 = 0
  /// Connections with a header of version 1, of version 2, and with none.
  var headersV1 = 0
  var headersV2 = 0
  var headersAbsent = 0
  /// Connections whose header or request was wrong, and uploads with wrong bytes.
  var refused = 0
  var wrongUploads = 0
  /// How many client addresses, and the most frequent of them.
  var addresses = 0
  var clients: [Client] = []
}

final class TargetTally {
  /// Past it, further addresses are counted with the connections alone.
  private static let addressesMax = 100_000
  private static let clientsSaid = 100

  var result = TargetResult()
  private var clients: [String: Int] = [:]
  private var before = TargetResult()

  func saw(_ client: Endpoint?) {
    guard let client else { return }
    let host = client.host
    if clients.count < Self.addressesMax || clients[host] != nil {
      clients[host, default: 0] += 1
    }
  }

  func line(_ second: Int, open: Int) -> String {
    defer { before = result }
    let received = Double(result.bytesReceived - before.bytesReceived) / 1e6
    let sent = Double(result.bytesSent - before.bytesSent) / 1e6
    return "\(second) s: \(open) open, \(result.connections) connections, "
      + "\(result.sessions) UDP sessions, \(clients.count) client addresses, "
      + "\(significant(received)) MB/s in, \(significant(sent)) MB/s out, "
      + "\(result.refused) refused"
  }

  func finish(seconds: Double) -> TargetResult {
    result.seconds = seconds
    result.addresses = clients.count
    let sorted = clients.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
    result.clients = sorted.prefix(Self.clientsSaid).map {
      TargetResult.Client(address: $0.key, count: $0.value)
    }
    return result
  }
}
