// What SPEC 2.2 and 2.4 say of UDP sessions: their frames, their limits, their end.

import RIBase
import RIWire
import Testing

@testable import RITunnel

@Suite struct SessionRuleTests {
  @Test func aSessionCarriesDatagramsBothWays() throws {
    let (edge, hub) = (TunnelHarness(.edge), TunnelHarness(.hub))
    let client = try #require(edge.openSession([9, 9]))
    edge.datagram([1, 2], on: client)
    edge.datagram([], on: client)
    edge.datagram([3], on: client)
    let frames = edge.frames()
    #expect(
      frames == [
        WireFrame(.udpOpen, 1, [9, 9]), WireFrame(.udpData, 1, [1, 2]), WireFrame(.udpData, 1),
        WireFrame(.udpData, 1, [3]),
      ])
    let seen = hub.receive(bytes: frames.flatMap(\.bytes))
    guard case .sessionOpened(let target, [9, 9])? = seen.first else {
      Issue.record("\(seen)")
      return
    }
    let payloads: [[UInt8]] = [[1, 2], [], [3]]
    #expect(seen.dropFirst() == payloads.map { .datagram(target, $0) }[...])
    hub.datagram([7], on: target)
    #expect(hub.frames() == [WireFrame(.udpDataBack, 1, [7])])
    #expect(edge.receive(WireFrame(.udpDataBack, 1, [7])) == [.datagram(client, [7])])
    #expect(edge.tunnel.counters.datagramsSent == 3 && hub.tunnel.counters.datagramsReceived == 3)
    for end in [edge, hub] {
      #expect(end.tunnel.activeSessions == 1 && end.tunnel.activeStreams == 0)
      end.tunnel.end()
      #expect(end.held == 0 && end.tunnel.sessionsHeld == 0)
    }
  }

  @Test(arguments: [0, 1, 511, 512, 513, 2_048, 2_049, 16_384, 65_506, 65_507])
  func aDatagramOfAnySizeArrivesWholeHoweverTheBytesAreSplit(size: Int) throws {
    let (edge, hub) = (TunnelHarness(.edge), TunnelHarness(.hub))
    let client = try #require(edge.openSession())
    let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 >> 8) }
    edge.datagram(payload, on: client)
    let bytes = edge.frames().flatMap(\.bytes)
    var seen: [Seen] = []
    for start in stride(from: 0, to: bytes.count, by: 1_000) {
      seen += hub.receive(bytes: Array(bytes[start..<min(start + 1_000, bytes.count)]))
    }
    guard case .datagram(_, let got)? = seen.last else {
      Issue.record("no datagram")
      return
    }
    #expect(got == payload && seen.count == 2)
    edge.tunnel.end()
    hub.tunnel.end()
  }

  @Test func streamsAndSessionsShareTheirIds() throws {
    let edge = TunnelHarness(.edge)
    _ = edge.open("")
    let session = try #require(edge.openSession())
    _ = edge.open("")
    edge.datagram([1], on: session)
    let frames = edge.frames().map { [UInt32($0.type), $0.stream] }
    #expect(frames == [[0x01, 1], [0x0B, 2], [0x01, 3], [0x0C, 2]])
    edge.tunnel.end()
  }

  @Test func sessionsDoNotCountForTheWindowsOfStreams() {
    let hub = TunnelHarness(.hub)
    for id in 1...100 { _ = hub.sessionOpened(UInt32(id)) }
    let stream = hub.opened(1_000)
    #expect(hub.tunnel.streams[stream.slot].sendWindow.size == Int32(Limits.windowBytesMax))
    hub.tunnel.end()
  }

  // MARK: The end

  @Test func aCloseIsToldOnceAndTheIdIsForgotten() throws {
    let edge = TunnelHarness(.edge)
    let session = try #require(edge.openSession())
    edge.datagram([1], on: session)
    #expect(edge.receive(WireFrame(.udpClose, 1)) == [.sessionClosed(session)])
    // Its datagram goes with it; what still comes for it is dropped.
    #expect(edge.frames() == [WireFrame(.udpOpen, 1, [1, 2])])
    #expect(edge.receive(WireFrame(.udpDataBack, 1, [1]), WireFrame(.udpClose, 1)).isEmpty)
    #expect(edge.tunnel.counters.framesDropped == 2)
    #expect(!edge.datagram([1], on: session))
    #expect(edge.tunnel.streams.count == 0 && edge.tunnel.sessionsHeld == 0 && edge.held == 0)
  }

  @Test func ourCloseGoesOutBehindNothing() {
    let hub = TunnelHarness(.hub)
    let session = hub.sessionOpened(5)
    hub.datagram([1], on: session)
    hub.tunnel.reset(session)
    #expect(hub.held == 0 && hub.tunnel.activeSessions == 0 && hub.tunnel.sessionsHeld == 1)
    #expect(hub.receive(WireFrame(.udpData, 5, [1])).isEmpty)
    #expect(hub.frames() == [WireFrame(.udpClose, 5)])
    #expect(hub.tunnel.streams.count == 0 && hub.tunnel.sessionsHeld == 0)
  }

  @Test func whereBothCloseNobodyIsTold() {
    let hub = TunnelHarness(.hub)
    hub.tunnel.reset(hub.sessionOpened(5))
    #expect(hub.receive(WireFrame(.udpClose, 5)).isEmpty)
    #expect(hub.frames().isEmpty && hub.tunnel.streams.count == 0)
    #expect(hub.tunnel.sessionsHeld == 0)
  }

  @Test func aVerbOfStreamsDoesNothingToASession() {
    let hub = TunnelHarness(.hub)
    let session = hub.sessionOpened(5)
    hub.send([1, 2], on: session)
    hub.tunnel.finish(session)
    #expect(hub.frames().isEmpty && hub.held == 0)
    hub.tunnel.end()
  }

  // MARK: Rules

  @Test func framesOfTheOtherKindAreDropped() {
    let hub = TunnelHarness(.hub)
    _ = hub.opened(1)
    _ = hub.sessionOpened(2)
    let seen = hub.receive(
      WireFrame(.udpData, 1, [1]), WireFrame(.udpClose, 1), WireFrame(.data, 2, [1]),
      WireFrame(.close, 2), .credit(.windowUpdate, 2, 5))
    #expect(seen.isEmpty && hub.tunnel.counters.framesDropped == 5)
    #expect(hub.tunnel.activeStreams == 1 && hub.tunnel.activeSessions == 1)
    hub.tunnel.end()
  }

  @Test(arguments: [FrameType.open, .udpOpen])
  func anOpenOfALiveSessionsIdEndsTheTunnelByName(second: FrameType) {
    let hub = TunnelHarness(.hub)
    hub.datagram([1], on: hub.sessionOpened(3))
    #expect(
      hub.receive(WireFrame(second, 3, [1])) == [.ended(.malformed(.duplicateOpen(stream: 3)))])
    hub.tunnel.end()
    #expect(hub.held == 0)
  }

  @Test func lengthsBeyondTheLimitsEndTheTunnelByName() {
    let long = Array(repeating: UInt8(0), count: 65_508)
    for (type, payload) in [
      (FrameType.udpOpen, Array(long.prefix(1_025))), (.udpData, long), (.udpClose, [0]),
    ] {
      let hub = TunnelHarness(.hub)
      let expected = WireError.frameTooLong(
        type: type, length: UInt32(payload.count), limit: type.payloadBytesMax)
      #expect(hub.receive(WireFrame(type, 3, payload)) == [.ended(.malformed(expected))])
    }
  }

  @Test func sessionsTakeHalfOfTheTableAndStreamsTheRest() throws {
    let hub = TunnelHarness(.hub, streamsMax: 4)
    _ = hub.sessionOpened(1)
    _ = hub.sessionOpened(2)
    #expect(hub.receive(WireFrame(.udpOpen, 3, [1]), WireFrame(.udpData, 3, [1])).isEmpty)
    #expect(hub.frames() == [WireFrame(.udpClose, 3)])
    #expect(hub.tunnel.counters.streamsRefused == 1)
    _ = hub.opened(4)
    _ = hub.opened(5)
    hub.tunnel.end()

    let edge = TunnelHarness(.edge, streamsMax: 4)
    let first = try #require(edge.openSession())
    _ = try #require(edge.openSession())
    #expect(edge.openSession() == nil)
    // A place is free when the UDP_CLOSE is out, and not before.
    edge.tunnel.reset(first)
    #expect(edge.openSession() == nil)
    _ = edge.frames()
    #expect(edge.openSession() != nil)
    edge.tunnel.end()
  }

  @Test func aFloodOfSessionsLeavesRoomForStreamsAndProbes() {
    let edge = TunnelHarness(.edge, streamsMax: 100_000)
    var opened = 0
    while edge.openSession(Array(repeating: 1, count: 28)) != nil { opened += 1 }
    #expect(opened == Limits.controlQueueBytes / 2 / (9 + 28))
    _ = edge.open()
    [UInt8(1)].withUnsafeBytes { edge.tunnel.sendPong($0) }
    #expect(edge.tunnel.counters.probesDropped == 0)
    #expect(edge.frames().count == opened + 2)
    edge.tunnel.end()
  }

  @Test func aFloodOfOpensLeavesABoundedNumberOfRefusals() {
    let hub = TunnelHarness(.hub, streamsMax: 1_024)
    for i in 0..<400 {
      _ = hub.receive(
        bytes: (0..<500).flatMap { WireFrame(.udpOpen, UInt32(i * 500 + $0 + 1), [1]).bytes })
    }
    #expect(hub.tunnel.controlQueue.byteCount <= Limits.controlQueueBytes / 2)
    #expect(hub.tunnel.counters.framesDropped > 0)
    _ = hub.opened(400_001)
    hub.tunnel.end()
  }
}
