// Edges over QUIC that say what they like at a whole hub, and strangers' packets.

import RIBase
import RIRing
import RIWire

#if DEBUG || FUZZING
  func fuzzHubQUIC(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let run = QUICHubRun(seed: UInt64(input.byte()))
    for _ in 0..<100 where !input.isAtEnd { run.step(&input) }
    run.end()
  }

  private final class QUICHubRun {
    private let hub: HubUnderFuzz
    private let strangers: PlainPeers
    private var crooked: [QUICPeer] = []

    private var world: FuzzWorld { hub.world }

    init(seed: UInt64) {
      hub = HubUnderFuzz(seed: seed, extensions: .all, takesQUIC: true)
      strangers = PlainPeers(hub.world.kernel, hub.world.host(FuzzWorld.clientIP))
      strangers.bindDatagram(SocketAddress(FuzzWorld.clientIP, 4_000))
      hub.world.turns.append(strangers.turn)
    }

    func step(_ input: inout FuzzInput) {
      let peer = crooked.isEmpty ? nil : crooked[input.choice(crooked.count)]
      switch input.choice(14) {
      case 0, 1: comeIn(&input)
      case 2...6:
        peer?.end.say(&input, header: HubUnderFuzz.header, world.kernel.now)
        peer?.act()
      case 7, 8: peer?.tamperOnce(&input)
      case 9: strangers.sendDatagram(packet(&input), to: HubUnderFuzz.address)
      case 10: hub.push(&input)
      case 11:
        if input.flag() { peer?.hangUp() }
        peer?.act()
      default: world.run(.milliseconds(Int64(input.number() % 2_000)))
      }
    }

    private func comeIn(_ input: inout FuzzInput) {
      guard crooked.count < 4 else { return }
      let line: [UInt8] =
        switch input.choice(8) {
        case 0: input.take(input.choice(200))
        case 1: Array("EDGE edge-1 wrong\n".utf8)
        default: FuzzWorld.greeting
        }
      let peer = QUICPeer.dialling(
        world.kernel, world.host(FuzzWorld.clientIP), from: FuzzWorld.clientIP,
        HubUnderFuzz.address, saying: line)
      crooked.append(peer)
      world.turns.append(peer.turn)
      if input.flag() { world.run(.milliseconds(50)) }
    }

    /// Mostly what looks like the first packet of a link, as long as it must be (RFC 9000, 14.1).
    private func packet(_ input: inout FuzzInput) -> [UInt8] {
      let kind = input.choice(4)
      let bytes = input.take(input.choice(120))
      if kind == 0 { return bytes }
      let version: [UInt8] = kind == 1 ? [0, 0, 0, 0] : kind == 2 ? [0, 0, 0, 1] : [9, 9, 9, 9]
      let packet = [0xC0] + version + bytes
      return packet + [UInt8](repeating: 0, count: max(0, 1_200 - packet.count))
    }

    func end() {
      hub.end()
      for peer in crooked { peer.end.end() }
    }
  }
#endif
