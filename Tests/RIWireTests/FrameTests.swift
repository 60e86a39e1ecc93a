// The frame codec: header, rules, decoding in every split.

import RIBase
import TestRandom
import Testing

@testable import RIWire

@Suite struct FrameHeaderTests {
  @Test func encodesInNetworkOrder() {
    #expect(header(0x0102_0304, 0x0A, length: 0x0506_0708) == [1, 2, 3, 4, 10, 5, 6, 7, 8])
  }

  @Test func decodesWhatItEncodes() {
    var random = SplitMix64()
    for _ in 0..<1_000 {
      let value = FrameHeader(
        stream: UInt32.random(in: 0...UInt32.max, using: &random),
        type: UInt8.random(in: 0...255, using: &random),
        length: UInt32.random(in: 0...UInt32.max, using: &random))
      let bytes = [0xFF] + header(value.stream, value.type, length: value.length)
      let decoded = bytes.withUnsafeBytes {
        FrameHeader(decoding: UnsafeRawBufferPointer(rebasing: $0[1...]))
      }
      #expect(decoded == value, "seed \(random.seed)")
    }
  }
}

@Suite struct FrameRuleTests {
  struct Rule: Sendable {
    let sender: Sender
    let stream: UInt32
    let type: UInt8
    let length: UInt32
    let verdict: FrameVerdict

    init(
      _ sender: Sender, _ stream: UInt32, _ type: UInt8, _ length: UInt32,
      _ verdict: FrameVerdict
    ) {
      self.sender = sender
      self.stream = stream
      self.type = type
      self.length = length
      self.verdict = verdict
    }
  }

  static let lengths: [Rule] = [
    Rule(.edge, 1, 0x01, 107, .frame(.open)),
    Rule(.edge, 1, 0x01, 108, .malformed(.frameTooLong(type: .open, length: 108, limit: 107))),
    Rule(.edge, 1, 0x02, 1 << 24, .frame(.data)),
    Rule(
      .edge, 1, 0x02, (1 << 24) + 1,
      .malformed(.frameTooLong(type: .data, length: (1 << 24) + 1, limit: 1 << 24))),
    Rule(.hub, 1, 0x04, 1 << 24, .frame(.dataBack)),
    Rule(
      .hub, 1, 0x04, .max,
      .malformed(.frameTooLong(type: .dataBack, length: .max, limit: 1 << 24))),
    Rule(.edge, 1, 0x03, 64, .frame(.close)),
    Rule(.edge, 1, 0x03, 65, .malformed(.frameTooLong(type: .close, length: 65, limit: 64))),
    Rule(.hub, 1, 0x05, 65, .malformed(.frameTooLong(type: .closeBack, length: 65, limit: 64))),
    Rule(.hub, 0, 0x06, 4 << 20, .frame(.config)),
    Rule(
      .hub, 0, 0x06, (4 << 20) + 1,
      .malformed(.frameTooLong(type: .config, length: (4 << 20) + 1, limit: 4 << 20))),
    Rule(.hub, 0, 0x07, 64, .frame(.ping)),
    Rule(.hub, 0, 0x07, 65, .malformed(.frameTooLong(type: .ping, length: 65, limit: 64))),
    Rule(.edge, 0, 0x08, 65, .malformed(.frameTooLong(type: .pong, length: 65, limit: 64))),
    Rule(.edge, 1, 0x09, 4, .frame(.windowUpdate)),
    Rule(.edge, 1, 0x09, 3, .malformed(.badWindowUpdate(length: 3))),
    Rule(.edge, 1, 0x09, 0, .malformed(.badWindowUpdate(length: 0))),
    Rule(.hub, 1, 0x0A, 5, .malformed(.badWindowUpdate(length: 5))),
    Rule(.edge, 1, 0x0B, 1_024, .frame(.udpOpen)),
    Rule(
      .edge, 1, 0x0B, 1_025,
      .malformed(.frameTooLong(type: .udpOpen, length: 1_025, limit: 1_024))),
    Rule(.edge, 1, 0x0C, 65_507, .frame(.udpData)),
    Rule(
      .edge, 1, 0x0C, 65_508,
      .malformed(.frameTooLong(type: .udpData, length: 65_508, limit: 65_507))),
    Rule(
      .hub, 1, 0x0D, 65_508,
      .malformed(.frameTooLong(type: .udpDataBack, length: 65_508, limit: 65_507))),
    Rule(.edge, 1, 0x0E, 1, .malformed(.frameTooLong(type: .udpClose, length: 1, limit: 0))),
    Rule(.edge, 0, 0x10, 1 << 16, .frame(.hello)),
    Rule(
      .edge, 0, 0x10, 1 << 17,
      .malformed(.frameTooLong(type: .hello, length: 1 << 17, limit: 1 << 16))),
    Rule(.edge, 7, 0x0F, 1 << 20, .skip),
    Rule(.hub, 0, 0xFF, 0, .skip),
    Rule(.hub, 0, 0x00, 5, .skip),
    Rule(
      .hub, 9, 0x99, (1 << 20) + 1,
      .malformed(.unknownFrameTooLong(type: 0x99, length: (1 << 20) + 1))),
  ]

  @Test(arguments: lengths) func lengthIsBounded(rule: Rule) {
    let header = FrameHeader(stream: rule.stream, type: rule.type, length: rule.length)
    #expect(judge(header, from: rule.sender) == rule.verdict)
  }

  @Test(arguments: FrameType.allCases) func directionIsEnforced(type: FrameType) {
    let edgeTypes: Set<FrameType> = [
      .open, .data, .close, .pong, .windowUpdate, .udpOpen, .udpData, .udpClose, .hello,
    ]
    let hubTypes: Set<FrameType> = [
      .dataBack, .closeBack, .config, .ping, .windowUpdateBack, .udpDataBack, .udpClose,
    ]
    let length = type == .windowUpdate || type == .windowUpdateBack ? 4 : 0
    let header = FrameHeader(stream: type.isStreamFrame ? 1 : 0, type: type, length: length)
    for (sender, types) in [(Sender.edge, edgeTypes), (.hub, hubTypes)] {
      let expected: FrameVerdict =
        types.contains(type) ? .frame(type) : .malformed(.wrongDirection(type))
      #expect(judge(header, from: sender) == expected)
    }
  }

  @Test(arguments: FrameType.allCases) func streamZeroIsForControlOnly(type: FrameType) {
    let control: Set<FrameType> = [.config, .ping, .pong, .hello]
    let sender: Sender = type.direction == .hubToEdge ? .hub : .edge
    let onZero = judge(FrameHeader(stream: 0, type: type, length: 4), from: sender)
    let onSeven = judge(FrameHeader(stream: 7, type: type, length: 4), from: sender)
    if control.contains(type) {
      #expect(onZero == .frame(type))
      #expect(onSeven == .malformed(.controlFrameOnStream(type)))
    } else {
      #expect(onZero == .malformed(.streamFrameOnStreamZero(type)))
    }
  }

  @Test func everyErrorNamesItsRule() {
    let errors: [WireError] = [
      .frameTooLong(type: .open, length: 108, limit: 107),
      .unknownFrameTooLong(type: 3, length: 9), .wrongDirection(.open),
      .streamFrameOnStreamZero(.data), .controlFrameOnStream(.ping), .badWindowUpdate(length: 3),
      .duplicateOpen(stream: 8), .badConfig(.notJSON), .badHello(.wrongType(.version)),
    ]
    #expect(Set(errors.map(\.description)).count == errors.count)
    #expect(errors[0].description == "open frame of 108 bytes, at most 107 are allowed")
  }
}

@Suite struct FrameDecoderTests {
  /// Frames that keep every rule, unknown types among them.
  static func validFrames(_ random: inout SplitMix64, from sender: Sender) -> [TestFrame] {
    let types = FrameType.allCases.filter {
      $0.direction == .either || ($0.direction == .edgeToHub) == (sender == .edge)
    }
    return (0..<40).map { _ in
      if random.below(10) == 0 {
        return TestFrame(UInt32(random.below(3)), 0xC0, random.bytes(random.below(300)))
      }
      let type = types[random.below(types.count)]
      let stream = type.isStreamFrame ? UInt32(1 + random.below(4)) : 0
      if type == .windowUpdate || type == .windowUpdateBack {
        return TestFrame(stream, type, random.bytes(4))
      }
      let long = random.below(8) == 0 ? 70_000 : 200
      return TestFrame(
        stream, type, random.bytes(random.below(1 + min(long, type.payloadBytesMax))))
    }
  }

  @Test(arguments: propertySeeds, [Sender.edge, .hub])
  func anySplitDecodesTheSame(seed: UInt64, sender: Sender) {
    var random = SplitMix64(seed)
    for _ in 0..<6 {
      let frames = Self.validFrames(&random, from: sender)
      let splitMax = [1, 2, 9, 64, 5_000, 1 << 16][random.below(6)]
      var driver = DecoderDriver(sender)
      driver.feed(frames.flatMap(\.bytes)) { 1 + random.below(splitMax) }
      #expect(driver.events == expectedEvents(frames), "seed \(seed)")
      let unknown = frames.filter { FrameType(rawValue: $0.type) == nil }.count
      #expect(driver.decoder.skippedFrames == UInt64(unknown), "seed \(seed)")
    }
  }

  @Test func everySingleCutOfAShortSequenceDecodesTheSame() {
    let frames = [
      TestFrame(1, .open, Array("PROXY\r\n".utf8)), TestFrame(1, .data, [1, 2, 3]),
      TestFrame(2, 0x77, [9, 9]), TestFrame(0, .pong, []), TestFrame(1, .close, [1]),
    ]
    let bytes = frames.flatMap(\.bytes)
    for cut in 1..<bytes.count {
      var driver = DecoderDriver(.edge)
      driver.feed(Array(bytes[..<cut]))
      driver.feed(Array(bytes[cut...]))
      #expect(driver.events == expectedEvents(frames), "cut at \(cut)")
    }
  }

  @Test func emptyFramesAreFramesExceptEmptyData() {
    let frames = [
      TestFrame(1, .data), TestFrame(1, .close), TestFrame(2, .udpData), TestFrame(0, .pong),
      TestFrame(5, 0x55), TestFrame(1, .open),
    ]
    let events: [Decoded] = [
      .control(.close, stream: 1, []), .control(.udpData, stream: 2, []),
      .control(.pong, stream: 0, []), .control(.open, stream: 1, []),
    ]
    #expect(decode(frames.flatMap(\.bytes), from: .edge) == events)
  }

  @Test func dataIsHandedOnBeforeItsFrameIsWhole() {
    var driver = DecoderDriver(.edge)
    driver.feed(header(1, FrameType.data.rawValue, length: 100) + [7, 8])
    #expect(driver.events == [.data(stream: 1, [7, 8])])
  }

  @Test func sixteenMebibytesOfDataAreNeverGathered() {
    var driver = DecoderDriver(.hub)
    let piece = [UInt8](repeating: 0xAB, count: 1 << 16)
    driver.feed(header(3, FrameType.dataBack.rawValue, length: 1 << 24))
    for _ in 0..<256 {
      driver.feed(piece)
      #expect(driver.events == [.data(stream: 3, piece)])
      driver.events = []
    }
    #expect(driver.decoder.gatheredCapacity <= 64)
    driver.feed(TestFrame(0, .ping, [1]).bytes)
    #expect(driver.events == [.control(.ping, stream: 0, [1])])
  }

  @Test func configTakesMemoryOnlyForBytesThatArrived() {
    var driver = DecoderDriver(.hub)
    var random = SplitMix64()
    let payload = random.bytes(4 << 20)
    driver.feed(header(0, FrameType.config.rawValue, length: 4 << 20))
    #expect(driver.decoder.gatheredCapacity <= 64)
    var fed = 0
    while fed < payload.count {
      let end = min(fed + 100_000, payload.count)
      driver.feed(Array(payload[fed..<end]))
      fed = end
      #expect(driver.decoder.gatheredCapacity <= max(64, 2 * fed))
    }
    #expect(driver.events == [.control(.config, stream: 0, payload)], "seed \(random.seed)")
    driver.feed(TestFrame(0, .ping).bytes)
    #expect(driver.decoder.gatheredCapacity <= 64, "large scratch is given back")
  }

  @Test func aFrameThatArrivedWholeIsNotCopied() throws {
    let store = BufferStore([BufferPoolShape(count: 1, bytes: 256)])
    let buffer = try #require(store[PoolID(0)].take())
    let bytes = TestFrame(4, .udpData, [1, 2, 3]).bytes
    let slice = Slice(buffer: buffer, offset: 16, count: bytes.count)
    store.mutableBytes(slice).copyBytes(from: bytes)
    var decoder = FrameDecoder(sender: .edge)
    decoder.receive(slice)
    #expect(decoder.poll(store: store) == .control(type: .udpData, stream: 4))
    #expect(decoder.controlPayload.baseAddress == store.bytes(slice).baseAddress.map { $0 + 9 })
  }

  @Test func unknownFramesAreSkippedUpToAMebibyte() {
    var driver = DecoderDriver(.edge)
    driver.feed(TestFrame(0, 0x20, [UInt8](repeating: 1, count: 1 << 20)).bytes)
    driver.feed(TestFrame(0, .pong, [5]).bytes)
    #expect(driver.events == [.control(.pong, stream: 0, [5])])
    #expect(driver.decoder.skippedFrames == 1)
    driver.feed(header(0, 0x20, length: (1 << 20) + 1))
    #expect(
      driver.events.last == .malformed(.unknownFrameTooLong(type: 0x20, length: (1 << 20) + 1)))
  }

  @Test func nothingFollowsAMalformedFrame() {
    let bytes =
      TestFrame(0, .pong).bytes + TestFrame(0, .data, [1]).bytes + TestFrame(0, .pong).bytes
    for split in [1, 3, 100] {
      var driver = DecoderDriver(.edge)
      driver.feed(bytes) { split }
      #expect(
        driver.events == [
          .control(.pong, stream: 0, []), .malformed(.streamFrameOnStreamZero(.data)),
        ])
    }
  }

  @Test(arguments: propertySeeds) func mutatedFramesEndInEventsOrOneError(seed: UInt64) {
    var random = SplitMix64(seed)
    for _ in 0..<120 {
      let valid = Array(Self.validFrames(&random, from: .edge).prefix(6))
      let bytes = random.mutate(valid.flatMap { $0.bytes.prefix(300) })
      var driver = DecoderDriver(.edge)
      driver.feed(bytes) { 1 + random.below(200) }
      var whole = DecoderDriver(.edge)
      whole.feed(bytes)
      #expect(driver.events == whole.events, "seed \(seed)")
      let errors = driver.events.filter { if case .malformed = $0 { true } else { false } }
      #expect(errors.count <= 1, "seed \(seed)")
    }
  }
}
