// Names that lead elsewhere: docs/RELIABILITY.md names these tests.

import RIBase
import RIControl
import RIRing
import Testing

@testable import RIEngine

struct FaultTests {
  @Test func aHubThatHasMovedIsFoundByItsName() throws {
    let world = try World(seed: 1)
    try world.targets.serve(1001) { _ in PeerPlan(sends: 1_000) }
    let (hub, edge) = try world.startBoth([1001])
    let newIP = IPAddress(v4: 0x0A00_0601)
    let newHost = world.kernel.makeHost([newIP])
    hub.kill()
    // For a while the name leads nowhere, then elsewhere.
    world.kernel.names["hub"] = []
    world.run(for: .seconds(40))
    #expect(edge.readyLinks.isEmpty)
    _ = try world.startHub([world.allowedEdge([1001])], on: newHost)
    world.kernel.names["hub"] = [newIP]
    #expect(world.run(within: .seconds(35)) { edge.readyLinks.count == 1 })
    #expect(edge.readyLinks.first?.peer.ip == newIP)
    let client = try world.connect(1001, PeerPlan(sends: 1_000))
    world.run(for: .seconds(1))
    #expect(client.received == 1_000 && client.failure == nil)
    try world.stopAll()
  }

  @Test func streamsGoWhereTheirTargetsNameThenLeads() throws {
    let world = try World(seed: 2)
    let newIP = IPAddress(v4: 0x0A00_0401)
    let moved = PeerRing(world.kernel, world.kernel.makeHost([newIP]), seed: 3)
    world.others.append(moved.turn)
    try world.targets.serve(1001) { _ in PeerPlan(sends: 1_000) }
    try moved.serve(1001) { _ in PeerPlan(sends: 2_000) }
    let hub = try world.startHub([world.allowedEdge([1001])]) { $0.targetHost = "target" }
    let edge = try world.startEdge()
    #expect(world.run(within: .seconds(1)) { edge.readyLinks.count == 1 })
    func received() throws -> Int {
      let client = try world.connect(1001, PeerPlan(sends: 10))
      world.run(for: .seconds(1))
      return client.received
    }
    #expect(try received() == 1_000)
    world.kernel.names["target"] = [newIP]
    world.run(for: Limits.resolvedFor)
    #expect(try received() == 2_000)
    world.run(for: .seconds(1))
    hub.checkIdle("hub")
    try world.stopAll()
  }
}
