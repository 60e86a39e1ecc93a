// updateAllowedEdges from end to end: what it changes at a connected edge, and what it leaves be.

import Foundation
import RIControl
import RIWire
import RemoteIngress
import Testing

extension Library {
  @Suite("Allowed edges")
  struct Edges {
    @Test("changed ports are at the edge at once, and a live stream does not notice")
    func ports() async throws {
      try await LibraryBed.run { bed in
        let client = try TestSocket.connect(to: bed.port)
        try client.echo("before")
        var milliseconds: [Double] = []
        for round in 0..<5 {
          let added = try LibraryBed.freePort()
          let events = bed.edge.events
          let start = ContinuousClock.now
          try await bed.hub.updateAllowedEdges([
            try bed.allowedEdge(ports: round == 4 ? [added] : [bed.port, added])
          ])
          let ports = try await next(events) {
            if case .portsUpdated(let ports) = $0 { ports } else { nil }
          }
          milliseconds.append((ContinuousClock.now - start) / .milliseconds(1))
          #expect(ports.listenPorts.contains(added))
          #expect(await bed.edge.status().listeners.contains { $0.port == added })
          // The hub knows of it too: it would refuse a port that is not this edge's.
          try await bed.hub.updateAllowedEdges([
            try bed.allowedEdge(ports: round == 4 ? [added] : [bed.port, added])
          ])
          try client.echo("after \(round)")
        }
        print("updateAllowedEdges: \(milliseconds.map { "\($0)" }) ms until the edge says so")
        // The stream's own port is gone by now; connections that were accepted live on.
        try client.echo("at the end")
        #expect(throws: SocketFailure.self) { try TestSocket.connect(to: bed.port) }
      }
    }

    @Test("an edge that is removed or has another secret is cut off, and comes back when allowed")
    func removed() async throws {
      try await LibraryBed.run { bed in
        for edges in [[], [try bed.allowedEdge(secret: "another")]] {
          let (hubEvents, edgeEvents) = (bed.hub.events, bed.edge.events)
          try await bed.hub.updateAllowedEdges(edges)
          let gone = try await next(hubEvents) {
            if case .edgeDisconnected(let data) = $0 { data } else { nil }
          }
          #expect(gone.edgeId == "e1" && gone.reason.contains("no longer allowed"))
          _ = try await next(edgeEvents) {
            if case .tunnelDisconnected(let data) = $0 { data } else { nil }
          }
          // Before it is refused, so that it need not wait long.
          try await bed.hub.updateAllowedEdges([try bed.allowedEdge()])
          _ = try await next(edgeEvents) {
            if case .tunnelConnected(let data) = $0 { data } else { nil }
          }
        }
        try await bed.echoThrough()
      }
    }

    @Test("a bad edge is refused by name and changes nothing")
    func bad() async throws {
      try await LibraryBed.run { bed in
        var edge = try bed.allowedEdge()
        edge.firewallConfig = .object(["blockedIps": .array([.string("10.0.0.0/99")])])
        await #expect(throws: RemoteIngressError.self) {
          try await bed.hub.updateAllowedEdges([edge])
        }
        var other = try bed.allowedEdge()
        other.id = "e2"
        await #expect(
          throws: RemoteIngressError.allowedEdges("edge e2: is listed twice")
        ) { try await bed.hub.updateAllowedEdges([other, other]) }
        // Larger than a CONFIG message can be.
        let long = String(repeating: "x", count: 128)
        let rules = (0..<1_000).map { number in
          JSONValue.object([
            "id": .string("\(number)"), "direction": .string("input"),
            "action": .string("accept"), "comment": .string(long),
          ])
        }
        let blocked = (0..<100_000).map { number in
          JSONValue.string(
            "2001:db8:1234:5678:9abc:\(hex(number >> 12)):1111:\(hex(number % 4_096))/128")
        }
        edge.firewallConfig = .object(["rules": .array(rules), "blockedIps": .array(blocked)])
        await #expect(
          throws: RemoteIngressError.allowedEdges(
            "edge e1: firewallConfig: makes the edge's CONFIG message larger than 4 MiB")
        ) { try await bed.hub.updateAllowedEdges([edge]) }
        try TestSocket.connect(to: bed.port).echo("still here")
        #expect(await bed.hub.status().connectedEdges.count == 1)
      }
    }

    @Test("a firewall's fate and the public address reach the edge's owner")
    func firewall() async throws {
      try await LibraryBed.run { bed in
        // Refused by the edge's kernel or its rights, or applied: the edge says which. Nothing of
        // it is for real: documentation addresses.
        let events = bed.edge.events
        var edge = try bed.allowedEdge()
        edge.firewallConfig = .object(["blockedIps": .array([.string("192.0.2.1")])])
        try await bed.hub.updateAllowedEdges([edge])
        let status = try await next(events) {
          if case .firewallConfigUpdated(let status) = $0 { status } else { nil }
        }
        #expect(status.state == .applied ? status.blockedIps == 1 : status.reason != nil)
        #expect(await bed.edge.status().firewall.state == status.state)
        try await bed.hub.updateAllowedEdges([try bed.allowedEdge()])
      }
    }
  }
}

/// Four digits.
private func hex(_ number: Int) -> String { String(0x1000 + number, radix: 16) }
