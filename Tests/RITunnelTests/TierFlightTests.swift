// Sustained flows make room for what is short, and take it back.

import RIBase
import RIWire
import Testing

@testable import RITunnel

@Suite struct TierFlightTests {
  private static let trip = Interval.milliseconds(10)

  private static func at(_ milliseconds: Int) -> Instant {
    Instant(nanoseconds: UInt64(milliseconds) * 1_000_000)
  }

  /// A window of 4 MB with so much of it under way.
  private static func flight(_ inFlight: Int) -> TierFlight {
    var window = SendWindow(size: 4 << 20)
    window.sent(inFlight)
    var flight = TierFlight()
    flight.add(window)
    return flight
  }

  @Test func aloneTheyHaveTheirWindows() {
    var flight = Self.flight(1 << 20)
    #expect(flight.sustainedRoom(now: Self.at(1_000), roundTrip: Self.trip) == 3 << 20)
  }

  @Test func dataOfARoundTripIsTakenOff() {
    var flight = Self.flight(1 << 20)
    flight.dataSent(1 << 20, now: Self.at(1_000), roundTrip: Self.trip)
    #expect(flight.sustainedRoom(now: Self.at(1_005), roundTrip: Self.trip) == 2 << 20)
    // Also when a new span has begun, until it is over.
    #expect(flight.sustainedRoom(now: Self.at(1_012), roundTrip: Self.trip) == 2 << 20)
    #expect(flight.sustainedRoom(now: Self.at(1_024), roundTrip: Self.trip) == 3 << 20)
  }

  @Test func aPartOfTheirWindowsIsAlwaysTheirs() {
    var flight = Self.flight(0)
    flight.dataSent(100 << 20, now: Self.at(1_000), roundTrip: Self.trip)
    #expect(
      flight.sustainedRoom(now: Self.at(1_001), roundTrip: Self.trip)
        == Limits.sustainedFlightBytesMin)
    var full = Self.flight(4 << 20)
    full.dataSent(100 << 20, now: Self.at(1_000), roundTrip: Self.trip)
    #expect(full.sustainedRoom(now: Self.at(1_001), roundTrip: Self.trip) <= 0)
  }

  /// Through a tunnel: one sustained stream with much to send, one short one in the middle of its
  /// transfer, whose queue is empty each time the tunnel is polled again.
  @Test func aSustainedStreamFillsNoGapsOfAShortOne() {
    let edge = TunnelHarness(.edge, buffers: 256)
    edge.tunnel.usesAutoWindows = true
    edge.tunnel.pathRoundTrip = Self.trip
    let long = edge.open()
    _ = edge.frames()
    edge.now = Self.at(11_000)
    // 28 MB in 11 s make it sustained; all of them are credited.
    for _ in 0..<280 {
      edge.send(Array(repeating: 1, count: 100_000), on: long)
      _ = edge.frames()
      _ = edge.receive(.credit(.windowUpdateBack, 1, 100_000))
    }
    #expect(edge.tunnel.tier(of: long) == .sustained)

    func bytes(_ frames: [WireFrame], _ stream: UInt32) -> Int {
      frames.filter { $0.type == FrameType.data.rawValue && $0.stream == stream }
        .reduce(0) { $0 + $1.payload.count }
    }
    for _ in 0..<10 { edge.send(Array(repeating: 1, count: 200_000), on: long) }
    let short = edge.open()
    var sent = (long: 0, short: 0)
    for _ in 0..<20 {
      edge.now = edge.now + .milliseconds(1)
      edge.send(Array(repeating: 2, count: 256 << 10), on: short)
      let frames = edge.frames()
      sent.long += bytes(frames, 1)
      sent.short += bytes(frames, 2)
      _ = edge.receive(.credit(.windowUpdateBack, 2, 256 << 10))
    }
    #expect(sent.short == 20 * 256 << 10)
    #expect(edge.tunnel.isHeldBack && edge.tunnel.hasOutput)
    #expect(sent.long <= 3 * Limits.sustainedBurstBytes, "\(sent.long) bytes beside the short one")
    #expect(sent.long > 0)
    // Two round trips after the short one has gone the path is the long one's again.
    edge.now = edge.now + .milliseconds(30)
    _ = edge.receive(.credit(.windowUpdateBack, 1, UInt32(sent.long)))
    #expect(bytes(edge.frames(), 1) == 256 << 10)
    #expect(!edge.tunnel.isHeldBack)
    edge.tunnel.end()
    #expect(edge.held == 0)
  }
}
