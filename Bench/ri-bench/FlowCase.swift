// Cases in which streams of one tunnel meet: small messages beside bulk, bulk beside bulk, clients
// that never read beside one that does. Each run is of a fresh system with a target that does what
// each connection asks for.

import LoadKit

/// A workload, the one that runs beside it, and the systems that it compares.
struct FlowCase {
  /// What is measured, and so which figures there are.
  enum Shape: String, Codable, CaseIterable {
    /// Requests beside bulk; how much of its rate is left to the bulk.
    case mixed
    /// Downloads against each other.
    case shares
    /// Requests alone and beside another load; what it does to them.
    case beside
    /// Short downloads alone and beside another load; what it does to them.
    case short
    /// Clients that never read; what they cost, and what they do to a paced one.
    case stalled
    /// Connections that rest; what they cost.
    case idle
  }

  /// Fewer short downloads in a window say nothing about their percentiles.
  static let shortDownloadsMin = 50

  var workload: Workload
  var beside: Workload?
  var shape: Shape
  /// What runs unless systems are named.
  var systems: [System]
  /// What may be named.
  var systemsAllowed: [System]

  var name: String { workload.name }

  /// Nil for a workload that stands alone or is only run beside others.
  init?(_ workload: Workload, among all: [Workload]) throws(LoadError) {
    let beside = all.first { $0.name == workload.beside }
    if let name = workload.beside, beside == nil {
      throw LoadError("\(workload.name): there is no workload \(name) to run beside it")
    }
    switch (workload.kind, beside) {
    case (.bulkDown, nil) where workload.appetites != nil: shape = .shares
    case (.stalled, .some(let other)) where other.kind == .paced: shape = .stalled
    case (.slow, .some(let other)) where other.kind == .paced: shape = .stalled
    case (.idle, nil): shape = .idle
    case (.requests, .some(let other)) where other.kind.isBulk && workload.alone == .beside:
      shape = .mixed
    case (.requests, .some) where workload.alone == .main: shape = .beside
    case (.shortDown, .some) where workload.alone == .main: shape = .short
    case (_, .some):
      throw LoadError("\(workload.name): nothing is known to measure of these two")
    case (_, nil): return nil
    }
    self.workload = workload
    self.beside = beside
    systemsAllowed =
      [.direct, .roofline, .oursUring, .oursEpoll, .oursUringPlain, .oursQUIC] + System.peers
    systems =
      switch shape {
      case .stalled: [.oursUring, .oursEpoll, .oursUringPlain, .oursQUIC]
      case .idle: [.roofline, .oursUring, .oursEpoll, .oursQUIC]
      case .mixed, .shares, .beside, .short:
        [.roofline, .oursUring, .oursEpoll, .oursQUIC, .haproxy]
      }
  }
}

extension Workload {
  /// Whether it is a case by itself, in the group `tunnel`.
  var isPlain: Bool {
    let isEven =
      [.bulkDown, .bulkUp, .requests, .connects].contains(kind)
      || kind == .paced && messagesPerSecond != nil
    return isEven && beside == nil && appetites == nil
  }
}

/// One run of one system in one case.
struct FlowRun: Codable {
  /// The part that ran alone, in a system of its own, just before.
  var alone: LoadResult?
  var main: LoadResult
  var beside: LoadResult?
  /// Of a stall: the paced client while the stalled ones leave.
  var leaving: LoadResult?
  var memory: StallMemory?

  /// Share of the machine taken by others, 0 to 1, in the worst of its parts.
  var disturbance: Double {
    [alone, main].compactMap { $0?.disturbance }.max() ?? 0
  }
  var isDisturbed: Bool { disturbance > RoundPlan.disturbanceMax }
}

/// All runs of one system in one case.
struct FlowFigures: Codable {
  var name: String
  var shape: FlowCase.Shape
  /// Of the case itself, without what runs beside it; absent in older results.
  var connections: Int?
  var system: System
  var runs: [FlowRun] = []
  /// Why there are no more runs.
  var failure: String?
  /// Why it was not run at all, which is no failure.
  var skipped: String?
}

extension LoadResult {
  /// Units per second.
  var rate: Double { Double(units) / seconds }

  /// Bytes per second as Gbit/s.
  var gigabits: Double { rate * 8e-9 }
}
