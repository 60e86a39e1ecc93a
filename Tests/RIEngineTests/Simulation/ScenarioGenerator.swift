// Scenarios from seeds.

import RIBase
import RIWire
import RIRing
import TestRandom

@testable import RIEngine

extension Scenario {
  init(drawnFrom seed: UInt64) {
    var generator = ScenarioGenerator(seed: seed)
    self = generator.scenario()
  }
}

/// Draws a scenario. Small and calm ones are most common; everything occurs within some hundred.
struct ScenarioGenerator {
  private let seed: UInt64
  private var random: SplitMix64
  private var mood = ScenarioMood.mixed
  /// What all plans together may still send.
  private var bytesLeft = 0

  init(seed: UInt64) {
    self.seed = seed
    random = SplitMix64(seed &* 0x9E37_79B9 &+ 77)
  }

  mutating func scenario() -> Scenario {
    mood = pick([.mixed, .mixed, .mixed, .mixed, .mixed, .crowd, .bulk, .pressure, .pressure])
    if chance(3) { mood = .sustained }
    var scenario = Scenario(seed: seed, mood: mood)
    scenario.edgeCount = [1, 1, 2, 3][draw(0...3)]
    scenario.network = network(edges: scenario.edgeCount)
    scenario.pools = pools()
    scenario.offer = chance(75) ? .all : pick([[], .autoWindow, .drain])
    scenario.known = (0..<scenario.edgeCount).map { _ in
      chance(75) ? .all : pick([[], .autoWindow, .drain])
    }
    bytesLeft =
      switch mood {
      case .mixed, .crowd, .sustained: pick([500_000, 2_000_000, 4_000_000, 8_000_000])
      case .bulk, .pressure: pick([4_000_000, 8_000_000, 16_000_000])
      }
    // 20 s of the slowest tunnel's time.
    if let slowest = scenario.network.tunnelPaths.compactMap(\.bytesPerSecond).min() {
      bytesLeft = min(bytesLeft, slowest * 20)
    }
    let spread = Interval.milliseconds(Int64(pick([1, 50, 1_000, 5_000, 20_000])))
    scenario.clients = clients(over: spread, edges: scenario.edgeCount)
    if chance(60) { scenario.acts = acts(over: spread, scenario) }
    let last = scenario.acts.last?.at ?? .zero
    // Now and then long enough for some PINGs.
    let rest = chance(85) ? draw(0...3_000) : draw(0...120_000)
    scenario.calmAfter = max(spread, last) + .milliseconds(Int64(rest))
    return scenario
  }

  // MARK: Drawing

  private mutating func draw(_ range: ClosedRange<Int>) -> Int {
    Int.random(in: range, using: &random)
  }

  private mutating func chance(_ percent: Int) -> Bool { draw(0...99) < percent }

  private mutating func pick<T>(_ all: [T]) -> T { all[draw(0...all.count - 1)] }

  private mutating func span(_ milliseconds: ClosedRange<Int>) -> Interval {
    .microseconds(Int64(draw(milliseconds.lowerBound * 1_000...milliseconds.upperBound * 1_000)))
  }

  private mutating func time(within spread: Interval) -> Interval {
    Interval(nanoseconds: Int64(draw(0...Int(spread.nanoseconds))))
  }

  // MARK: Network and memory

  private mutating func network(edges: Int) -> ScenarioNetwork {
    var network = ScenarioNetwork()
    network.clientPath = path([10, 300, 10_000, 40_000])
    network.targetPath = path([10, 10, 300, 2_000])
    network.tunnelPaths = (0..<edges).map { _ in tunnelPath() }
    if mood != .sustained, chance(40) {
      network.faults.shortSend = 0.2
      network.faults.shortReceive = 0.3
      network.faults.stall = 0.02
      network.faults.stallTime = .milliseconds(Int64(draw(1...200)))
    }
    if mood != .sustained, chance(40) {
      network.faults.partialReap = Double(draw(1...6)) / 10
      network.faults.lateCancel = Double(draw(1...9)) / 10
      network.faults.slowLookup = 0.5
      network.faults.lookupTime = span(1...8_000)
    }
    let sizes =
      switch mood {
      case .pressure: [2_048, 4_096, 16_384, 65_536]
      case .sustained: [1 << 20]
      default: [2_048, 4_096, 16_384, 65_536, 262_144, 1 << 20]
      }
    network.sendBufferBytes = pick(sizes)
    network.receiveBufferBytes = pick(sizes)
    return network
  }

  private mutating func tunnelPath() -> SimulatedPath {
    var path = path([10, 300, 5_000, 40_000, mood == .sustained ? 40_000 : 150_000])
    if mood == .sustained {
      path.bytesPerSecond = pick([4_000_000, 6_000_000, 10_000_000])
    } else if chance(40) {
      path.bytesPerSecond = pick([100_000, 1_000_000, 10_000_000, 100_000_000])
    }
    return path
  }

  /// Some delay up to one of these, in microseconds, with or without jitter.
  private mutating func path(_ most: [Int]) -> SimulatedPath {
    let longest = Int64(draw(1...pick(most)))
    let shortest = chance(50) ? longest : longest - longest / Int64(draw(1...10))
    return SimulatedPath(delay: .microseconds(shortest)...Interval.microseconds(longest))
  }

  private mutating func pools() -> ScenarioPools {
    var pools = ScenarioPools()
    if mood == .sustained { return pools }
    switch draw(0...9) {
    case 0: pools.size = .one
    case 1...3: pools.size = .tiny
    default: break
    }
    if mood == .pressure || chance(10) {
      if chance(60) {
        pools.stashBuffers = draw(4...64)
      } else {
        pools.budgetBytes = draw(1...3) << 20
      }
    }
    return pools
  }

  // MARK: Clients

  private mutating func clients(over spread: Interval, edges: Int) -> [ScenarioClient] {
    let count =
      switch mood {
      case .mixed: draw(1...pick([6, 20, 40, 80]))
      case .crowd: draw(60...250)
      case .bulk: draw(1...6)
      case .pressure: draw(5...30)
      case .sustained: draw(3...30)
      }
    var clients = (0..<count).map { _ in client(over: spread, edges: edges) }
    if mood == .sustained { clients += (0..<draw(1...2)).map { _ in elephant(edges: edges) } }
    return clients.sorted { $0.at < $1.at }
  }

  /// Some ten seconds' worth of its tunnel in one direction.
  private mutating func elephant(edges: Int) -> ScenarioClient {
    var client = ScenarioClient(
      at: .zero, edge: draw(0...edges - 1), port: .open, plan: PeerPlan(), target: PeerPlan())
    if chance(50) {
      client.plan.sends = draw(30...60) << 20
    } else {
      client.target.sends = draw(30...60) << 20
    }
    return client
  }

  private mutating func client(over spread: Interval, edges: Int) -> ScenarioClient {
    var client = ScenarioClient(
      at: time(within: spread), edge: draw(0...edges - 1), port: .open, plan: PeerPlan(),
      target: PeerPlan())
    switch draw(0...29) {
    case 0: client.port = .refused
    case 1: client.port = .silent
    case 2...3: client.port = .sometimes
    case 4...7: client.port = .named
    default: break
    }
    drawKind(&client)
    if chance(12) { breakOff(&client.plan) }
    if chance(8) { breakOff(&client.target) }
    let laziness = mood == .pressure ? 60 : 10
    if chance(laziness) { idle(&client.plan, of: &client.target) }
    if chance(laziness) { idle(&client.target, of: &client.plan) }
    return client
  }

  private mutating func drawKind(_ client: inout ScenarioClient) {
    drawManner(&client.plan)
    drawManner(&client.target)
    switch draw(0...9) {
    case 0...2:
      client.plan.sends = size(client.plan)
      client.target.echoes = true
    case 3...5:
      client.plan.sends = draw(1...500)
      client.plan.end = chance(50) ? .hold : .finish
      client.target.sends = size(client.target)
    case 6...7:
      client.plan.sends = size(client.plan)
      client.target.end = .hold
    case 8:
      client.plan.sends = size(client.plan)
      client.target.sends = size(client.target)
      client.target.end = chance(50) ? .hold : .finish
    default:
      // At rest until the end.
      client.plan.sends = draw(0...2_000)
      client.target.sends = draw(0...2_000)
      client.plan.end = .hold
      client.target.end = .hold
    }
  }

  /// Pieces and pauses; tiny pieces of much data take for ever.
  private mutating func drawManner(_ plan: inout PeerPlan) {
    plan.chunkBytes = 1...pick([10, 3_000, 60_000, 60_000])
    plan.pause = .milliseconds(Int64(pick([0, 0, 0, 5, 300])))
  }

  private mutating func size(_ plan: PeerPlan) -> Int {
    var most =
      switch mood {
      case .mixed, .sustained: pick([1, 100, 5_000, 50_000, 300_000, 1_500_000])
      case .crowd: pick([1, 100, 5_000, 50_000])
      case .bulk: pick([1_500_000, 8_000_000])
      case .pressure: pick([100, 50_000, 300_000, 1_500_000])
      }
    if plan.chunkBytes.upperBound == 10 { most = min(most, 2_000) }
    if plan.pause > .milliseconds(5) { most = min(most, 300_000) }
    // Some is left for those who come later.
    let bytes = draw(0...min(most, bytesLeft / 2))
    bytesLeft -= bytes
    return bytes
  }

  private mutating func breakOff(_ plan: inout PeerPlan) {
    switch draw(0...2) {
    case 0: plan.end = .reset
    case 1: plan.reads = .until(chance(30) ? 0 : draw(1...10_000))
    default: plan.reads = .until(draw(1...500_000))
    }
  }

  /// Has a reader rest, and under pressure its writer send enough to matter.
  private mutating func idle(_ reader: inout PeerPlan, of writer: inout PeerPlan) {
    if mood == .pressure, !writer.echoes, bytesLeft > 0 {
      let bytes = draw(0...min(bytesLeft, pick([50_000, 500_000, 1_500_000])))
      bytesLeft -= bytes
      writer.sends += bytes
      writer.chunkBytes = 1...60_000
      writer.pause = .zero
    }
    reader.reads = chance(50) ? .never : .rests(after: draw(0...writer.sends), span(100...40_000))
  }

  // MARK: Acts

  private mutating func acts(over spread: Interval, _ scenario: Scenario) -> [ScenarioAct] {
    let span = max(spread, .milliseconds(200)) + .milliseconds(Int64(draw(0...2_000)))
    return (0..<draw(1...pick([2, 5, 9]))).map { _ in
      ScenarioAct(at: time(within: span), kind: kind(scenario))
    }
    .sorted { $0.at < $1.at }
  }

  private mutating func kind(_ scenario: Scenario) -> ScenarioAct.Kind {
    let edge = draw(0...scenario.edgeCount - 1)
    let engine = chance(40) ? ScenarioAct.Engine.hub : .edge(edge)
    switch draw(0...18) {
    case 0...1: return .reset(edge: edge)
    case 2...3:
      return .blackHole(edge: edge, chance(80) ? span(100...40_000) : span(50_000...100_000))
    case 4...5: return .freeze(engine, span(100...40_000))
    case 6...7: return .kill(engine, back: span(0...5_000))
    case 8: return .drain(engine, span(0...20_000), back: span(0...30_000))
    case 9...10: return .assign(edge: edge, ports())
    case 11: return .revoke(edge: edge, span(0...20_000))
    case 12: return .twin(edge: edge, span(10...10_000))
    case 13: return .path(edge: edge, tunnelPath())
    case 14: return .cutTarget(draw(0...scenario.clients.count - 1))
    case 15: return .cutClient(draw(0...scenario.clients.count - 1))
    case 16:
      let all = (0..<draw(2...8)).map { _ in ports() }
      return .pushes(edge: edge, all, every: span(0...pick([1, 10, 200])))
    case 17:
      let ahead = chance(20) ? Interval.zero : span(1...pick([100, 10_000, 100_000]))
      return .clocks(engine, ahead: ahead, wall: draw(-100_000_000...100_000_000))
    default: return .descriptors(engine, spare: draw(0...5), span(10...20_000))
    }
  }

  private mutating func ports() -> [Port] {
    var ports = ScenarioPort.assignedAtFirst
    if chance(70) { ports.append(ScenarioPort.sometimes.rawValue) }
    if chance(30) { ports.removeFirst() }
    return ports
  }
}
