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
  /// Each connection carries one download of a fixed size; then a new one takes its place.
  case shortDown = "short-down"
  /// Each connection sends a message whenever one is due, answered or not (open loop).
  case paced
  /// Each connection asks for a download and never reads.
  case stalled

  /// Whether the result is a rate of bytes; otherwise it is one of operations.
  public var isBulk: Bool { self == .bulkDown || self == .bulkUp }
}

/// How one of several downloads differs from the others. All of them want more than they get.
public struct Appetite: Codable, Equatable, Sendable {
  /// Bytes of one receive at the client, 1 to 262,144.
  public var receiveBytes: Int
  /// Bytes of one write at the target, 1 to 262,144.
  public var writeBytes: Int
  /// When it connects, after the load's start, 0 to 60,000.
  public var startMilliseconds: Int
}

/// A named workload.
public struct Workload: Codable, Equatable, Sendable {
  /// Which part of a pair runs alone too, in the same round, for the pair to be compared with.
  public enum Alone: String, Codable, Sendable { case main, beside }

  public var name: String
  public var about: String
  public var kind: LoadKind
  /// Connections at a time, 1 to 16,384.
  public var connections: Int
  /// Bytes of a message, 1 to 65,536; needed by `rr`, `crr` and `paced`.
  public var messageBytes: Int?
  /// Bytes of one download, 1 to 10^9; needed by `short-down`.
  public var downloadBytes: Int?
  /// Time from one message to the next, 1 to 60,000; needed by `paced`.
  public var intervalMilliseconds: Int?
  /// How fast connections are opened, 1 to 10,000; needed by `stalled`.
  public var connectsPerSecond: Int?
  /// One for each connection, in the order of their starts; for `bulk-down`.
  public var appetites: [Appetite]?
  /// The name of the workload that runs in the same tunnel at the same time.
  public var beside: String?
  /// How long that one has been running when this one starts, 0 to 60; 0 when absent.
  public var besideLeadSeconds: Double?
  public var alone: Alone?
  /// What a window takes at least, 0 to 600, however short the others are.
  public var secondsMin: Double?
  /// What its warm-up takes at least, 0 to 60: where connecting takes long.
  public var warmUpSecondsMin: Double?
  /// MTU of the loopback device while it runs, 576 to 65,536, where the network is private.
  public var loopbackMTU: Int?

  /// Throws what is wrong with the file, in words.
  public init(json: [UInt8]) throws(LoadError) {
    do {
      self = try JSONDecoder().decode(Workload.self, from: Data(json))
    } catch {
      throw LoadError("\(error)")
    }
    if let complaint = complaint() { throw LoadError("\(name): \(complaint)") }
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
  /// When it begins, on the monotonic clock, so that several clients begin together; nil: at once.
  public var startAt: UInt64?
  /// Whether the target has to be asked for what it shall do: its mode is `asked`.
  public var asks: Bool

  public init(
    workload: Workload, port: UInt16, warmUpSeconds: Double, seconds: Double, watched: [Int32],
    congestion: CongestionControl?, startAt: UInt64? = nil, asks: Bool = false
  ) {
    self.workload = workload
    self.port = port
    self.warmUpSeconds = warmUpSeconds
    self.seconds = seconds
    self.watched = watched
    self.congestion = congestion
    self.startAt = startAt
    self.asks = asks
  }
}

/// Durations in microseconds.
public struct Latency: Codable, Sendable {
  public var p50, p95, p99, p999, max: Double

  public init(_ histogram: Histogram) {
    p50 = Double(histogram.value(at: 0.5)) / 1e3
    p95 = Double(histogram.value(at: 0.95)) / 1e3
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
  /// Units per second before the window.
  public var warmUpRate: Double
  /// Bytes of each download, in the order of the connections.
  public var streamUnits: [UInt64]?
  public var paced: PacedCounts?
  public var stalled: StalledCounts?
}

/// What became of messages that were due at fixed times, from the first to the last.
public struct PacedCounts: Codable, Sendable {
  public var sent: Int
  /// Within 2 s of the last one.
  public var answered: Int
  /// How long after it was due the client itself came to send a message, in the window.
  public var lateness: Latency

  public var lost: Int { sent - answered }
}

/// What became of connections that are never read, at the end of the window.
public struct StalledCounts: Codable, Equatable, Sendable {
  /// Connected and asked for the download.
  public var requested: Int
  /// With the download's first bytes waiting to be read.
  public var served: Int
  /// Ended by the other side.
  public var ended: Int
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
