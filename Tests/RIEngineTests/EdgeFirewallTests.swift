// The firewall beside an edge's shard, with a kernel that is played: what is asked of it and when.

import Dispatch
import Glibc
import RIBase
import RIControl
import RIFirewall
import RIRing
import RIWire
import Synchronization
import Testing

@testable import RIEngine

/// Takes note of what it is told, and fails or waits on demand.
private final class PlayedKernel: FirewallKernel {
  enum Call: Equatable {
    /// By the ports of its rules, which tell one from another.
    case apply([Port])
    case admit([Port], hub: Set<SocketAddress>)
    case remove
  }

  struct State {
    var calls: [Call] = []
    var isPresent = false
    var obstacle: NFTablesError?
    var failure: NFTablesError?
  }

  let state = Mutex(State())
  /// Apply waits for it, where there is one.
  let gate: DispatchSemaphore?

  init(gate: DispatchSemaphore? = nil) { self.gate = gate }

  var calls: [Call] { state.withLock { $0.calls } }

  func probe() throws(NFTablesError) {
    if let obstacle = state.withLock({ $0.obstacle }) { throw obstacle }
  }

  func apply(_ ruleSet: RuleSet) throws(NFTablesError) {
    gate?.wait()
    try note(.apply(ruleSet.ports), isPresent: true)
  }

  func admit(_ ruleSet: RuleSet) throws(NFTablesError) {
    guard state.withLock({ $0.isPresent }) else { throw NFTablesError(message: "no table") }
    try note(.admit(ruleSet.ports, hub: ruleSet.hub), isPresent: true)
  }

  func remove() throws(NFTablesError) { try note(.remove, isPresent: false) }

  func isPresent() throws(NFTablesError) -> Bool { state.withLock { $0.isPresent } }

  func counts(of config: FirewallConfig) throws(NFTablesError) -> [FirewallCount]? {
    config.rules.map { FirewallCount(entry: .rule(id: $0.id), packets: 7, bytes: 70) }
  }

  private func note(_ call: Call, isPresent: Bool) throws(NFTablesError) {
    let failure = state.withLock { state in
      state.calls.append(call)
      if state.failure == nil { state.isPresent = isPresent }
      return state.failure
    }
    if let failure { throw failure }
  }
}

extension RuleSet {
  fileprivate var ports: [Port] { config.rules.compactMap(\.destinationPort) }
}

@Suite struct EdgeFirewallTests {
  private final class Log: Sendable {
    let statuses = Mutex<[FirewallStatus]>([])

    var report: Engine.Report {
      { event in
        if case .firewallUpdated(let status) = event {
          self.statuses.withLock { $0.append(status) }
        }
      }
    }

    var states: [FirewallStatus.State] { statuses.withLock { $0.map(\.state) } }
  }

  private static let hub: Set = [SocketAddress(IPAddress(v4: 0x0A00_0001), 8443)]
  private static let moved: Set = [SocketAddress(IPAddress(v4: 0x0A00_0002), 8443)]

  private static func config(_ port: Int) -> JSONValue {
    .object([
      "rules": .array([
        .object([
          "id": .string("r"), "direction": .string("input"), "action": .string("drop"),
          "destPort": .integer(port),
        ])
      ])
    ])
  }

  private static let bad: JSONValue = .object(["blockedIps": .array([.string("x; drop")])])

  /// Hands a configuration over and waits until it is settled.
  private func settle(_ firewall: EdgeFirewall, _ value: JSONValue?) {
    let done = DispatchSemaphore(value: 0)
    firewall.configure(value, hub: Self.hub) { done.signal() }
    done.wait()
  }

  /// Waits until all that was asked for is done.
  private func settle(_ firewall: EdgeFirewall) {
    let done = DispatchSemaphore(value: 0)
    firewall.whenIdle { done.signal() }
    done.wait()
  }

  @Test func changesAreAppliedAndTheSameIsNot() {
    let (kernel, log) = (PlayedKernel(), Log())
    let firewall = EdgeFirewall(kernel: kernel, report: log.report)
    for port in [1, 1, 2, 2] { settle(firewall, Self.config(port)) }
    #expect(kernel.calls == [.apply([1]), .apply([2])])
    #expect(log.states == [.applied, .applied])
    let status = firewall.status()
    #expect(status.rules == 1 && status.applies == 2 && status.failures == 0)
    #expect(status.counters == [.init(kind: .rule, id: "r", packets: 7, bytes: 70)])
    settle(firewall, nil)
    settle(firewall, .object([:]))
    #expect(kernel.calls.dropFirst(2) == [.remove])
    #expect(log.states == [.applied, .applied, .off])
  }

  @Test func anEdgeWithoutAFirewallTouchesNothing() {
    let (kernel, log) = (PlayedKernel(), Log())
    let firewall = EdgeFirewall(kernel: kernel, report: log.report)
    for value in [nil, JSONValue.object([:]), nil] { settle(firewall, value) }
    firewall.hubNotReached()
    firewall.check()
    firewall.end(within: .seconds(10))
    #expect(kernel.calls.isEmpty && log.states.isEmpty)
  }

  @Test func ofWhatComesMeanwhileTheLatestCounts() {
    let gate = DispatchSemaphore(value: 0)
    let (kernel, log) = (PlayedKernel(gate: gate), Log())
    let firewall = EdgeFirewall(kernel: kernel, report: log.report)
    let settled = Mutex(0)
    let done = DispatchSemaphore(value: 0)
    for port in 1...9 {
      firewall.configure(Self.config(port), hub: Self.hub) {
        settled.withLock { $0 += 1 }
        done.signal()
      }
      // The first is under way when the others come.
      while port == 1, !firewall.isBusy { usleep(1_000) }
    }
    #expect(settled.withLock { $0 } == 0)
    gate.signal()
    gate.signal()
    for _ in 1...9 { done.wait() }
    #expect(kernel.calls == [.apply([1]), .apply([9])])
  }

  @Test func aBadOneIsRefusedAndTheFormerStays() {
    let (kernel, log) = (PlayedKernel(), Log())
    let firewall = EdgeFirewall(kernel: kernel, report: log.report)
    settle(firewall, Self.config(1))
    settle(firewall, Self.bad)
    settle(firewall, Self.bad)
    #expect(kernel.calls == [.apply([1])])
    #expect(log.states == [.applied, .refused])
    let status = firewall.status()
    #expect(status.rules == 1 && status.failures == 1)
    #expect(
      status.reason
        == "firewallConfig.blockedIps[0]: 'x; drop' is wrong; "
        + "it must be an IP address or a CIDR such as 192.0.2.0/24")
    // Back to what is in force: nothing to do, but to say so.
    settle(firewall, Self.config(1))
    #expect(kernel.calls == [.apply([1])])
    #expect(log.states == [.applied, .refused, .applied] && firewall.status().reason == nil)
  }

  @Test func aFailureIsTriedAgainWhenAskedAgain() {
    let (kernel, log) = (PlayedKernel(), Log())
    let firewall = EdgeFirewall(kernel: kernel, report: log.report)
    settle(firewall, Self.config(1))
    kernel.state.withLock { $0.failure = NFTablesError(message: "Error: no") }
    settle(firewall, Self.config(2))
    settle(firewall, Self.config(2))
    #expect(log.states == [.applied, .failed])
    #expect(firewall.status().reason == "Error: no" && firewall.status().failures == 2)
    kernel.state.withLock { $0.failure = nil }
    settle(firewall, Self.config(2))
    #expect(kernel.calls == [.apply([1]), .apply([2]), .apply([2]), .apply([2])])
    #expect(log.states == [.applied, .failed, .applied])
  }

  @Test func withoutNftablesThereIsOneReport() {
    let (kernel, log) = (PlayedKernel(), Log())
    kernel.state.withLock { $0.obstacle = NFTablesError(message: "not permitted") }
    let firewall = EdgeFirewall(kernel: kernel, report: log.report)
    for port in [1, 2, 3] { settle(firewall, Self.config(port)) }
    #expect(kernel.calls.isEmpty && log.states == [.unavailable])
    settle(firewall, nil)
    #expect(log.states == [.unavailable, .off])
  }

  @Test func theHubsAddressesFollow() {
    let kernel = PlayedKernel()
    let firewall = EdgeFirewall(kernel: kernel, report: { _ in })
    firewall.hubIs(at: Self.moved)
    settle(firewall, Self.config(1))
    for hub in [Self.hub, Self.moved, Self.moved] {
      firewall.hubIs(at: hub)
      settle(firewall)
    }
    #expect(kernel.calls == [.apply([1]), .admit([1], hub: Self.moved)])
    // Somebody has removed the table meanwhile.
    kernel.state.withLock { $0.isPresent = false }
    firewall.hubIs(at: Self.hub)
    settle(firewall)
    #expect(kernel.calls.last == .apply([1]))
  }

  @Test func aTableThatIsGoneIsMadeAgain() {
    let kernel = PlayedKernel()
    let firewall = EdgeFirewall(kernel: kernel, report: { _ in })
    settle(firewall, Self.config(1))
    firewall.check()
    settle(firewall)
    kernel.state.withLock { $0.isPresent = false }
    firewall.check()
    settle(firewall)
    #expect(kernel.calls == [.apply([1]), .apply([1])])
  }

  @Test(arguments: ["not reached", "none", "another", "end"])
  func whatAKilledEdgeLeftStaysUntilThereIsAWordOfTheHub(word: String) {
    let kernel = PlayedKernel()
    kernel.state.withLock { $0.isPresent = true }
    let firewall = EdgeFirewall(kernel: kernel, report: { _ in })
    firewall.hubIs(at: Self.hub)
    firewall.check()
    settle(firewall)
    #expect(kernel.calls.isEmpty)
    switch word {
    case "not reached":
      firewall.hubNotReached()
      firewall.hubNotReached()
      settle(firewall)
    case "none": settle(firewall, nil)
    case "end": firewall.end(within: .seconds(10))
    default:
      settle(firewall, Self.config(1))
      firewall.hubNotReached()
      settle(firewall)
      #expect(kernel.calls == [.apply([1])], "replaced at once, without a gap")
      return
    }
    #expect(kernel.calls == [.remove])
  }

  @Test func theEndIsTheEnd() {
    let kernel = PlayedKernel()
    let firewall = EdgeFirewall(kernel: kernel, report: { _ in })
    settle(firewall, Self.config(1))
    firewall.end(within: .seconds(10))
    settle(firewall, Self.config(2))
    firewall.check()
    firewall.end(within: .seconds(10))
    #expect(kernel.calls == [.apply([1]), .remove])
  }

  // MARK: In an edge

  private func allowedEdge(_ world: World, _ ports: [Port], _ firewall: JSONValue?) -> AllowedEdge {
    var edge = world.allowedEdge(ports)
    edge.firewallConfig = firewall
    return edge
  }

  private func listening(_ edge: EngineUnderTest) -> [Port] {
    edge.shard.listeners.ids.map { edge.shard.listeners[$0].address.port }.sorted()
  }

  /// Runs the world until `condition` holds: the firewall's thread is none of the world's.
  private func run(_ world: World, until condition: () -> Bool) -> Bool {
    for _ in 0..<10_000 {
      world.run(for: .milliseconds(1))
      if condition() { return true }
      usleep(1_000)
    }
    return false
  }

  @Test func portsWaitForTheirFirewall() throws {
    let gate = DispatchSemaphore(value: 0)
    let kernel = PlayedKernel(gate: gate)
    let world = try World(seed: 1)
    world.firewall = EdgeFirewall(kernel: kernel, report: { _ in })
    let hub = try world.startHub([allowedEdge(world, [1001], Self.config(1))])
    let edge = try world.startEdge()
    #expect(world.run(within: .seconds(5)) { edge.readyLinks.count == 1 })
    world.run(for: .seconds(1))
    #expect(listening(edge) == [], "the rules are not in force yet")
    gate.signal()
    #expect(run(world) { listening(edge) == [1001] })
    #expect(kernel.calls == [.apply([1])])
    // A change of the ports alone waits for nothing.
    try hub.send(.updateAllowedEdges([allowedEdge(world, [1001, 1002], Self.config(1))]))
    world.run(for: .seconds(1))
    #expect(listening(edge) == [1001, 1002])
    // Two changes while the firewall is busy: the ports of the later one.
    try hub.send(.updateAllowedEdges([allowedEdge(world, [1003], Self.config(2))]))
    world.run(for: .seconds(1))
    try hub.send(.updateAllowedEdges([allowedEdge(world, [1004], Self.config(2))]))
    world.run(for: .seconds(1))
    #expect(listening(edge) == [1001, 1002])
    gate.signal()
    #expect(run(world) { listening(edge) == [1004] })
    // A bad one refuses itself alone.
    try hub.send(.updateAllowedEdges([allowedEdge(world, [1005], Self.bad)]))
    #expect(run(world) { listening(edge) == [1005] })
    #expect(world.firewall?.status().state == .refused)
    // And none is none to wait for.
    try hub.send(.updateAllowedEdges([allowedEdge(world, [1006], nil)]))
    world.run(for: .seconds(1))
    #expect(listening(edge) == [1006])
    try world.stopAll()
  }

  @Test func theTunnelsAddressIsAlwaysLetThrough() throws {
    let kernel = PlayedKernel()
    let world = try World(seed: 2)
    world.firewall = EdgeFirewall(kernel: kernel, report: { _ in })
    let hub = try world.startHub([allowedEdge(world, [1001], Self.config(1))])
    let edge = try world.startEdge()
    #expect(run(world) { listening(edge) == [1001] })
    let old = SocketAddress(World.hubIP, 8443)
    // The hub moves: the new address is let through before it is dialled, the old one while it may
    // still be in use.
    let newIP = IPAddress(v4: 0x0A00_0209)
    let host = world.kernel.makeHost([newIP])
    world.kernel.names["hub"] = [newIP]
    hub.kill()
    _ = try world.startHub([allowedEdge(world, [1001], Self.config(1))], on: host)
    #expect(run(world) { edge.readyLinks.first?.peer.ip == newIP })
    #expect(run(world) { kernel.calls.contains(.admit([1], hub: [SocketAddress(newIP, 8443)])) })
    #expect(!kernel.calls.contains(.admit([1], hub: [old])))
    #expect(kernel.calls.filter { $0 == .apply([1]) }.count == 1)
    try world.stopAll()
  }

  @Test func withoutANameServerTheHubIsWhereItWas() throws {
    let world = try World(seed: 3)
    let (hub, edge) = try world.startBoth([1001])
    world.kernel.names["hub"] = nil
    hub.kill()
    world.run(for: .seconds(1))
    _ = try world.startHub([world.allowedEdge([1001])])
    #expect(world.run(within: .seconds(40)) { edge.readyLinks.count == 1 })
    try world.stopAll()
  }
}
