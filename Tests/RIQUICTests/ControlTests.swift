// The control channel: lines, messages, and who breaks their rules.

import RIBase
import RIQUIC
import RITunnel
import RIWire
import Testing

@Suite struct ControlTests {
  func up() throws -> LinkPair {
    let pair = try LinkPair()
    try pair.establish()
    return pair
  }

  @Test func messagesBothWays() throws {
    let pair = try up()
    [1, 2, 3].withUnsafeBytes { pair.hub.tunnel?.sendPing($0) }
    let ping = [1, 2, 3].withUnsafeBytes { Array($0) }
    #expect(pair.run(for: .seconds(1)) { pair.edge.happenings.contains(.ping(ping)) })
    ping.withUnsafeBytes { pair.edge.tunnel?.sendPong($0) }
    pair.edge.tunnel?.sendHello(Array("{}".utf8))
    #expect(
      pair.run(for: .seconds(1)) {
        pair.hub.happenings.contains(.pong(ping))
          && pair.hub.happenings.contains(.hello(Array("{}".utf8)))
      })
  }

  @Test func aConfigOfFourMebibytes() throws {
    let pair = try up()
    let config = [UInt8](repeating: 0x20, count: Limits.configPayloadBytesMax)
    pair.hub.tunnel?.sendConfig([1])
    pair.hub.tunnel?.sendConfig(config)
    #expect(pair.run(for: .seconds(30)) { pair.edge.happenings.contains(.config(config)) })
    // The first one had not begun: the second has replaced it.
    #expect(!pair.edge.happenings.contains(.config([1])))
  }

  /// Alone, and with a good message and a stream in the same packet: what the stream has to tell is
  /// told first, and the channel asked again.
  @Test(arguments: [false, true])
  func aMalformedMessageEndsTheLink(isLast: Bool) throws {
    let pair = try up()
    var bytes: [UInt8] = [FrameType.pong.rawValue, 0, 0, 0, 65]
    if isLast {
      bytes = [FrameType.pong.rawValue, 0, 0, 0, 1, 7] + bytes
      let opened = Array("PROXY".utf8).withUnsafeBytes {
        pair.edge.tunnel?.open(header: $0, owner: .none, now: pair.now)
      }
      #expect(opened != nil)
    }
    pair.edge.tunnel?.sendControl(bytes)
    #expect(pair.run(for: .seconds(1)) { pair.hub.end != nil && pair.edge.end != nil })
    #expect(
      pair.hub.end == .malformed(.frameTooLong(type: .pong, length: 65, limit: 64)))
    #expect(pair.edge.end == .closed(applicationError: 1))
  }

  @Test func unknownMessagesArePassedOver() throws {
    let pair = try up()
    pair.edge.tunnel?.sendControl([0x77, 0, 0, 0, 3, 1, 2, 3])
    pair.edge.tunnel?.sendHello([9])
    #expect(pair.run(for: .seconds(1)) { pair.hub.happenings.contains(.hello([9])) })
    #expect(pair.hub.tunnel?.skippedMessages == 1)
  }

  /// SPEC 3: the error line, then application error 2.
  @Test func aRefusedEdge() throws {
    let pair = try LinkPair()
    pair.hub.admits = false
    pair.edge.admits = false
    let line = Array("{\"error\":\"unauthorized\"}\n".utf8)
    pair.hub.handler = { tunnel, event in
      guard case .controlBytes = event else { return }
      tunnel.sendControl(line)
      tunnel.end(applicationError: 2, reason: "unauthorized")
    }
    pair.connect()
    #expect(pair.run(for: .seconds(5)) { pair.edge.end != nil })
    #expect(pair.edge.end == .closed(applicationError: 2))
    #expect(pair.edge.happenings.contains(.controlBytes(line)))
    pair.run(for: .seconds(10))
    #expect(pair.hub.endpoint.connectionCount == 0)
  }

  /// Before it is admitted an edge has one stream and 16 KiB.
  @Test func aStrangerHasOneStream() throws {
    let pair = try LinkPair()
    pair.hub.admits = false
    pair.connect()
    #expect(pair.run(for: .seconds(5)) { pair.edge.tunnel?.isEstablished == true })
    let stream = Array("PROXY\r\n".utf8).withUnsafeBytes {
      pair.edge.tunnel?.open(header: $0, owner: .none, now: pair.now)
    }
    #expect(stream == nil)
    pair.edge.tunnel?.sendControl([UInt8](repeating: 65, count: 1 << 20))
    var seen = 0
    pair.hub.handler = { tunnel, event in
      if case .controlBytes = event { seen += tunnel.payload.count }
    }
    // Nobody reads on, so nothing more comes than the window and what follows it up.
    pair.run(for: .milliseconds(200))
    #expect(seen > 0)
    #expect(pair.hub.tunnel?.bytesReceived ?? 0 < 1 << 21)
  }

  @Test func linesInAnySplit() throws {
    let pair = try LinkPair()
    pair.hub.admits = false
    var line: [UInt8] = []
    pair.hub.handler = { tunnel, event in
      guard case .controlBytes = event else { return }
      line += Array(tunnel.payload)
      guard let end = line.firstIndex(of: 10) else { return }
      tunnel.admit()
      tunnel.sendControl(Array("{}\n".utf8))
      tunnel.beginMessages(consumed: tunnel.payload.count - (line.count - end - 1))
    }
    let tunnel = pair.edge.endpoint.connect(
      to: LinkPair.hubAddress, from: LinkPair.edgeAddress, serverName: nil, now: pair.now)
    pair.edge.tunnel = tunnel
    tunnel?.sendControl(Array("EDGE a".utf8))
    pair.run(for: .seconds(1))
    // The rest of the line, and a message behind it at once.
    tunnel?.sendControl(Array(" b\n".utf8) + [FrameType.hello.rawValue, 0, 0, 0, 2, 0x7B, 0x7D])
    #expect(
      pair.run(for: .seconds(1)) { pair.hub.happenings.contains(.hello(Array("{}".utf8))) })
    #expect(line.starts(with: Array("EDGE a b\n".utf8)))
  }
}
