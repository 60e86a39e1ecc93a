// The firewall that a hub asks for, put into force beside the data path: nftables takes its time.
//
//   shard ── what the hub asks for, where the hub is ─▶ orders ── the latest ─▶ worker ─▶ nftables
//         ◀───────────── settled (ShardMailbox) ────────────────────────────────┘

import Dispatch
import RIBase
import RIControl
import RIFirewall
import RIWire
import Synchronization

/// The firewall of an edge. Any thread may call; the work is done on a queue of its own, one thing
/// after the other, and of what is asked for meanwhile only the latest counts.
final class EdgeFirewall: Sendable {
  private let queue = DispatchQueue(label: "ri-firewall")
  private let orders = Mutex(FirewallOrders())
  private let worker: Mutex<FirewallWorker>
  /// The status as the worker left it, for when the worker is busy.
  private let lastStatus = Mutex(FirewallStatus())

  init(kernel: any FirewallKernel = FirewallSession(), report: @escaping Engine.Report) {
    worker = Mutex(FirewallWorker(kernel: kernel, report: report))
  }

  /// What the hub asks for, and where the hub is. `whenSettled` is called when this, or something
  /// newer, is in force or has failed.
  func configure(
    _ value: JSONValue?, hub: Set<SocketAddress>, whenSettled: @escaping @Sendable () -> Void
  ) {
    order {
      $0.config = .some(value)
      $0.hub = hub
      $0.whenSettled.append(whenSettled)
    }
  }

  /// The hub is to be reached at these addresses, whatever the rules say.
  func hubIs(at hub: Set<SocketAddress>) { order { $0.hub = hub } }

  /// The hub was not reached. What a process before this one has left may be why.
  func hubNotReached() { order { $0.dropsLeftOver = true } }

  /// For now and then: whether the table is still there.
  func check() { order { $0.checks = true } }

  private func order(_ change: (inout FirewallOrders) -> Void) {
    let wasIdle = orders.withLock { orders in
      defer {
        orders.areUnderWay = true
        change(&orders)
      }
      return !orders.areUnderWay
    }
    if wasIdle { queue.async { self.work() } }
  }

  /// Calls `body` once all that was asked for is done.
  func whenIdle(_ body: @escaping @Sendable () -> Void) { queue.async(execute: body) }

  /// Whether the worker is at it.
  var isBusy: Bool { worker.withLockIfAvailable { _ in } == nil }

  private func work() {
    let orders = orders.withLock { orders in
      defer { orders = FirewallOrders() }
      return orders
    }
    let status = worker.withLock { worker in
      worker.carryOut(orders)
      return worker.status
    }
    lastStatus.withLock { $0 = status }
    for settled in orders.whenSettled { settled() }
  }

  /// The status with the counters as they are, or as they were, while nftables is at work. Asks the
  /// kernel: takes a millisecond.
  func status() -> FirewallStatus {
    worker.withLockIfAvailable { $0.readStatus() } ?? lastStatus.withLock { $0 }
  }

  /// Removes the rules, for good. Blocks until they are gone, or `limit` has passed.
  func end(within limit: Interval) {
    let done = DispatchSemaphore(value: 0)
    queue.async {
      self.worker.withLock { $0.end() }
      done.signal()
    }
    _ = done.wait(timeout: .now() + .nanoseconds(Int(limit.nanoseconds)))
  }
}

/// What is to be done: of each kind the latest.
private struct FirewallOrders {
  /// Whether somebody has been sent for to carry them out.
  var areUnderWay = false
  /// nil: as before; else what the hub asks for.
  var config: JSONValue??
  var hub: Set<SocketAddress>?
  var dropsLeftOver = false
  var checks = false
  var whenSettled: [@Sendable () -> Void] = []
}

/// Does the work. One thread at a time.
private struct FirewallWorker {
  private(set) var status = FirewallStatus()
  private let kernel: any FirewallKernel
  private let report: Engine.Report
  private var hub: Set<SocketAddress> = []
  /// What was asked for last; nil: nothing yet.
  private var asked: JSONValue??
  /// What this process has put into force.
  private var inForce: RuleSet?
  /// A process that was killed leaves its table behind. It stays until there is a word of the hub,
  /// so that a crash opens no gap.
  private var mayHaveLeftOver = true
  private var hasEnded = false

  init(kernel: any FirewallKernel, report: @escaping Engine.Report) {
    self.kernel = kernel
    self.report = report
  }

  mutating func carryOut(_ orders: FirewallOrders) {
    guard !hasEnded else { return }
    if let hub = orders.hub { self.hub = hub }
    if let value = orders.config { configure(value) }
    if orders.hub != nil { admitHub() }
    if orders.dropsLeftOver { dropLeftOver() }
    if orders.checks { check() }
  }

  // MARK: What the hub asks for

  private mutating func configure(_ value: JSONValue?) {
    // What has failed for reasons outside of it is tried again.
    let isOpen = status.state == .failed || status.state == .unavailable
    guard asked != .some(value) || isOpen else { return }
    asked = .some(value)
    do throws(FirewallFault) {
      let config = try FirewallConfig(checking: value ?? .object([:]), unknownKeys: .ignored)
      if config.isEmpty { turnOff() } else { turnOn(config) }
    } catch {
      failed(.refused, error)
    }
  }

  private mutating func turnOff() {
    do throws(NFTablesError) {
      if inForce != nil { try kernel.remove() }
      inForce = nil
      dropLeftOver()
      settled(FirewallConfig(), .off)
    } catch {
      failed(.failed, error)
    }
  }

  private mutating func turnOn(_ config: FirewallConfig) {
    if config != inForce?.config {
      do throws(NFTablesError) { try kernel.probe() } catch { return failed(.unavailable, error) }
      do throws(NFTablesError) { try put(RuleSet(config, hub: hub)) } catch {
        return failed(.failed, error)
      }
    }
    settled(config, .applied)
  }

  private mutating func put(_ ruleSet: RuleSet) throws(NFTablesError) {
    try kernel.apply(ruleSet)
    inForce = ruleSet
    mayHaveLeftOver = false
    status.applies += 1
  }

  private mutating func settled(_ config: FirewallConfig, _ state: FirewallStatus.State) {
    let before = status
    status.state = state
    status.reason = nil
    status.blockedIps = config.blockedIPs.count
    status.rateLimits = config.rateLimits.count
    status.rules = config.rules.count
    status.counters = []
    if state == .applied || before.state != .off { report(.firewallUpdated(status)) }
  }

  private mutating func failed(_ state: FirewallStatus.State, _ error: any Error) {
    let before = status
    status.state = state
    status.reason = "\(error)"
    status.failures += 1
    switch state {
    case .refused: status.refusals += 1
    case .unavailable: status.unavailables += 1
    case .off, .applied, .failed: break
    }
    if (status.state, status.reason) != (before.state, before.reason) {
      report(.firewallUpdated(status))
    }
  }

  // MARK: What changes around it

  private mutating func admitHub() {
    guard var ruleSet = inForce, RuleSet(ruleSet.config, hub: hub) != ruleSet else { return }
    ruleSet = RuleSet(ruleSet.config, hub: hub)
    do throws(NFTablesError) {
      do throws(NFTablesError) {
        try kernel.admit(ruleSet)
        inForce = ruleSet
      } catch {
        // Somebody has changed the table.
        try put(ruleSet)
      }
    } catch {
      failed(.failed, error)
    }
  }

  private mutating func check() {
    guard let ruleSet = inForce, (try? kernel.isPresent()) == false else { return }
    report(.warning("another program has removed the table \(RuleSet.table): made again"))
    do throws(NFTablesError) { try put(ruleSet) } catch { failed(.failed, error) }
  }

  private mutating func dropLeftOver() {
    guard inForce == nil, mayHaveLeftOver else { return }
    mayHaveLeftOver = false
    guard (try? kernel.isPresent()) == true else { return }
    do throws(NFTablesError) {
      try kernel.remove()
      report(.note("removed the firewall that a former process left"))
    } catch {
      report(.warning("the firewall that a former process left cannot be removed: \(error)"))
    }
  }

  mutating func readStatus() -> FirewallStatus {
    if let inForce, let counts = try? kernel.counts(of: inForce.config) {
      status.counters = counts.map(FirewallStatus.Counter.init)
    }
    return status
  }

  mutating func end() {
    hasEnded = true
    if inForce == nil { return dropLeftOver() }
    do throws(NFTablesError) {
      try kernel.remove()
      inForce = nil
    } catch {
      report(.warning("the firewall cannot be removed: \(error)"))
    }
  }
}

extension FirewallStatus.Counter {
  fileprivate init(_ count: FirewallCount) {
    switch count.entry {
    case .rule(let id):
      self.init(kind: .rule, id: id, packets: count.packets, bytes: count.bytes)
    case .blocked:
      self.init(kind: .blockedIps, id: nil, packets: count.packets, bytes: count.bytes)
    case .rateLimit(let id):
      self.init(kind: .rateLimit, id: id, packets: count.packets, bytes: count.bytes)
    }
  }
}
