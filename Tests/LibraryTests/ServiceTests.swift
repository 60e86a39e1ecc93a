// Every row of the library's API (SPEC 9), with real engines and real traffic.

import Foundation
import RIControl
import RIWire
import RemoteIngress
import Testing

extension Library {
  @Suite("Service")
  struct Service {
    @Test("hub and edge start, carry traffic, tell events and status, and stop")
    func roundTrip() async throws {
      let bed = try LibraryBed()
      let (hubEvents, edgeEvents) = (bed.hub.events, bed.edge.events)
      #expect(!bed.hub.isRunning && !bed.edge.isRunning)
      try await bed.startHub()
      #expect(bed.hub.isRunning)
      try await bed.edge.start(token: try await bed.token())
      let tunnel = try await next(edgeEvents) {
        if case .tunnelConnected(let data) = $0 { data } else { nil }
      }
      let port = try #require(await bed.hub.status().tunnelPort)
      #expect(tunnel.hub == "127.0.0.1:\(port)" && tunnel.transport == .tcpTls)
      let ports = try await next(edgeEvents) {
        if case .portsAssigned(let ports) = $0 { ports } else { nil }
      }
      #expect(ports == EdgeEvent.Ports(listenPorts: [bed.port], listenPortsUdp: []))
      let connected = try await next(hubEvents) {
        if case .edgeConnected(let data) = $0 { data } else { nil }
      }
      #expect(connected.edgeId == "e1" && connected.transport == .tcpTls)

      let client = try TestSocket.connect(to: bed.port)
      try client.echo("hello")
      let opened = try await next(hubEvents) {
        if case .streamOpened(let stream) = $0 { stream } else { nil }
      }
      #expect(opened.edgeId == "e1" && opened.destination == "127.0.0.1:\(bed.port)")
      try await check(bed)
      shutdown(client.descriptor, Int32(SHUT_WR))
      let closed = try await next(hubEvents) {
        if case .streamClosed(let stream) = $0 { stream } else { nil }
      }
      #expect(closed.id == opened.id && closed.isComplete)

      await bed.edge.stop()
      #expect(!bed.edge.isRunning)
      let gone = try await next(hubEvents) {
        if case .edgeDisconnected(let data) = $0 { data } else { nil }
      }
      #expect(gone.edgeId == "e1" && !gone.reason.isEmpty)
      await bed.hub.stop()
      #expect(!bed.hub.isRunning)
      let status = await bed.hub.status()
      #expect(!status.running && status.tunnelPort == nil && status.process.state == .stopped)
      #expect(hubEvents.lost == 0 && edgeEvents.lost == 0)
    }

    /// With one stream live.
    private func check(_ bed: LibraryBed) async throws {
      let hub = await bed.hub.status()
      #expect(hub.running && hub.activeStreams == 1 && hub.process.state == .running)
      let connection = try #require(hub.connectedEdges.first)
      #expect(connection.edgeID == "e1" && connection.activeStreams == 1)
      #expect(connection.bytesIn > 0 && connection.bytesOut > 0)
      let edge = await bed.edge.status()
      #expect(edge.running && edge.connected && edge.transport == .tcpTls && edge.edgeId == "e1")
      #expect(edge.activeStreams == 1 && edge.listenPorts == [bed.port])
      // All addresses, of IPv4 and, where there is one, of IPv6.
      #expect(edge.listeners.contains { $0.address == "0.0.0.0" && $0.state == .listening })
      #expect(edge.firewall.state == .off)
      #expect(try #require(await bed.edge.engineStatus()).role == .edge)
      // As JSON it has SPEC 9's names.
      let json = try #require(
        JSONSerialization.jsonObject(with: Data(hub.json.utf8)) as? [String: Any])
      let edges = try #require(json["connectedEdges"] as? [[String: Any]])
      #expect(json["running"] as? Bool == true && json["tunnelPort"] is Int)
      #expect(edges.first?["edgeId"] as? String == "e1" && edges.first?["bytesIn"] is Int)
      #expect(!(hub.json + edge.json).contains(LibraryBed.secret))
    }

    @Test("without listeners for them streams cost no events")
    func withoutStreams() async throws {
      try await LibraryBed.run { bed in
        let events = bed.hub.eventsWithoutStreams
        try await bed.echoThrough()
        try await bed.hub.updateAllowedEdges([])
        // The edge may have known of its tunnel a moment before the hub's supervisor.
        let first = try await next(events) { $0.name == "edgeConnected" ? nil : $0 }
        #expect(first.name == "edgeDisconnected")
      }
    }

    @Test("what cannot be done is refused with its reason")
    func refusals() async throws {
      let bed = try LibraryBed()
      await #expect(throws: RemoteIngressError.notRunning) {
        try await bed.hub.updateAllowedEdges([])
      }
      await #expect(throws: RemoteIngressError.token(.notBase64URL)) {
        try await bed.edge.start(token: "no token!")
      }
      var configuration = try bed.hubConfiguration()
      configuration.allowedEdges[0].listenPorts = [80, 80]
      await #expect(
        throws: RemoteIngressError.allowedEdges("edge e1: listenPorts: port 80 is listed twice")
      ) { try await bed.hub.start(configuration) }
      // A port in use.
      let (occupant, port) = try TestSocket.listen()
      configuration = try bed.hubConfiguration()
      configuration.tunnelPort = port
      await #expect(throws: RemoteIngressError.self) { try await bed.hub.start(configuration) }
      #expect(!bed.hub.isRunning)
      withExtendedLifetime(occupant) {}
      // The failed starts leave nothing in the way.
      try await bed.startHub()
      await #expect(throws: RemoteIngressError.alreadyRunning) { try await bed.startHub() }
      await bed.hub.stop()
      await bed.hub.stop()
      // And it starts again.
      try await bed.startHub()
      await bed.hub.stop()
      let none = RemoteIngressHub(executable: .path("/nowhere/remoteingress"))
      await #expect(throws: RemoteIngressError.self) {
        try await none.start(bed.hubConfiguration())
      }
    }

    @Test(
      "a stop with time for streams lets a live one end first",
      arguments: [Duration.seconds(30), .seconds(Int64.max)])
    func drains(time: Duration) async throws {
      try await LibraryBed.run { bed in
        let client = try TestSocket.connect(to: bed.port)
        try client.echo("before")
        let stopping = Task { await bed.hub.stop(drain: time) }
        try await eventually("the drain to begin") {
          await bed.hub.status().process.state == .draining
        }
        try client.echo("while it drains")
        #expect(bed.hub.isRunning)
        shutdown(client.descriptor, Int32(SHUT_WR))
        await stopping.value
        #expect(!bed.hub.isRunning)
      }
    }

    @Test("a port that cannot be listened on is an event, and in the status")
    func listenerFailed() async throws {
      let bed = try LibraryBed()
      let (occupant, _) = try TestSocket.listen(on: bed.port)
      let events = bed.edge.events
      try await bed.startHub()
      try await bed.edge.start(token: try await bed.token())
      let failed = try await next(events) {
        if case .listenerFailed(let data) = $0 { data } else { nil }
      }
      #expect(failed.port == bed.port && failed.protocol == .tcp && !failed.error.isEmpty)
      let status = await bed.edge.status()
      let listener = try #require(status.listeners.first { $0.state == .failed })
      #expect(listener.port == bed.port && listener.error != nil)
      withExtendedLifetime(occupant) {}
      await bed.edge.stop()
      await bed.hub.stop()
    }

    @Test("an edge starts from a configuration, and tells its public address")
    func publicAddress() async throws {
      let (bed, stun) = (try LibraryBed(), try StunServer())
      var hub = try bed.hubConfiguration()
      hub.allowedEdges[0].stunIntervalSecs = 300
      try await bed.hub.start(hub)
      var configuration = EdgeConfiguration()
      configuration.hubHost = "127.0.0.1"
      configuration.hubPort = await bed.hub.status().tunnelPort
      configuration.edgeID = "e1"
      configuration.secret = .text(LibraryBed.secret)
      configuration.hubPin = await bed.hub.status().pin
      configuration.stunServer = "127.0.0.1:\(stun.port)"
      let events = bed.edge.events
      try await bed.edge.start(configuration)
      let discovered = try await next(events) {
        if case .publicIpDiscovered(let data) = $0 { data } else { nil }
      }
      #expect(discovered.publicIp == StunServer.address)
      #expect(await bed.edge.status().publicIp == StunServer.address)
      stun.stop()
      await bed.edge.stop()
      await bed.hub.stop()
    }

    @Test("a wrong secret is told to the edge's owner")
    func unauthorized() async throws {
      let bed = try LibraryBed()
      try await bed.startHub()
      try await bed.hub.updateAllowedEdges([try bed.allowedEdge(secret: "another")])
      let events = bed.edge.events
      try await bed.edge.start(token: try await bed.token())
      let down = try await next(events) {
        if case .tunnelDisconnected(let data) = $0 { data } else { nil }
      }
      #expect(down.reason.contains("unauthorized") && down.retryInSeconds >= 15)
      #expect(await !bed.edge.status().connected)
      await bed.edge.stop()
      await bed.hub.stop()
    }

    @Test("a hub that is let go of ends its engine")
    func letGo() async throws {
      let bed = try LibraryBed()
      var hub: RemoteIngressHub? = RemoteIngressHub()
      try await hub?.start(bed.hubConfiguration())
      let pid = try #require(await hub?.status().process.pid)
      #expect(exists(pid))
      hub = nil
      try await eventually("the engine to end") { !exists(pid) }
    }
  }
}
