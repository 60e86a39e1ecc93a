// A tunnel whose other end takes nothing for a while, in the middle of many downloads: what it
// costs its own streams is time, and what it costs the other edges of the hub is nothing.

import RIBase
import RIControl
import RIRing
import Testing

@testable import RIEngine

@Suite struct StalledTunnelTests {
  /// Why nothing is taken.
  enum Stall: CaseIterable {
    /// The network between edge and hub is cut.
    case cut
    /// The edge's process is stopped.
    case stopped
  }

  static let bytes = 1_000_000

  private static var download: PeerPlan {
    var plan = PeerPlan()
    plan.sends = bytes
    plan.chunkBytes = 1_000...65_536
    return plan
  }

  /// Edge 1 stalls for so many milliseconds; edge 2 must not notice.
  @Test(arguments: Stall.allCases, [100, 5_000, 40_000])
  func aCutTunnelDoesNotStarveOtherEdges(_ stall: Stall, milliseconds: Int64) throws {
    let world = try World(seed: UInt64(milliseconds))
    let otherIP = IPAddress(v4: 0x0A00_0112)
    let otherHost = world.kernel.makeHost([otherIP])
    for host in [world.edgeHost, otherHost] {
      world.kernel.setPath(
        SimulatedPath(
          delay: .milliseconds(5)...Interval.milliseconds(5), bytesPerSecond: 50_000_000),
        between: host, world.hubHost)
    }
    try world.targets.serve(1001) { _ in Self.download }
    let hub = try world.startHub([
      world.allowedEdge([1001]), world.allowedEdge([1001], id: "other"),
    ])
    let edge = try world.startEdge()
    let other = try world.startEdge(id: "other", on: otherHost)
    let areUp = world.run(within: .seconds(5)) {
      [hub, edge, other].map(\.readyLinks.count) == [2, 1, 1]
    }
    try #require(areUp)

    let stalled = try (0..<80).map { _ in try world.connect(1001, PeerPlan()) }
    func connectToOther() throws -> PeerSocket {
      try world.clients.connect(to: SocketAddress(otherIP, 1001), PeerPlan())
    }
    let early = try (0..<5).map { _ in try connectToOther() }
    world.run(for: .milliseconds(60))
    #expect(stalled.contains { $0.received > 0 } && stalled.contains { $0.received < Self.bytes })

    func resume() {
      world.kernel.heal(world.edgeHost, world.hubHost)
      edge.isFrozen = false
    }
    switch stall {
    case .cut: world.kernel.partition(world.edgeHost, world.hubHost)
    case .stopped: edge.isFrozen = true
    }
    let began = world.now
    // Time for the stalled streams to take whatever they can get.
    world.run(for: .milliseconds(min(milliseconds / 2, 1_000)))
    let late = try (0..<5).map { _ in try connectToOther() }
    let clients = early + late
    // 10 MB at 50 MB/s, and a few round trips.
    let deadline = world.now + .seconds(1)
    let end = began + .milliseconds(milliseconds)
    world.run(within: min(end, deadline) - world.now) { clients.allSatisfy(\.isClosed) }
    if end < deadline { resume() }
    let areDone = world.run(within: deadline - world.now) { clients.allSatisfy(\.isClosed) }
    #expect(areDone && clients.allSatisfy(\.hasAll), "received \(clients.map(\.received))")

    world.run(for: max(.zero, end - world.now))
    resume()
    // 80 MB at 50 MB/s: the stalled go on where they were.
    let all = stalled + clients
    let haveEnded = world.run(within: .seconds(10)) { all.allSatisfy(\.isClosed) }
    #expect(haveEnded && all.allSatisfy(\.hasAll))
    world.run(for: .seconds(1))
    StreamChecks(world).checkStreams()
    #expect(hub.readyLinks.count == 2)
    for (name, engine) in [("hub", hub), ("edge", edge), ("other", other)] {
      engine.checkIdle(name)
    }
    try world.stopAll()
  }
}

extension PeerSocket {
  fileprivate var hasAll: Bool { received == StalledTunnelTests.bytes && failure == nil }
}
