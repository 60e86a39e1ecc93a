// Control frames on their way out: before data, whole, and never more than their queue takes.

import RIBase
import RIWire
import Testing

@testable import RITunnel

@Suite struct ControlOutputTests {
  @Test func controlGoesBeforeData() {
    let hub = TunnelHarness(.hub)
    hub.tunnel.reset(hub.sessionOpened(9))
    let stream = hub.opened(1)
    hub.send([1, 2, 3], on: stream)
    _ = hub.receive(WireFrame(.data, 1, Array(repeating: 0, count: 1 << 17)))
    hub.datagram([4], on: hub.sessionOpened(11))
    [UInt8(7)].withUnsafeBytes { hub.tunnel.sendPing($0) }
    hub.tunnel.sendConfig([8, 8])
    let expected = [
      WireFrame(.ping, 0, [7]), WireFrame(.udpClose, 9), WireFrame(.config, 0, [8, 8]),
      WireFrame(.dataBack, 1, [1, 2, 3]), WireFrame(.udpDataBack, 11, [4]),
    ]
    #expect(hub.frames() == expected)
    hub.tunnel.end()
  }

  @Test func probesAndMessagesAreToldWithTheirPayload() {
    let edge = TunnelHarness(.edge)
    #expect(
      edge.receive(WireFrame(.ping, 0, [1, 2]), WireFrame(.config, 0, [3])) == [
        .ping([1, 2]), .config([3]),
      ])
    [UInt8(1), 2].withUnsafeBytes { edge.tunnel.sendPong($0) }
    #expect(edge.frames() == [WireFrame(.pong, 0, [1, 2])])
    let hub = TunnelHarness(.hub)
    #expect(
      hub.receive(WireFrame(.pong, 0), WireFrame(.hello, 0, [4])) == [.pong([]), .hello([4])])
  }

  @Test func aFloodOfPingsLeavesABoundedNumberOfAnswers() {
    let edge = TunnelHarness(.edge)
    let flood = { (count: Int) in
      for _ in 0..<count { [UInt8(1)].withUnsafeBytes { edge.tunnel.sendPong($0) } }
    }
    flood(1_000)
    #expect(edge.frames().count == Limits.pongsQueuedMax)
    #expect(edge.tunnel.counters.probesDropped == UInt64(1_000 - Limits.pongsQueuedMax))
    flood(10)
    #expect(edge.frames().count == 10)
  }

  @Test func opensBeyondTheControlQueueAreRefused() {
    let edge = TunnelHarness(.edge, streamsMax: 100_000)
    let header = Array(repeating: UInt8(1), count: Limits.openPayloadBytesMax)
    var opened = 0
    while header.withUnsafeBytes({
      edge.tunnel.open(header: $0, owner: .none, now: TunnelHarness.noTime)
    }) != nil {
      opened += 1
    }
    #expect(opened == Limits.controlQueueBytes / (9 + Limits.openPayloadBytesMax))
    #expect(edge.tunnel.activeStreams == opened)
    #expect(edge.frames().count == opened)
    _ = edge.open()
    edge.tunnel.end()
  }

  @Test func aConfigLargerThanABatchGoesInPartsThatNothingInterrupts() {
    let hub = TunnelHarness(.hub, batchBytes: 1_000)
    let stream = hub.opened(1)
    let payload = (0..<10_000).map { UInt8(truncatingIfNeeded: $0) }
    hub.tunnel.sendConfig([1])
    hub.tunnel.sendConfig(payload)
    var bytes = hub.batchBytes()
    hub.send([5], on: stream)
    [UInt8(7)].withUnsafeBytes { hub.tunnel.sendPing($0) }
    hub.tunnel.sendConfig([2])
    hub.tunnel.sendConfig([3])
    while hub.tunnel.hasOutput { bytes += hub.batchBytes() }
    let frames = WireFrame.parse(&bytes)
    #expect(frames.first == WireFrame(.config, 0, payload))
    #expect(
      frames.dropFirst() == [
        WireFrame(.ping, 0, [7]), WireFrame(.config, 0, [3]), WireFrame(.dataBack, 1, [5]),
      ])
    hub.tunnel.end()
    #expect(hub.held == 0)
  }

  @Test func controlFramesAreNeverSplitBetweenBatches() {
    let edge = TunnelHarness(.edge, batchBytes: 120)
    let streams = (0..<50).map { edge.open(String(repeating: "x", count: $0 * 2)) }
    for stream in streams.dropFirst(10) { edge.tunnel.finish(stream) }
    for stream in streams.prefix(10) { edge.tunnel.reset(stream) }
    var count = 0
    while edge.tunnel.hasOutput {
      var bytes = edge.batchBytes()
      #expect(!bytes.isEmpty && bytes.count <= 120)
      count += WireFrame.parse(&bytes).count
      #expect(bytes.isEmpty)
    }
    #expect(count == 100)
    edge.tunnel.end()
  }
}
