// What a supervisor and its engine say to each other: one JSON value a line, on the engine's
// standard streams. Secrets go this way only.
//
//   supervisor ──▶ engine:  start, then any of updateAllowedEdges, status, watchStreams, ping,
//                           drain, stop
//   engine ──▶ supervisor:  ready or failed, then any of log, hub, edge, lost, done, status, pong

import RIBase
import RIControl

/// What the engine is told.
package enum EngineRequest: Codable, Sendable {
  /// The first line.
  case start(Start)
  /// Answered by `done`.
  case updateAllowedEdges(id: UInt64, edges: [AllowedEdge])
  /// Answered by `status`.
  case status(id: UInt64)
  /// Whether events of single streams are wanted.
  case watchStreams(Bool)
  /// Answered by `pong`.
  case ping(UInt64)
  /// No new streams; the engine ends when the live ones are gone, or after so many seconds.
  case drain(seconds: Double)
  /// The engine ends at once.
  case stop

  package enum Start: Codable, Sendable {
    case hub(HubSettings)
    case edge(EdgeSettings)
  }

  /// The time of a `drain`, whatever number it has.
  package static func drainTime(seconds: Double) -> Interval {
    guard seconds > 0 else { return .zero }
    let most = Limits.drainTimeMax
    return seconds < most.seconds ? Interval(nanoseconds: Int64(seconds * 1e9)) : most
  }
}

/// What the engine says.
package enum EngineMessage: Codable, Sendable {
  /// It is in service.
  case ready(Ready)
  /// It could not start, and ends.
  case failed(reason: String)
  case log(LogRecord)
  case hub(HubEvent)
  case edge(EdgeEvent)
  /// Events or log lines that it had no room for.
  case lost(Int)
  case done(id: UInt64)
  case status(id: UInt64, EngineStatus)
  /// It read the ping of this number, and all its shards have moved on since that of `shards`.
  case pong(UInt64, shards: UInt64)

  package struct Ready: Codable, Sendable {
    /// Where a hub accepts edges.
    package var tunnelPort: Port?
    /// A hub's.
    package var pin: String?

    package init(tunnelPort: Port?, pin: String?) {
      self.tunnelPort = tunnelPort
      self.pin = pin
    }
  }
}

/// Cuts what arrives into lines.
package struct LineAssembler {
  /// Longer lines are refused.
  package let bytesMax: Int
  private var bytes: [UInt8] = []

  package init(bytesMax: Int) { self.bytesMax = bytesMax }

  /// Takes in what has arrived and hands on each line that it completes, without its newline. False
  /// when a line is too long: nothing more can be read then.
  package mutating func append(
    _ chunk: ArraySlice<UInt8>, _ handle: (ArraySlice<UInt8>) -> Void
  ) -> Bool {
    var rest = chunk
    while let newline = rest.firstIndex(of: 0x0A) {
      guard bytes.count + newline - rest.startIndex <= bytesMax else { return false }
      if bytes.isEmpty {
        handle(rest[..<newline])
      } else {
        bytes += rest[..<newline]
        handle(bytes[...])
        bytes = []
      }
      rest = rest[(newline + 1)...]
    }
    guard bytes.count + rest.count <= bytesMax else { return false }
    bytes += rest
    return true
  }
}
