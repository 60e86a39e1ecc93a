// HELLO is an edge's first frame, whatever is opened behind it.

import RIBase
import RIWire
import Testing

@testable import RITunnel

@Suite struct HelloOutputTests {
  @Test func helloGoesBeforeWhatIsOpenedLater() {
    let edge = TunnelHarness(.edge)
    edge.tunnel.sendHello([1, 2, 3])
    let header = Array("PROXY".utf8)
    let stream = header.withUnsafeBytes {
      edge.tunnel.open(header: $0, owner: .none, now: TunnelHarness.noTime)
    }
    #expect(stream != nil)
    #expect(edge.frames() == [WireFrame(.hello, 0, [1, 2, 3]), WireFrame(.open, 1, header)])
    edge.tunnel.end()
  }

  @Test func aHelloThatFindsNoRoomIsCounted() {
    let edge = TunnelHarness(.edge)
    let long = [UInt8](repeating: 1, count: Limits.helloPayloadBytesMax)
    let fitting = Limits.controlQueueBytes / (long.count + 9)
    for _ in 0..<fitting + 2 { edge.tunnel.sendHello(long) }
    #expect(edge.tunnel.counters.hellosDropped == 2)
    edge.tunnel.end()
    edge.tunnel.sendHello(long)
    #expect(!edge.tunnel.hasOutput)
  }
}
