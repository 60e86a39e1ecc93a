// A named workload of UDP, as Profiles/datagrams/NAME.json holds it, and what is measured of it.

import FoundationEssentials

/// What clients and target do with their datagrams.
public enum DatagramKind: String, Codable, Sendable {
  /// Each session sends a datagram, waits for its echo, and goes on.
  case requests = "rr"
  /// The clients send at a rate, whatever becomes of it.
  case up = "stream-up"
  /// The target does.
  case down = "stream-down"

  public var isStream: Bool { self != .requests }
}

public struct DatagramWorkload: Codable, Equatable, Sendable {
  public var name: String
  public var about: String
  public var kind: DatagramKind
  /// Client sockets, 1 to 1,000.
  public var sessions: Int
  /// 16 to 65,507: number and time of sending are in front.
  public var payloadBytes: Int
  /// Of all sessions together, 1 to 10,000,000; needed by the streams.
  public var packetsPerSecond: Int?

  /// Throws what is wrong with the file, in words.
  public init(json: [UInt8]) throws(LoadError) {
    do {
      self = try JSONDecoder().decode(DatagramWorkload.self, from: Data(json))
    } catch {
      throw LoadError("\(error)")
    }
    guard (1...1_000).contains(sessions) else { throw LoadError("\(name): sessions: 1 to 1,000") }
    guard (16...65_507).contains(payloadBytes) else {
      throw LoadError("\(name): payloadBytes: 16 to 65,507")
    }
    guard !kind.isStream || (1...10_000_000).contains(packetsPerSecond ?? 0) else {
      throw LoadError("\(name): packetsPerSecond: 1 to 10,000,000")
    }
  }
}

/// What the load is told to do. It is client and target in one, so it knows what was sent and what
/// arrived, and when.
public struct DatagramOrder: Codable, Sendable {
  public var workload: DatagramWorkload
  /// Where clients send to.
  public var entryPort: UInt16
  /// Where the target listens.
  public var targetPort: UInt16
  public var warmUpSeconds: Double
  public var seconds: Double
  /// Processes whose CPU time is measured over the same window.
  public var watched: [Int32]

  public init(
    workload: DatagramWorkload, entryPort: UInt16, targetPort: UInt16, warmUpSeconds: Double,
    seconds: Double, watched: [Int32]
  ) {
    self.workload = workload
    self.entryPort = entryPort
    self.targetPort = targetPort
    self.warmUpSeconds = warmUpSeconds
    self.seconds = seconds
    self.watched = watched
  }
}

/// What was measured in the window. A datagram belongs to it by when it was sent.
public struct DatagramResult: Codable, Sendable {
  public var seconds: Double
  /// Between the readings of the clocks: more or less than `seconds` where the machine was late.
  public var clockSeconds: Double
  public var sent: Int
  /// Each counted once; of echoes those that came back within a quarter of a second.
  public var received: Int
  /// Those that came again.
  public var repeated: Int
  /// Of echoes there and back, of streams one way.
  public var latency: Latency
  public var watchedCPUSeconds: [Double]
  public var loadCPUSeconds: Double
  public var othersCPUSeconds: Double
  public var stealSeconds: Double

  public var lost: Int { sent - received }

  /// Reads what the load printed.
  public init(json: [UInt8]) throws(LoadError) {
    do {
      self = try JSONDecoder().decode(DatagramResult.self, from: Data(json))
    } catch {
      throw LoadError("the load's result: \(error)")
    }
  }

  init(_ tally: DatagramTally, _ order: DatagramOrder, _ use: MachineUse) throws(LoadError) {
    if let failure = tally.failure { throw failure }
    guard tally.received > 0 else { throw LoadError("no datagram came through") }
    seconds = order.seconds
    clockSeconds = use.seconds
    sent = tally.sent
    received = tally.received
    repeated = tally.repeated
    latency = Latency(tally.latency)
    watchedCPUSeconds = use.watched
    loadCPUSeconds = use.own
    othersCPUSeconds = use.others
    stealSeconds = use.steal
  }
}

/// What one thread of a load has counted.
struct DatagramTally: Sendable {
  var sent = 0
  var received = 0
  var repeated = 0
  var latency = Histogram()
  var failure: LoadError?

  mutating func add(_ other: DatagramTally) {
    sent += other.sent
    received += other.received
    repeated += other.repeated
    // One thread of a load measures times, and no other.
    if other.latency.total > 0 { latency = other.latency }
    failure = failure ?? other.failure
  }
}
