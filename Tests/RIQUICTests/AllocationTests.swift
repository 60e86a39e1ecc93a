// The data path allocates nothing once a link is warm: neither here nor in ngtcp2, whose objects
// come out of pools.

import CMallocCount
import RIBase
import RIQUIC
import RITunnel
import Testing

@Suite struct AllocationTests {
  /// Two endpoints that hand each other what they poll, without a queue in between.
  private final class Loop {
    let pair: LinkPair
    let slices: [Slice]
    var receivedBytes = 0

    init(_ pair: LinkPair) {
      self.pair = pair
      slices = pair.edge.slices([UInt8](repeating: 1, count: 16 * 1024))
    }

    func turn(_ stream: StreamRef) {
      guard let edge = pair.edge.tunnel else { return }
      while edge.sendRoom(stream, atLeast: 16 * 1024) >= 16 * 1024 {
        pair.edge.store.retain(slices[0])
        edge.send(slices[0], on: stream)
      }
      hand(from: pair.edge, to: pair.hub)
      hand(from: pair.hub, to: pair.edge)
      pair.now = pair.now + .milliseconds(1)
      pair.hub.endpoint.handleDeadline(now: pair.now)
      pair.edge.endpoint.handleDeadline(now: pair.now)
    }

    private func hand(from: End, to: End) {
      while let batch = from.endpoint.pollPackets(into: pair.buffer, now: pair.now) {
        _ = to.endpoint.receive(
          UnsafeRawBufferPointer(rebasing: pair.buffer[..<batch.byteCount]),
          segmentBytes: batch.segmentBytes, from: batch.local, to: batch.remote, ecn: batch.ecn,
          now: pair.now)
        poll(to)
      }
    }

    private func poll(_ end: End) {
      while let tunnel = end.endpoint.pollTunnel() {
        while let event = tunnel.pollEvent(now: pair.now) {
          guard case .tunnel(.data(let stream, let slice)) = event else { continue }
          receivedBytes += Int(slice.count)
          tunnel.consumed(Int(slice.count), on: stream, now: pair.now)
        }
      }
    }
  }

  @Test func bulkAllocatesNothing() throws {
    let pair = try LinkPair()
    try pair.establish()
    let (edge, _) = try pair.openStream()
    let loop = Loop(pair)
    for _ in 0..<300 { loop.turn(edge) }
    let warm = loop.receivedBytes
    let before = malloc_count()
    for _ in 0..<200 { loop.turn(edge) }
    let allocations = malloc_count() - before
    let mebibytes = Double(loop.receivedBytes - warm) / 1_048_576
    #expect(mebibytes > 5)
    // What grows with the windows still may; nothing is allocated for a packet or a slice.
    #expect(Double(allocations) / mebibytes < 1, "\(allocations) in \(mebibytes) MiB")
    pair.edge.store.release(loop.slices[0])
  }
}
