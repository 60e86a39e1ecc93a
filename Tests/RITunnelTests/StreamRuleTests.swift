// The rules of SPEC 2.2 for streams, one by one, with the peer's frames written by hand.

import RIBase
import RIWire
import Testing

@testable import RITunnel

@Suite struct StreamRuleTests {
  static let small = WindowLimits(sharedBytes: 400, bytesMin: 100, bytesMax: 400)

  @Test func anOpenedStreamCarriesItsHeaderAndTakesAnOwner() {
    let hub = TunnelHarness(.hub)
    let seen = hub.receive(WireFrame(.open, 7, Array("PROXY TCP4\r\n".utf8)))
    guard case .opened(let stream, let header)? = seen.first else {
      Issue.record("no stream")
      return
    }
    #expect(seen.count == 1 && header == Array("PROXY TCP4\r\n".utf8))
    #expect(hub.tunnel.owner(of: stream) == .none)
    hub.tunnel.accept(stream, owner: SlotID(index: 9, generation: 1))
    #expect(hub.tunnel.owner(of: stream) == SlotID(index: 9, generation: 1))
    #expect(hub.tunnel.activeStreams == 1)
    hub.tunnel.end()
    #expect(hub.tunnel.activeStreams == 0)
    #expect(hub.held == 0)
  }

  @Test func dataIsToldAsItArrives() {
    let hub = TunnelHarness(.hub)
    let stream = hub.opened(1)
    let bytes = WireFrame(.data, 1, [1, 2, 3, 4]).bytes
    #expect(hub.receive(bytes: Array(bytes[..<11])) == [.data(stream, [1, 2])])
    #expect(hub.receive(bytes: Array(bytes[11...])) == [.data(stream, [3, 4])])
    hub.tunnel.end()
  }

  // MARK: Ends

  @Test func halfCloseKeepsTheOtherDirectionAndBothEndTheStream() {
    let hub = TunnelHarness(.hub)
    let stream = hub.opened(1)
    #expect(hub.receive(WireFrame(.close, 1)) == [.finished(stream)])
    hub.send([5, 6], on: stream)
    hub.tunnel.finish(stream)
    #expect(hub.frames() == [WireFrame(.dataBack, 1, [5, 6]), WireFrame(.closeBack, 1)])
    #expect(hub.tunnel.activeStreams == 0)
    #expect(hub.events() == [.closed(stream)])
    #expect(hub.tunnel.pollEvent(now: TunnelHarness.noTime) == nil)
    #expect(hub.tunnel.owner(of: stream) == .none)
    #expect(hub.tunnel.streams.count == 0)
    #expect(hub.held == 0)
  }

  @Test func theStreamIsClosedByThePeersCloseWhenOursWasFirst() {
    let edge = TunnelHarness(.edge)
    let stream = edge.open()
    edge.tunnel.finish(stream)
    #expect(edge.frames().map(\.type) == [FrameType.open.rawValue, FrameType.close.rawValue])
    #expect(edge.receive(WireFrame(.dataBack, 1, [9])) == [.data(stream, [9])])
    #expect(edge.receive(WireFrame(.closeBack, 1)) == [.finished(stream), .closed(stream)])
    #expect(edge.tunnel.streams.count == 0)
  }

  @Test func theOwnerIsKnownDuringTheLastEvent() {
    let edge = TunnelHarness(.edge)
    let first = edge.open(owner: 11)
    let second = edge.open(owner: 12)
    _ = edge.frames()
    let plaintext = edge.slice(
      WireFrame(.closeBack, 1, [1]).bytes + WireFrame(.closeBack, 2, [1]).bytes)
    edge.tunnel.receive(plaintext)
    for (stream, owner) in [(first, UInt32(11)), (second, 12)] {
      #expect(edge.tunnel.pollEvent(now: TunnelHarness.noTime) == .reset(stream))
      #expect(edge.tunnel.owner(of: stream).index == owner)
    }
    #expect(edge.tunnel.pollEvent(now: TunnelHarness.noTime) == nil)
    #expect(edge.tunnel.owner(of: second) == .none)
    edge.store.release(plaintext)
    #expect(edge.held == 0)
  }

  @Test func closeStaysBehindItsOwnDataButAheadOfOtherStreams() {
    let edge = TunnelHarness(.edge)
    let first = edge.open()
    let second = edge.open()
    edge.send(Array(repeating: 1, count: 100_000), on: first)
    edge.send(Array(repeating: 2, count: 100_000), on: second)
    edge.tunnel.finish(first)
    let kinds = edge.frames().map { "\($0.type)/\($0.stream)" }
    // Two opens; the first's turn; the second's; the rest of the first and its CLOSE at once.
    #expect(kinds == ["1/1", "1/2", "2/1", "2/2", "2/1", "3/1", "2/2"])
    edge.tunnel.end()
    #expect(edge.held == 0)
  }

  @Test func aSecondEmptyCloseIsIgnoredAndALaterResetIsNot() {
    let hub = TunnelHarness(.hub)
    let stream = hub.opened(1)
    #expect(hub.receive(WireFrame(.close, 1), WireFrame(.close, 1)) == [.finished(stream)])
    #expect(hub.receive(WireFrame(.close, 1, [0])) == [.reset(stream)])
    #expect(hub.frames().isEmpty)
    #expect(hub.tunnel.activeStreams == 0)
  }

  @Test(arguments: [[0x01], [0x00], Array(repeating: 7, count: 64)] as [[UInt8]])
  func anyPayloadInACloseMeansReset(payload: [UInt8]) {
    let edge = TunnelHarness(.edge)
    let stream = edge.open()
    edge.send([1, 2, 3], on: stream)
    #expect(edge.receive(WireFrame(.closeBack, 1, payload)) == [.reset(stream)])
    #expect(edge.frames() == [WireFrame(.open, 1, Array("PROXY\r\n".utf8))])
    #expect(edge.held == 0)
    #expect(edge.events().isEmpty)
    #expect(edge.tunnel.streams.count == 0)
  }

  @Test func dataAfterCloseResetsTheStreamAtBothEnds() {
    let hub = TunnelHarness(.hub)
    let stream = hub.opened(1)
    hub.send([1], on: stream)
    #expect(
      hub.receive(WireFrame(.close, 1), WireFrame(.data, 1, [2]))
        == [.finished(stream), .reset(stream)])
    #expect(hub.frames() == [WireFrame(.closeBack, 1, [1])])
    #expect(hub.tunnel.counters.dataAfterClose == 1)
    #expect(hub.tunnel.streams.count == 0)
    #expect(hub.held == 0)
  }

  @Test func ourResetDropsTheQueueAndTellsNothingMore() {
    let edge = TunnelHarness(.edge)
    let stream = edge.open()
    edge.send([1, 2, 3], on: stream)
    edge.tunnel.reset(stream)
    #expect(edge.tunnel.activeStreams == 0)
    #expect(edge.held == 0)
    // The peer does not know yet: what it sends is dropped.
    #expect(edge.receive(WireFrame(.dataBack, 1, [4]), WireFrame(.closeBack, 1)).isEmpty)
    // Verbs on the dead stream do nothing.
    edge.send([5], on: stream)
    edge.tunnel.finish(stream)
    edge.tunnel.reset(stream)
    edge.tunnel.consumed(1, on: stream, now: TunnelHarness.noTime)
    #expect(edge.tunnel.sendRoom(stream) == 0)
    #expect(
      edge.frames() == [
        WireFrame(.open, 1, Array("PROXY\r\n".utf8)), WireFrame(.close, 1, [1]),
      ])
    #expect(edge.tunnel.streams.count == 0)
    #expect(edge.held == 0)
  }

  @Test func aStreamThatThePeerResetsLeavesEveryLine() {
    let hub = TunnelHarness(.hub, windows: Self.small)
    let stream = hub.opened(1)
    let other = hub.opened(2)
    _ = hub.receive(WireFrame(.data, 1, Array(repeating: 0, count: 400)))
    // It waits for credit to go out, for its turn, and for room.
    hub.tunnel.consumed(400, on: stream, now: TunnelHarness.noTime)
    hub.send(Array(repeating: 1, count: 500), on: stream)
    hub.send([2], on: other)
    #expect(hub.tunnel.sendRoom(stream) < 0)
    #expect(hub.receive(WireFrame(.close, 1, [1])) == [.reset(stream)])
    #expect(hub.events().isEmpty)
    #expect(hub.frames() == [WireFrame(.dataBack, 2, [2])])
    #expect(hub.tunnel.streams.count == 1)
    hub.tunnel.end()
    #expect(hub.held == 0)
  }

  @Test func whenBothEndsResetAtOnceNoneAnswersTheOther() {
    let edge = TunnelHarness(.edge)
    let stream = edge.open()
    _ = edge.frames()
    edge.tunnel.reset(stream)
    #expect(edge.receive(WireFrame(.closeBack, 1, [1])).isEmpty)
    #expect(edge.frames().isEmpty)
    #expect(edge.tunnel.streams.count == 0)
  }

  @Test func aResetBeforeTheClosedEventWasToldLeavesNothing() {
    let edge = TunnelHarness(.edge)
    let stream = edge.open()
    #expect(edge.receive(WireFrame(.closeBack, 1)) == [.finished(stream)])
    edge.tunnel.finish(stream)
    _ = edge.frames()
    edge.tunnel.reset(stream)
    #expect(edge.events().isEmpty)
    #expect(edge.frames().isEmpty)
    #expect(edge.tunnel.streams.count == 0)
  }

  // MARK: What ends the tunnel, and what does not

  @Test func framesOfUnknownStreamsAreDropped() {
    let hub = TunnelHarness(.hub)
    let seen = hub.receive(
      WireFrame(.data, 5, [1]), WireFrame(.close, 5), WireFrame(.close, 5, [1]),
      .credit(.windowUpdate, 5, 10), WireFrame(.udpData, 5, [1]), WireFrame(.udpClose, 5))
    #expect(seen.isEmpty)
    #expect(hub.frames().isEmpty)
    #expect(hub.tunnel.counters.framesDropped == 6)
  }

  @Test func anOpenOfALiveIdEndsTheTunnelByName() {
    for second in [FrameType.open, .udpOpen] {
      let hub = TunnelHarness(.hub)
      let stream = hub.opened(3)
      hub.send([1], on: stream)
      #expect(
        hub.receive(WireFrame(second, 3, [1])) == [.ended(.malformed(.duplicateOpen(stream: 3)))])
      #expect(hub.events().isEmpty)
      #expect(!hub.tunnel.hasOutput && hub.batchBytes().isEmpty)
      #expect(hub.receive(WireFrame(.open, 4, [1])).isEmpty)
      hub.tunnel.end()
      #expect(hub.held == 0)
    }
  }

  @Test func aFrameInTheWrongDirectionEndsTheTunnelByName() {
    let hub = TunnelHarness(.hub)
    #expect(
      hub.receive(WireFrame(.dataBack, 1, [1])) == [.ended(.malformed(.wrongDirection(.dataBack)))])
    let edge = TunnelHarness(.edge)
    #expect(edge.receive(WireFrame(.open, 1)) == [.ended(.malformed(.wrongDirection(.open)))])
  }

  @Test func aStreamFrameOnStreamZeroEndsTheTunnelByName() {
    let hub = TunnelHarness(.hub)
    #expect(
      hub.receive(WireFrame(.data, 0, [1]))
        == [.ended(.malformed(.streamFrameOnStreamZero(.data)))])
  }

  @Test func unknownTypesAreSkippedAndCounted() {
    let hub = TunnelHarness(.hub)
    var frame = WireFrame(.data, 9, [1, 2, 3])
    frame.type = 0x77
    #expect(hub.receive(frame, WireFrame(.pong, 0, [4])) == [.pong([4])])
    #expect(hub.tunnel.skippedFrames == 1)
  }

  @Test func streamsBeyondTheTableAreRefusedAndTheOthersLive() {
    let hub = TunnelHarness(.hub, streamsMax: 2)
    let first = hub.opened(1)
    _ = hub.opened(2)
    #expect(hub.receive(WireFrame(.open, 3, [1]), WireFrame(.data, 3, [1])).isEmpty)
    #expect(hub.frames() == [WireFrame(.closeBack, 3, [1])])
    #expect(hub.tunnel.counters.streamsRefused == 1)
    #expect(hub.receive(WireFrame(.data, 1, [1])) == [.data(first, [1])])
    hub.tunnel.end()

    let edge = TunnelHarness(.edge, streamsMax: 1)
    _ = edge.open()
    #expect(
      edge.tunnel.open(
        header: UnsafeRawBufferPointer(start: nil, count: 0), owner: .none,
        now: TunnelHarness.noTime) == nil)
    edge.tunnel.end()
  }

  @Test func aPeerThatDoesNotReadItsRefusalsLosesTheTunnelAndNotOurMemory() {
    let hub = TunnelHarness(.hub, streamsMax: 1)
    _ = hub.opened(1)
    var id: UInt32 = 2
    var seen: [Seen] = []
    while seen.isEmpty, id < 1_000_000 {
      seen = hub.receive(bytes: (0..<500).flatMap { WireFrame(.open, id + $0, [1]).bytes })
      id += 500
    }
    #expect(seen == [.ended(.refusalsUnread)])
    #expect(hub.tunnel.controlQueue.byteCount <= Limits.controlQueueBytes)
    hub.tunnel.end()
  }

  // MARK: Credit on the wire

  @Test func aSenderStopsAtItsWindowAndGoesOnWithCredit() {
    let edge = TunnelHarness(.edge, windows: Self.small)
    let stream = edge.open()
    edge.send(Array(repeating: 1, count: 1_000), on: stream)
    #expect(edge.frames().last?.payload.count == 400)
    #expect(edge.frames().isEmpty && !edge.tunnel.hasOutput)
    _ = edge.receive(.credit(.windowUpdateBack, 1, 150))
    #expect(edge.frames().map(\.payload.count) == [150])
    // More than was sent is no more than all of it.
    _ = edge.receive(.credit(.windowUpdateBack, 1, .max))
    #expect(edge.frames().map(\.payload.count) == [400])
    edge.tunnel.end()
    #expect(edge.held == 0)
  }

  @Test func theWindowCountsTheStreamsActiveAtOpenTheNewOneIncluded() {
    let edge = TunnelHarness(.edge, windows: Self.small)
    let streams = (0..<5).map { _ in edge.open() }
    #expect(streams.map { edge.tunnel.sendRoom($0) } == [400, 200, 133, 100, 100])
    edge.tunnel.reset(streams[0])
    edge.tunnel.reset(streams[1])
    edge.tunnel.reset(streams[2])
    #expect(edge.tunnel.sendRoom(edge.open()) == 133)
    edge.tunnel.end()
  }

  @Test func creditUpdatesOfOneStreamAreOneFrame() {
    let hub = TunnelHarness(.hub, windows: Self.small)
    let stream = hub.opened(1)
    _ = hub.receive(WireFrame(.data, 1, Array(repeating: 0, count: 300)))
    for _ in 0..<3 { hub.tunnel.consumed(100, on: stream, now: TunnelHarness.noTime) }
    #expect(hub.frames() == [.credit(.windowUpdateBack, 1, 300)])
    hub.tunnel.consumed(0, on: stream, now: TunnelHarness.noTime)
    #expect(hub.frames().isEmpty)
    hub.tunnel.end()
  }

  @Test func noCreditGoesToADirectionThatHasEnded() {
    let hub = TunnelHarness(.hub, windows: Self.small)
    let stream = hub.opened(1)
    _ = hub.receive(WireFrame(.data, 1, Array(repeating: 0, count: 400)))
    hub.tunnel.consumed(400, on: stream, now: TunnelHarness.noTime)
    _ = hub.receive(WireFrame(.close, 1))
    #expect(hub.frames().isEmpty)
    hub.tunnel.end()
  }

  @Test func aPeerThatOverdrawsItsCreditLosesTheStreamAlone() {
    let hub = TunnelHarness(.hub, windows: Self.small)
    let stream = hub.opened(1)
    let other = hub.opened(2)
    let seen = hub.receive(
      WireFrame(.data, 1, Array(repeating: 0, count: 400)), WireFrame(.data, 1, [1]),
      WireFrame(.data, 2, [2]))
    #expect(seen.dropFirst() == [.reset(stream), .data(other, [2])])
    #expect(hub.frames() == [WireFrame(.closeBack, 1, [1])])
    #expect(hub.tunnel.counters.creditOverdrawn == 1)
    hub.tunnel.end()
  }

  @Test func roomIsToldOnceWhenItIsWorthwhile() {
    let edge = TunnelHarness(.edge, windows: Self.small)
    let stream = edge.open()
    #expect(edge.tunnel.sendRoom(stream) == 400)
    edge.send(Array(repeating: 1, count: 500), on: stream)
    #expect(edge.tunnel.sendRoom(stream) == -100)
    _ = edge.frames()
    #expect(edge.events().isEmpty, "the queue still holds more than there is credit for")
    #expect(edge.receive(.credit(.windowUpdateBack, 1, 150)).isEmpty, "50 is not a quarter")
    #expect(edge.receive(.credit(.windowUpdateBack, 1, 50)) == [.room(stream)])
    #expect(edge.receive(.credit(.windowUpdateBack, 1, 50)).isEmpty, "it was told")
    edge.tunnel.end()
  }

  @Test func roomIsToldWhenTheQueueIsDrained() {
    let edge = TunnelHarness(.edge, buffers: 16)
    let stream = edge.open()
    for _ in 0..<2 {
      edge.send(Array(repeating: 1, count: Limits.streamQueueBytes / 2), on: stream)
    }
    #expect(edge.tunnel.sendRoom(stream) == 0)
    #expect(edge.events().isEmpty)
    _ = edge.batchBytes()
    #expect(edge.events() == [.room(stream)])
    edge.tunnel.end()
  }
}
