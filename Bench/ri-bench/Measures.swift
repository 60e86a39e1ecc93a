// All figures of a report in one form: a quantity of a system in a case, once a round. Comparisons
// and plots are made of these.

import LoadKit

/// What was measured.
enum Quantity: String, Codable, CaseIterable {
  case throughput, rate, cpuPerByte, cpuPerOperation, median, tail, farTail, memory, growth, loss
  case time

  var title: String {
    switch self {
    case .throughput: "throughput"
    case .rate: "rate"
    case .cpuPerByte, .cpuPerOperation: "CPU"
    case .median: "p50"
    case .tail: "p99"
    case .farTail: "p99.9"
    case .memory: "memory"
    case .growth: "memory added"
    case .loss: "lost"
    case .time: "CPU time"
    }
  }

  var unit: String {
    switch self {
    case .throughput: "Gbit/s"
    case .rate: "op/s"
    case .cpuPerByte: "CPU-s/GB"
    case .cpuPerOperation: "CPU-µs/op"
    case .median, .tail, .farTail: "µs"
    case .memory: "MB"
    case .growth: "MiB"
    case .loss: "%"
    case .time: "ns"
    }
  }

  var isBetterWhenLarge: Bool { self == .throughput || self == .rate }
}

/// One quantity of one system in one case, a value for each round.
struct Measure {
  var name: String
  var system: String
  var quantity: Quantity
  var values: [Double]

  /// Nil for no values.
  init?(_ name: String, _ system: System, _ quantity: Quantity, _ values: [Double?]) {
    let values = values.compactMap(\.self)
    guard !values.isEmpty else { return nil }
    (self.name, self.system, self.quantity, self.values) = (name, system.rawValue, quantity, values)
  }

  init(_ micro: MicroFigures) {
    name = micro.name
    system = micro.operation
    quantity = .time
    // Their rounds are not kept; what is, is a median and how far they lie apart.
    let (median, spread) = (micro.nanoseconds.median, micro.nanoseconds.spread)
    values = [median * (1 - spread / 2), median, median * (1 + spread / 2)]
  }

  var median: Double { Repeats(values)?.median ?? 0 }
  /// (largest - smallest) / median.
  var spread: Double { Repeats(values)?.spread ?? 0 }
  var smallest: Double { values.min() ?? 0 }
  var largest: Double { values.max() ?? 0 }
}

extension Report {
  /// In the order of the tables.
  var measures: [Measure] {
    loads.flatMap(\.measures) + flows.flatMap(\.measures) + datagrams.flatMap(\.measures)
      + links.flatMap(\.measures) + micros.map(Measure.init)
  }
}

extension LoadFigures {
  var measures: [Measure] {
    [
      Measure(name, system, isBulk ? .throughput : .rate, runs.map(\.rate)),
      system == .direct
        ? nil
        : Measure(name, system, isBulk ? .cpuPerByte : .cpuPerOperation, runs.map(\.cpuPerUnit)),
      Measure(name, system, .median, runs.map(\.latency?.p50)),
      Measure(name, system, .tail, runs.map(\.latency?.p99)),
      Measure(name, system, .farTail, runs.map(\.latency?.p999)),
      system == .direct ? nil : Measure(name, system, .memory, runs.map(\.residentMegabytes)),
    ].compactMap(\.self)
  }
}

extension RunFigures {
  /// Of both ends, 10^6 bytes.
  var residentMegabytes: Double { Double(residentBytes.reduce(0, +)) / 1e6 }
}

extension FlowFigures {
  var measures: [Measure] {
    switch shape {
    case .idle: [Measure(name, system, .growth, runs.map(\.grownMebibytes))].compactMap(\.self)
    case .stalled:
      [
        Measure(name, system, .growth, runs.map(\.grownMebibytes)),
        Measure(name, system, .tail, runs.map(\.main.latency?.p99)),
      ].compactMap(\.self)
    case .shares:
      [Measure(name, system, .throughput, runs.map(\.main.gigabits))].compactMap(\.self)
    case .mixed, .beside, .short:
      [
        Measure(name, system, .rate, runs.map(\.main.rate)),
        shape == .mixed
          ? Measure(name, system, .throughput, runs.map(\.beside?.gigabits)) : nil,
        Measure(name, system, .median, runs.map(\.main.latency?.p50)),
        Measure(name, system, .tail, runs.map(\.main.latency?.p99)),
        Measure(name, system, .farTail, runs.map(\.main.latency?.p999)),
      ].compactMap(\.self)
    }
  }
}

extension DatagramFigures {
  var measures: [Measure] {
    [
      Measure(name, system, .rate, runs.map(\.packetsPerSecond)),
      system == .direct
        ? nil : Measure(name, system, .cpuPerOperation, runs.map(\.cpuPerPacket)),
      Measure(name, system, .median, runs.map(\.result.latency.p50)),
      Measure(name, system, .tail, runs.map(\.result.latency.p99)),
      Measure(name, system, .loss, runs.map { $0.loss * 100 }),
    ].compactMap(\.self)
  }
}

extension LinkFigures {
  var measures: [Measure] {
    [
      Measure(name, system, .throughput, runs.map(\.figures.rate)),
      system == .direct
        ? nil : Measure(name, system, .cpuPerByte, runs.map(\.figures.cpuPerUnit)),
    ].compactMap(\.self)
  }
}
