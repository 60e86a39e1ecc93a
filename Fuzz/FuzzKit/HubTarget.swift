// Edges over TLS that say what they like at a whole hub.

import RIBase
import RIRing
import RIWire

#if DEBUG || FUZZING
  func fuzzHub(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let run = HubRun(seed: UInt64(input.byte()), extensions: Extensions(rawValue: input.byte() & 3))
    for _ in 0..<200 where !input.isAtEnd { run.step(&input) }
    run.hub.end()
  }

  private final class HubRun {
    let hub: HubUnderFuzz
    private var crooked: [TLSPeer] = []

    private var world: FuzzWorld { hub.world }

    init(seed: UInt64, extensions: Extensions) {
      hub = HubUnderFuzz(seed: seed, extensions: extensions)
    }

    func step(_ input: inout FuzzInput) {
      let peer = crooked.isEmpty ? nil : crooked[input.choice(crooked.count)]
      switch input.choice(16) {
      case 0, 1: comeIn(&input)
      case 2...9: peer?.say(frame(&input))
      case 10: peer?.say(input.take(input.choice(64)))
      case 11: peer?.hangUp(input.flag() ? .reset : .graceful)
      case 12:
        hub.push(&input)
      case 13:
        let stream = UInt32(1 + input.choice(5))
        let payload = [UInt8](repeating: 7, count: 100 * input.choice(256))
        peer?.say(wireFrame(0x02, stream, payload))
      default: world.run(.milliseconds(Int64(input.number() % 2_000)))
      }
    }

    private func comeIn(_ input: inout FuzzInput) {
      guard crooked.count < 6 else { return }
      let peer = TLSPeer.dialling(
        world.kernel, world.host(FuzzWorld.clientIP), HubUnderFuzz.address)
      crooked.append(peer)
      world.turns.append(peer.turn)
      switch input.choice(8) {
      case 0: peer.say(input.take(input.choice(200)))
      case 1: peer.say(Array("EDGE edge-1 wrong\n".utf8))
      default:
        peer.say(FuzzWorld.greeting)
        if input.flag() {
          let hello = #"{"extensions":["autoWindow","drain"],"version":"fuzz"}"#
          peer.say(wireFrame(0x10, 0, Array(hello.utf8)))
        }
      }
      if input.flag() { world.run(.milliseconds(50)) }
    }

    private func frame(_ input: inout FuzzInput) -> [UInt8] {
      input.frame([0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x0C, 0x0E, 0x10]) {
        HubUnderFuzz.header(&$0)
      }
    }
  }
#endif
