// What a tunnel counts and shows: frames and bytes by tier and direction, windows, and sums.

import RIBase
import RIWire
import Testing

@testable import RITunnel

@Suite struct FiguresTests {
  @Test func framesAndTheirPayloadAreCountedByTier() {
    let hub = TunnelHarness(.hub)
    let bulk = hub.opened(1)
    let other = hub.opened(2)
    hub.now = hub.now + .seconds(11)
    var sent: [WireFrame] = []
    for _ in 0..<140 {
      _ = hub.receive(WireFrame(.data, 1, Array(repeating: 0, count: 200_000)))
      hub.tunnel.consumed(200_000, on: bulk, now: hub.now)
      sent += hub.frames()
    }
    let before = hub.tunnel.totals
    #expect(before.dataFramesReceived == 140 && before.dataBytesReceived == 28_000_000)
    // The frame that makes a stream sustained counts as such, and all behind it.
    #expect(before.sustainedFramesReceived > 0 && before.sustainedFramesReceived < 10)
    #expect(before.sustainedBytesReceived == before.sustainedFramesReceived * 200_000)
    hub.send(Array(repeating: 1, count: 10_000), on: bulk)
    hub.send(Array(repeating: 1, count: 500), on: other)
    hub.tunnel.sendConfig(Array(repeating: 7, count: 3_000))
    sent += hub.frames()
    let after = hub.tunnel.totals
    #expect(after.dataBytesSent == 10_500 && after.sustainedBytesSent == 10_000)
    #expect(after.dataFramesSent == after.sustainedFramesSent + 1)
    let control = sent.filter { $0.type != FrameType.dataBack.rawValue }
    #expect(after.controlFramesSent == UInt64(control.count))
    #expect(after.controlBytesSent == UInt64(control.reduce(0) { $0 + $1.payload.count }))
    #expect(after.controlFramesReceived == 2 && after.controlBytesReceived == 2)
    hub.tunnel.end()
  }

  @Test func aFrameInPiecesCountsOnceAndAConfigInPartsOnce() {
    let hub = TunnelHarness(.hub, batchBytes: 1_024)
    _ = hub.opened(1)
    let bytes = WireFrame(.data, 1, Array(repeating: 0, count: 100)).bytes
    for piece in [bytes[..<4], bytes[4..<9], bytes[9..<10], bytes[10...]] {
      _ = hub.receive(bytes: Array(piece))
    }
    _ = hub.receive(WireFrame(.data, 1, []), WireFrame(.data, 9, [1]))
    #expect(hub.tunnel.totals.dataFramesReceived == 2)
    #expect(hub.tunnel.totals.dataBytesReceived == 101 && hub.tunnel.totals.framesDropped == 1)
    hub.tunnel.sendConfig(Array(repeating: 7, count: 3_000))
    _ = hub.frames()
    #expect(hub.tunnel.totals.controlFramesSent == 1)
    #expect(hub.tunnel.totals.controlBytesSent == 3_000)
    hub.tunnel.end()
  }

  @Test func datagramsCountApart() {
    let edge = TunnelHarness(.edge)
    guard let session = edge.openSession([1, 2]) else { return #expect(Bool(false)) }
    edge.datagram([1, 2, 3], on: session)
    _ = edge.frames()
    _ = edge.receive(WireFrame(.udpDataBack, 1, [1, 2]), WireFrame(.udpDataBack, 9, [1]))
    let totals = edge.tunnel.totals
    #expect(totals.datagramsSent == 1 && totals.datagramBytesSent == 3)
    #expect(totals.datagramsReceived == 1 && totals.datagramBytesReceived == 2)
    #expect(totals.controlFramesSent == 1 && totals.controlBytesSent == 2)
    #expect(totals.controlFramesReceived == 0 && totals.framesDropped == 1)
    edge.tunnel.end()
  }

  @Test func windowsAreSummedOverLiveStreams() {
    let edge = TunnelHarness(.edge)
    let streams = [edge.open(), edge.open()]
    edge.send(Array(repeating: 1, count: 5_000), on: streams[0])
    _ = edge.frames()
    _ = edge.receive(WireFrame(.dataBack, 1, Array(repeating: 0, count: 700)))
    var use = edge.tunnel.windowUse
    #expect(use.streams == 2 && use.sendBytes == 8 << 20 && use.inFlightBytes == 5_000)
    #expect(use.receiveBytes == 2 << 20 && use.bufferedBytes == 700 && use.stalled == 0)
    edge.tunnel.reset(streams[1])
    #expect(edge.tunnel.windowUse.streams == 1)
    use.add(use)
    #expect(use.streams == 4 && use.bufferedBytes == 1_400)
    edge.tunnel.end()
    #expect(edge.tunnel.windowUse == WindowUse())
  }

  /// Each counter differs from its neighbours, so that a sum of the wrong ones is seen.
  @Test func everyCounterIsAdded() throws {
    let fields = Mirror(reflecting: TunnelCounters()).children.count
    var one = TunnelCounters()
    withUnsafeMutableBytes(of: &one) { bytes in
      for i in 0..<fields {
        bytes.storeBytes(of: UInt64(i + 1), toByteOffset: 8 * i, as: UInt64.self)
      }
    }
    var two = one
    two.add(one)
    let sums = Mirror(reflecting: two).children.map { $0.value as? UInt64 ?? 0 }
    #expect(sums == (1...UInt64(fields)).map { 2 * $0 })
  }
}
