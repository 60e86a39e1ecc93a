// The simulation from seeds: whole hubs and edges, virtual time, everything that may go wrong.
//
//   swift test …                      a fixed choice of seeds
//   RI_SEED=17 swift test …           one seed, in words
//   ci/simulate [COUNT] [FIRST]       thousands, in an optimised build, on all cores

import Glibc
import RIBase
import RIRing
import Testing

@testable import RIEngine

@Suite struct SimulationTests {
  /// Seeds of the ordinary run, and cases that they are spread over.
  private static let ordinarySeeds = 300
  private static let cases = 8
  private static let chosenSeed = number("RI_SEED")

  @Test(.enabled(if: chosenSeed == nil && number("RI_SEEDS") == nil), arguments: 0..<cases)
  func theSystemHoldsWhateverHappens(case place: Int) throws {
    for seed in stride(from: place, to: Self.ordinarySeeds, by: Self.cases) {
      let problems = try Self.run(UInt64(seed)).problems
      #expect(problems.isEmpty, "RI_SEED=\(seed) ci/simulate")
    }
  }

  @Test(.enabled(if: chosenSeed != nil, "RI_SEED names no seed"))
  func theChosenSeed() throws {
    let problems = try Self.run(try #require(Self.chosenSeed), isVerbose: true).problems
    #expect(problems.isEmpty)
  }

  /// For ci/simulate: RI_SEEDS of them from RI_FIRST on, every RI_STEP-th.
  @Test(.enabled(if: number("RI_SEEDS") != nil, "RI_SEEDS says how many"))
  func manySeeds() throws {
    let count = try #require(number("RI_SEEDS"))
    for i in 0..<count {
      let seed = (number("RI_FIRST") ?? 0) + i * (number("RI_STEP") ?? 1)
      let (problems, totals) = try Self.run(seed)
      print("\(problems.isEmpty ? "passed" : "failed"): \(seed) \(totals)")
      fflush(nil)
      if !problems.isEmpty { Issue.record("RI_SEED=\(seed) ci/simulate") }
    }
  }

  /// Without this no failure could be looked into.
  @Test(arguments: [UInt64(3), 8, 21])
  func aSeedRepeatsToTheLastByte(seed: UInt64) throws {
    func trace() throws -> UInt64 {
      let simulation = try Simulation(Scenario(drawnFrom: seed))
      _ = try simulation.run()
      return simulation.trace
    }
    #expect(try trace() == trace())
  }

  /// Runs one seed. What was wrong is printed with the scenario.
  private static func run(
    _ seed: UInt64, isVerbose: Bool = false
  ) throws -> (problems: [String], totals: String) {
    let scenario = Scenario(drawnFrom: seed)
    let place = SeedsUnderWay.begin(seed)
    defer { SeedsUnderWay.end(place) }
    if isVerbose { print(scenario) }
    let simulation = try Simulation(scenario, isVerbose: isVerbose)
    let problems = try simulation.run()
    if isVerbose { print(simulation.report) }
    if !problems.isEmpty {
      print(problems.joined(separator: "\n"))
      if !isVerbose { print(scenario) }
    }
    return (problems, simulation.totals)
  }
}

/// A whole number in the environment.
private func number(_ name: String) -> UInt64? {
  getenv(name).flatMap { UInt64(String(cString: $0)) }
}

extension Simulation {
  /// Streams, their bytes, tunnels that were lost, streams given up for memory, those that became
  /// sustained flows (by each end), and what has befallen the system; then the trace.
  var totals: String {
    let engines = hubs + edges.joined()
    let lost = hubs.reduce(0) { sum, hub in
      sum
        + hub.events.count {
          if case .edgeDisconnected(_, _, let reason) = $0.event { reason.isLoss } else { false }
        }
    }
    let peers = world.clients.inOrder + world.targets.inOrder
    let bytes = peers.reduce(0) { $0 + $1.received }
    let givenUp = engines.reduce(0) { $0 + $1.streamsRefusedForMemory }
    let sustained = engines.reduce(0) { $0 + $1.shard.counters.streamsSustained }
    let restarts = hubs.count + edges.joined().count - 1 - edges.count
    let pushes = portChanges.joined().count
    let tally = world.kernel.tally
    let numbers = [
      world.targets.inOrder.count, bytes, lost, givenUp, Int(sustained), restarts, pushes,
      tally.shortSends, tally.shortReceives, tally.stalls, tally.poolsEmpty,
      tally.descriptorsRefused, tally.partialReaps, tally.lateReceives, tally.slowLookups,
      tally.clockJumps,
    ]
    return numbers.map { "\($0)" }.joined(separator: " ") + " \(trace)"
  }

  /// The run in words.
  var report: String {
    var lines = ["\(turns) turns, ended at \(world.now.microseconds) µs, trace \(trace)"]
    for (name, all) in [("hub", hubs)] + edges.enumerated().map({ ("edge \($0)", $1) }) {
      for engine in all {
        lines += engine.events.map { "\($0.time.microseconds) µs: \(name): \($0.event)" }
        lines.append("\(name): \(engine.shard.counters)")
      }
    }
    return lines.joined(separator: "\n")
  }
}

extension LinkEndReason {
  /// Whether it is not the hub's own stop.
  fileprivate var isLoss: Bool { if case .stopping = self { false } else { true } }
}

/// The seeds that run now, said when the process traps: a broken precondition in the engine is a
/// finding too.
private enum SeedsUnderWay {
  private static let placesMax = 64
  // SAFETY: made once and never freed; places are taken and left under the lock, and the handler
  // only reads texts, which are not freed either (a few bytes a seed).
  nonisolated(unsafe) private static let texts = {
    let texts = UnsafeMutablePointer<UnsafePointer<CChar>?>.allocate(capacity: placesMax)
    texts.initialize(repeating: nil, count: placesMax)
    for signal in [SIGILL, SIGTRAP, SIGSEGV, SIGABRT, SIGBUS] { watch(signal) }
    return texts
  }()
  nonisolated(unsafe) private static var former: [Int32: sigaction] = [:]
  nonisolated(unsafe) private static var lock = pthread_mutex_t()

  static func begin(_ seed: UInt64) -> Int {
    pthread_mutex_lock(&lock)
    defer { pthread_mutex_unlock(&lock) }
    guard let place = (0..<placesMax).first(where: { texts[$0] == nil }) else { return -1 }
    texts[place] = UnsafePointer(strdup("simulation: trapped in RI_SEED=\(seed) ci/simulate\n"))
    return place
  }

  static func end(_ place: Int) {
    pthread_mutex_lock(&lock)
    if place >= 0 { texts[place] = nil }
    pthread_mutex_unlock(&lock)
  }

  private static func watch(_ signal: Int32) {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { SeedsUnderWay.trapped($0) }
    var old = sigaction()
    sigaction(signal, &action, &old)
    former[signal] = old
  }

  /// Says what ran, and lets the former handler have the signal when it comes again.
  private static func trapped(_ signal: Int32) {
    for place in 0..<placesMax {
      if let text = texts[place] { write(STDERR_FILENO, text, strlen(text)) }
    }
    var old = former[signal] ?? sigaction()
    sigaction(signal, &old, nil)
  }
}
