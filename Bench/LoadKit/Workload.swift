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
  /// Each connection asks for a download and reads it slowly.
  case slow
  /// Each connection carries one message and its echo, and then rests.
  case idle

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

/// Values that a workload is run with, one after the other; each makes a case of its own.
public struct Sweep: Codable, Equatable, Sendable {
  public var connections: [Int]?
  public var shards: [Int]?
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
  /// Bytes of a message, 1 to 65,536; needed by `rr`, `crr`, `paced` and `idle`.
  public var messageBytes: Int?
  /// Bytes of one download, 1 to 10^9; needed by `short-down`.
  public var downloadBytes: Int?
  /// Time from one message to the next, 1 to 60,000; `paced` needs it or a rate.
  public var intervalMilliseconds: Int?
  /// Messages of all connections together, 1 to 1,000,000, evenly spread; for `paced`.
  public var messagesPerSecond: Int?
  /// How fast connections are opened, 1 to 10,000; needed by `stalled`, `slow` and `idle`.
  public var connectsPerSecond: Int?
  /// What each connection reads, 1 to 10^9; needed by `slow`.
  public var readBytesPerSecond: Int?
  /// Shards of edge and hub, 1 to 64; 1 when absent.
  public var shards: Int?
  public var sweep: Sweep?
  /// The name of the file's workload, where this is one of its sweep.
  public private(set) var family: String?
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

extension Workload {
  /// Its sweep, in the order of the values; itself when it has none.
  public var members: [Workload] {
    guard let sweep else { return [self] }
    func member(_ value: Int, _ field: WritableKeyPath<Workload, Int>) -> Workload {
      var member = self
      member.sweep = nil
      member.family = name
      member.name = "\(name)-\(value)"
      member[keyPath: field] = value
      return member
    }
    return (sweep.connections ?? []).map { member($0, \.connections) }
      + (sweep.shards ?? []).map { member($0, \.shardCount) }
  }

  public var shardCount: Int {
    get { shards ?? 1 }
    set { shards = newValue }
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
  public var idle: IdleCounts?
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
  /// Bytes that slow readers have read, all together; nil for those that never read.
  public var readBytes: UInt64?
}

/// What became of connections that rest, at the end of the window.
public struct IdleCounts: Codable, Equatable, Sendable {
  /// Whose echo came back.
  public var answered: Int
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
