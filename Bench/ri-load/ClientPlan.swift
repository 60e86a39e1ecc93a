// What a client is to do, and within which bounds.

import LoadKit

/// The load of one run.
struct ClientPlan: Codable {
  enum Mode: String, Codable, CaseIterable {
    /// Messages and their echoes at a fixed rate, on connections that stay.
    case echo
    /// Connections at a fixed rate; each carries one message and its echo.
    case churn
    /// Downloads, read at a fixed rate: a small one makes slow readers.
    case download
    case upload
    /// Datagrams and their echoes at a fixed rate.
    case udp
  }

  var mode: Mode
  /// As it was given.
  var edge: String
  /// Connections or sessions at a time.
  var connections: Int
  /// Messages, connections or datagrams a second, of all connections together.
  var rate: Double
  /// How fast connections that stay are opened.
  var connectsPerSecond: Double
  /// Bytes a second of each download or upload.
  var bytesPerSecond: Double
  var messageBytes: Int
  var seconds: Double
  /// Whether the target must know the clients by their own addresses.
  var checksAddress: Bool
  /// Connections that may fail, and the share of datagrams that may be lost, in a good run.
  var failuresMax: Int
  var lossMax: Double

  var isBulk: Bool { mode == .download || mode == .upload }
}

/// Times at which something is due, evenly spread, for ever.
struct Schedule {
  private let start: UInt64
  private let gapNanoseconds: Double
  /// How many have come.
  private(set) var count = 0

  init(start: UInt64, perSecond: Double) {
    self.start = start
    gapNanoseconds = 1e9 / perSecond
  }

  /// When the next one is due.
  var next: UInt64 { start + UInt64(Double(count) * gapNanoseconds) }

  /// The next one, if it is due: its number and its time.
  mutating func take(at now: UInt64) -> (number: Int, due: UInt64)? {
    let due = next
    guard due <= now else { return nil }
    count += 1
    return (count - 1, due)
  }
}
