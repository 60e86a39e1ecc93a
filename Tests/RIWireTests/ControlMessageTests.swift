// QUIC's control messages and session datagrams.

import RIBase
import RIWire
import TestRandom
import Testing

@Suite struct ControlMessageTests {
  func events(_ bytes: [UInt8], from sender: Sender, pieces: Int = .max) -> [String] {
    var decoder = ControlMessageDecoder(sender: sender)
    var events: [String] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = Array(rest.prefix(pieces))
      rest = rest.dropFirst(piece.count)
      piece.withUnsafeBytes { decoder.receive($0) }
      while let event = decoder.poll() {
        switch event {
        case .message(let type): events.append("\(type) \(decoder.payload)")
        case .malformed(let error): events.append("\(error)")
        }
      }
    }
    if decoder.skippedMessages > 0 { events.append("skipped \(decoder.skippedMessages)") }
    return events
  }

  @Test(arguments: [1, 2, 3, 7, 1_000])
  func messagesInAnySplit(pieces: Int) {
    let payloads: [(FrameType, [UInt8])] = [
      (.ping, [1, 2, 3]), (.config, [UInt8](repeating: 9, count: 300)), (.ping, []),
    ]
    var bytes: [UInt8] = []
    for (type, payload) in payloads {
      payload.withUnsafeBytes { bytes += ControlMessage.encoded(type, $0) }
    }
    // An unknown one in between is passed over.
    bytes.insert(contentsOf: [0x55, 0, 0, 0, 2, 7, 7], at: 8)
    #expect(
      events(bytes, from: .hub, pieces: pieces) == [
        "ping [1, 2, 3]", "config \([UInt8](repeating: 9, count: 300))", "ping []", "skipped 1",
      ])
  }

  @Test func theLayoutIsTheSpecifications() {
    let message = [UInt8]([0xAA, 0xBB]).withUnsafeBytes { ControlMessage.encoded(.pong, $0) }
    #expect(message == [0x08, 0, 0, 0, 2, 0xAA, 0xBB])
  }

  @Test(arguments: [
    ([0x07, 0, 0, 0, 65] as [UInt8], "ping frame of 65 bytes, at most 64 are allowed"),
    ([0x08, 0, 0, 0, 1], "pong frame in the wrong direction"),
    ([0x02, 0, 0, 0, 1], "data frame in the wrong direction"),
    ([0x04, 0, 0, 0, 1], "dataBack frame on stream 0"),
    ([0x55, 0, 0x10, 0, 1], "frame of unknown type 85 with 1048577 bytes is too long to skip"),
  ])
  func whatBreaksTheRules(bytes: [UInt8], reason: String) {
    // Nothing more is read behind it.
    #expect(events(bytes + [0x07, 0, 0, 0, 0], from: .hub) == [reason])
    #expect(events(bytes + [0x07, 0, 0, 0, 0], from: .hub, pieces: 1) == [reason])
  }

  /// Asked again, the decoder has nothing more: what came with the last good message is gone.
  @Test func whatIsMalformedBehindAMessageEndsTheChannelOnce() {
    let ping: [UInt8] = [0x07, 0, 0, 0, 1, 9]
    let skipped: [UInt8] = [0x55, 0, 0, 0, 0]
    let malformed: [UInt8] = [0x08, 0, 0, 0, 1]
    #expect(
      events(ping + malformed + ping, from: .hub) == [
        "ping [9]", "pong frame in the wrong direction",
      ])
    #expect(
      events(skipped + malformed, from: .hub) == [
        "pong frame in the wrong direction", "skipped 1",
      ])
  }

  @Test func randomBytesNeverTrap() {
    var random = SplitMix64()
    for _ in 0..<2_000 {
      let bytes = (0..<Int.random(in: 0...60, using: &random)).map { _ in
        UInt8.random(in: 0...16, using: &random)
      }
      _ = events(bytes, from: .edge, pieces: Int.random(in: 1...8, using: &random))
    }
  }
}

@Suite struct SessionDatagramTests {
  static let header = ProxyHeader(
    source: SocketAddress(IPAddress(v4: 1), 2), destination: SocketAddress(IPAddress(v4: 3), 4)
  ).encodedV2(transport: .datagram)

  func parse(_ bytes: [UInt8]) -> SessionDatagram.Kind? {
    bytes.withUnsafeBytes { SessionDatagram.parse($0) }
  }

  func prefix(_ session: UInt32, isOpen: Bool) -> [UInt8] {
    let prefix = SessionDatagram.prefix(session: session, isOpen: isOpen)
    return withUnsafeBytes(of: prefix.bytes) { Array($0.prefix(prefix.count)) }
  }

  @Test func opensAndData() {
    #expect(prefix(0x0102_0304, isOpen: false) == [1, 2, 3, 4])
    #expect(prefix(0x0102_0304, isOpen: true) == [1, 2, 3, 4, 0xFF])
    #expect(parse(prefix(7, isOpen: true) + Self.header) == .open(session: 7))
    #expect(parse(prefix(7, isOpen: false)) == .data(session: 7))
    #expect(parse(prefix(.max, isOpen: false) + [1]) == .data(session: .max))
    #expect(parse([0, 0, 1]) == nil && parse([]) == nil)
  }

  /// A payload may begin with 0xFF: only the whole signature makes an open.
  @Test func aPayloadThatBeginsLikeAnOpen() {
    for count in 0..<12 {
      let bytes = prefix(7, isOpen: true) + Self.header.prefix(count)
      #expect(parse(bytes) == .data(session: 7))
    }
    #expect(parse(prefix(7, isOpen: true) + Self.header.prefix(12)) == .open(session: 7))
    var other = Self.header
    other[3] ^= 1
    #expect(parse(prefix(7, isOpen: true) + other) == .data(session: 7))
  }
}
