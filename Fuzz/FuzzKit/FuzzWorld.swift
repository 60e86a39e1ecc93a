// A whole hub or a whole edge on the simulated kernel, and what must be left of it at its end:
// nothing. The engine's rooms are open to tests only, so a release build has none of this.

import RIBase
import RIControl
import RIRing
import RIWire

#if DEBUG || FUZZING
  @testable import RIEngine

  let wholeSystems = [
    FuzzTarget("hub", inputBytesMax: 8_192, fuzzHub),
    FuzzTarget("edge", inputBytesMax: 8_192, fuzzEdge),
    FuzzTarget("hubquic", inputBytesMax: 8_192, fuzzHubQUIC),
    FuzzTarget("edgequic", inputBytesMax: 8_192, fuzzEdgeQUIC),
  ]

  /// One shard with its network.
  final class FuzzWorld {
    static let clientIP = IPAddress(v4: 0x0A00_0001)
    static let edgeIP = IPAddress(v4: 0x0A00_0101)
    static let hubIP = IPAddress(v4: 0x0A00_0201)
    static let targetIP = IPAddress(v4: 0x0A00_0301)
    static let secret = FuzzKit.secret("correct-horse-battery-staple")
    static let greeting = Array("EDGE edge-1 correct-horse-battery-staple\n".utf8)

    let kernel: SimulatedKernel
    let hosts: [IPAddress: SimulatedHost]
    private(set) var shard: Shard?
    private var shardRing: SimulatedRing?
    private var hasEnded = false
    var turns: [SimulatedTurn] = []
    /// When it began. Nobody's silence is to last for 45 s.
    private let start: Instant

    init(seed: UInt64) {
      kernel = SimulatedKernel(seed: seed)
      start = kernel.now
      var hosts: [IPAddress: SimulatedHost] = [:]
      for ip in [Self.clientIP, Self.edgeIP, Self.hubIP, Self.targetIP] {
        hosts[ip] = kernel.makeHost([ip])
      }
      self.hosts = hosts
      kernel.names = ["hub": [Self.hubIP], "target": [Self.targetIP]]
    }

    func host(_ ip: IPAddress) -> SimulatedHost {
      guard let host = hosts[ip] else { fatalError("fuzz: no host") }
      return host
    }

    func begin(_ role: Shard.Role, at ip: IPAddress) {
      let store = BufferStore(ShardPool.shapes(memoryBudgetBytes: 4 << 20))
      let ring = SimulatedRing(kernel: kernel, host: host(ip), store: store)
      let waker = ring.waker
      let shard = Shard(
        index: 0, ring: ring, role: role, mailbox: ShardMailbox(capacity: 64) { waker.wake() },
        report: { _ = "\($0)" })
      self.shard = shard
      shardRing = ring
      do { try shard.start() } catch { fatalError("fuzz: the shard does not start: \(error)") }
      turns.append(SimulatedTurn(ring) { [unowned self] in tick(shard, ring) })
    }

    private func tick(_ shard: Shard, _ ring: SimulatedRing) {
      guard !hasEnded else { return }
      shard.tick(until: nil)
      guard shard.isStopped else { return }
      ring.passesTime = true
      shard.shutDown()
      hasEnded = true
    }

    func tell(_ command: ShardCommand) {
      do { try shard?.mailbox.post(command) } catch { fatalError("fuzz: the mailbox is full") }
    }

    func run(_ span: Interval) {
      guard kernel.now + span - start < .seconds(35) else { return }
      kernel.run(turns, until: kernel.now + span)
    }

    /// Stops the shard, and looks at what it has left.
    func end() {
      tell(.stop)
      kernel.run(turns, until: kernel.now + .seconds(4), or: { hasEnded })
      must(hasEnded, "a shard that does not stop")
      guard let shard, let shardRing else { return }
      for (what, count) in [
        ("connections", shard.connections.count), ("links", shard.links.count),
        ("listeners", shard.listeners.count), ("refusals", shard.refusals.count),
        // Whoever stops during a lookup does not wait for it.
        ("operations", shardRing.pendingCount - shardRing.lookupCount),
        ("sessions", shard.sessions.count),
        ("bytes of grown windows", shard.budget.grownBytes),
      ] { must(count == 0, "\(count) \(what) are left behind") }
      for pool in 0..<shard.store.poolCount {
        let used = shard.store[PoolID(UInt8(pool))].usedCount
        must(used == 0, "\(used) buffers of pool \(pool) are left behind")
      }
      if case .hub(let hub) = shard.role { must(hub.gate.count == 0, "handshakes are left behind") }
    }
  }
#else
  let wholeSystems: [FuzzTarget] = []
#endif
