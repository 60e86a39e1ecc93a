// The windows of both ends of a stream: their sizes, when credit returns, and what breaks them.

import RIBase
import TestRandom
import Testing

@testable import RITunnel

@Suite struct FlowWindowTests {
  static let mib = 1 << 20

  @Test(arguments: [
    (1, 4 * mib), (50, 4 * mib), (51, 200 * mib / 51), (100, 2 * mib), (200, mib), (5_000, mib),
  ])
  func windowIsTheSharedBytesByStreamsWithinItsBounds(streams: Int, bytes: Int) {
    #expect(WindowLimits.standard.window(activeStreams: streams) == bytes)
  }

  @Test func creditBeyondWhatWasSentOpensNoWindow() {
    var window = SendWindow(size: 1000)
    window.sent(600)
    #expect(window.credit == 400)
    window.credited(.max)
    window.credited(.max)
    #expect(window.credit == 1000)
    window.sent(1000)
    window.credited(1)
    #expect(window.credit == 1)
  }

  @Test func creditReturnsInQuartersOfTheWindow() {
    let limits = WindowLimits(sharedBytes: 4000, bytesMin: 1000, bytesMax: 4000)
    var window = ReceiveWindow(limits: limits, isAuto: false)
    let taken1 = window.received(700, limits: limits)
    #expect(taken1)
    window.consumed(600)
    // 700 of at least 1000: nobody is stalled, and a quarter of 4000 is not there.
    #expect(window.creditDue(target: 4000) == 0)
    #expect(window.creditDue(target: 2000) == 600)
  }

  @Test func creditReturnsSoonerWhenThePeerCouldBeStalled() {
    let limits = WindowLimits(sharedBytes: 4000, bytesMin: 1000, bytesMax: 4000)
    var window = ReceiveWindow(limits: limits, isAuto: false)
    let taken2 = window.received(1000, limits: limits)
    #expect(taken2)
    window.consumed(249)
    #expect(window.creditDue(target: 4000) == 0)
    window.consumed(1)
    #expect(window.creditDue(target: 4000) == 250)
  }

  @Test func thePeerIsAtEaseUntilHalfOfItsWindowIsGone() {
    let limits = WindowLimits(sharedBytes: 4000, bytesMin: 1000, bytesMax: 4000)
    var window = ReceiveWindow(limits: limits, isAuto: false)
    let isTaken = window.received(500, limits: limits)
    #expect(isTaken && window.isAtEase)
    let isMoreTaken = window.received(1, limits: limits)
    #expect(isMoreTaken && !window.isAtEase)
    window.consumed(501)
    #expect(!window.isAtEase)
    window.returned(501)
    #expect(window.isAtEase)
  }

  @Test func creditIsWithheldToShrinkAWindow() {
    let limits = WindowLimits(sharedBytes: 4000, bytesMin: 1000, bytesMax: 4000)
    var window = ReceiveWindow(limits: limits, isAuto: false)
    let taken3 = window.received(4000, limits: limits)
    #expect(taken3)
    window.consumed(4000)
    // The peer's window is 4000 and should be 1000: it gets 1000 and never the other 3000.
    #expect(window.creditDue(target: 1000) == 1000)
    window.returned(1000)
    #expect(window.creditDue(target: 1000) == 0)
    let taken4 = window.received(1000, limits: limits)
    #expect(taken4)
    window.consumed(1000)
    #expect(window.creditDue(target: 1000) == 1000)
    // The withheld part goes back when there is room again.
    #expect(window.creditDue(target: 4000) == 4000)
  }

  @Test func onlyMoreThanTheLargestWindowIsAViolation() {
    let limits = WindowLimits.standard
    var window = ReceiveWindow(limits: limits, isAuto: false)
    let taken5 = window.received(4 * Self.mib, limits: limits)
    #expect(taken5)
    let taken6 = window.received(1, limits: limits)
    #expect(!taken6)
    window.consumed(Self.mib)
    let taken7 = window.received(1, limits: limits)
    #expect(!taken7, "consumed is not granted")
    window.returned(Self.mib)
    let taken8 = window.received(Self.mib, limits: limits)
    #expect(taken8)
  }

  /// A sender and a receiver with any windows, any targets, any delay between them.
  @Test func creditAlgebraHoldsAndNobodyStallsForGood() {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SplitMix64(seed)
    for _ in 0..<200 {
      let least = Int.random(in: 1...64, using: &random)
      let limits = WindowLimits(
        sharedBytes: 64 * least, bytesMin: least,
        bytesMax: least * Int.random(in: 1...8, using: &random))
      let window = { (r: inout SplitMix64) in
        limits.window(activeStreams: Int.random(in: 1...100, using: &r))
      }
      var sender = SendWindow(size: window(&random))
      var receiver = ReceiveWindow(limits: limits, isAuto: false)
      var (wire, credit, target) = (0, 0, window(&random))
      var (sent, consumed, returned) = (0, 0, 0)

      func transmit(_ bytes: Int) {
        sender.sent(bytes)
        sent += bytes
        wire += bytes
      }
      func deliver(_ bytes: Int) {
        let taken9 = receiver.received(bytes, limits: limits)
        #expect(taken9, "an honest sender broke its word")
        wire -= bytes
      }
      func consume(_ bytes: Int) {
        receiver.consumed(bytes)
        consumed += bytes
        let due = receiver.creditDue(target: target)
        receiver.returned(due)
        returned += due
        credit += due
      }
      for _ in 0..<300 {
        switch Int.random(in: 0..<5, using: &random) {
        case 0: transmit(Int.random(in: 0...Int(sender.credit), using: &random))
        case 1: deliver(Int.random(in: 0...wire, using: &random))
        case 2: consume(Int.random(in: 0...receiver.buffered, using: &random))
        case 3:
          sender.credited(UInt32(credit))
          credit = 0
          sender.grow(to: window(&random))
        default: target = window(&random)
        }
        let inFlight = sender.size - sender.credit
        #expect(inFlight >= 0 && inFlight <= sender.size)
        #expect(receiver.outstanding <= inFlight)
        #expect(returned <= consumed && consumed <= sent)
      }
      // Whatever happened: a stalled sender may send its target again once all was consumed.
      for round in 0..<3 {
        transmit(Int(sender.credit))
        deliver(wire)
        consume(receiver.buffered)
        sender.credited(UInt32(credit))
        credit = 0
        // In the first round credit was still on its way when the sender sent all it might.
        if round > 0 { #expect(Int(sender.credit) == min(target, Int(sender.size))) }
      }
    }
  }
}
