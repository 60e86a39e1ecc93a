// A named workload, as Profiles/load/NAME.json holds it.

import FoundationEssentials

/// What clients and target do with their connections.
public enum LoadKind: String, Codable, Sendable {
  /// The target sends without pause.
  case bulkDown = "bulk-down"
  /// The clients send without pause.
  case bulkUp = "bulk-up"
  /// Each connection sends a message, waits for its echo, and goes on.
  case requests = "rr"
  /// Each connection carries one message and its echo; then a new one takes its place.
  case connects = "crr"

  /// Whether the result is a rate of bytes; otherwise it is one of operations.
  public var isBulk: Bool { self == .bulkDown || self == .bulkUp }
}

/// A named workload.
public struct Workload: Codable, Equatable, Sendable {
  public var name: String
  public var about: String
  public var kind: LoadKind
  /// Connections at a time, 1 to 16,384.
  public var connections: Int
  /// Bytes of a message, 1 to 65,536; needed by `rr` and `crr`.
  public var messageBytes: Int?

  /// Throws what is wrong with the file, in words.
  public init(json: [UInt8]) throws(LoadError) {
    do {
      self = try JSONDecoder().decode(Workload.self, from: Data(json))
    } catch {
      throw LoadError("\(error)")
    }
    guard (1...16_384).contains(connections) else {
      throw LoadError("\(name): connections must be 1 to 16384")
    }
    guard kind.isBulk || (1...65_536).contains(messageBytes ?? 0) else {
      throw LoadError("\(name): messageBytes must be 1 to 65536")
    }
  }
}

/// What a client is told to do.
public struct LoadOrder: Codable, Sendable {
  public var workload: Workload
  public var port: UInt16
  public var host = loopbackHost
  public var warmUpSeconds: Double
  public var seconds: Double
  /// Processes whose CPU time is measured over the same window.
  public var watched: [Int32]
  /// Congestion control to ask for by socket option; nil where the route sets it.
  public var congestion: CongestionControl?

  public init(
    workload: Workload, port: UInt16, warmUpSeconds: Double, seconds: Double, watched: [Int32],
    congestion: CongestionControl?
  ) {
    self.workload = workload
    self.port = port
    self.warmUpSeconds = warmUpSeconds
    self.seconds = seconds
    self.watched = watched
    self.congestion = congestion
  }
}

/// Durations in microseconds.
public struct Latency: Codable, Sendable {
  public var p50, p99, p999, max: Double

  public init(_ histogram: Histogram) {
    p50 = Double(histogram.value(at: 0.5)) / 1e3
    p99 = Double(histogram.value(at: 0.99)) / 1e3
    p999 = Double(histogram.value(at: 0.999)) / 1e3
    max = Double(histogram.maximum) / 1e3
  }
}

/// What a client measured in its window.
public struct LoadResult: Codable, Sendable {
  public var seconds: Double
  /// Bytes at the receiver, or operations.
  public var units: UInt64
  /// CPU time of each watched process, in the order given.
  public var watchedCPUSeconds: [Double]
  public var clientCPUSeconds: Double
  /// CPU time of processes that are neither the client nor watched.
  public var othersCPUSeconds: Double
  public var stealSeconds: Double
  public var latency: Latency?
  public var congestion: CongestionControl
}

extension LoadResult {
  /// Reads what a client printed.
  public init(json: [UInt8]) throws(LoadError) {
    do {
      self = try JSONDecoder().decode(LoadResult.self, from: Data(json))
    } catch {
      throw LoadError("the client's result: \(error)")
    }
  }
}
