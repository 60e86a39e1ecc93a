// A whole edge against a hub over TLS that says what it likes.

import RIBase
import RIRing
import RIWire

#if DEBUG || FUZZING
  func fuzzEdge(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let run = EdgeRun(seed: UInt64(input.byte()))
    for _ in 0..<200 where !input.isAtEnd { run.step(&input) }
    run.edge.world.end()
  }

  private final class EdgeRun {
    let edge: EdgeUnderFuzz
    private let hub: TLSPeer

    init(seed: UInt64) {
      edge = EdgeUnderFuzz(seed: seed)
      let world = edge.world
      hub = TLSPeer.listening(world.kernel, world.host(FuzzWorld.hubIP), EdgeUnderFuzz.hub)
      world.turns.append(hub.turn)
      edge.begin(.tcpTls)
    }

    func step(_ input: inout FuzzInput) {
      switch input.choice(18) {
      case 0: hub.say(EdgeUnderFuzz.configuration(&input) + [0x0A])
      case 1...7: hub.say(frame(&input))
      case 8: hub.say(input.take(input.choice(64)))
      case 9: hub.hangUp(input.flag() ? .reset : .graceful)
      case let what where what < 15: edge.stepClient(what - 10, &input)
      default: edge.world.run(.milliseconds(Int64(input.number() % 2_000)))
      }
    }

    private func frame(_ input: inout FuzzInput) -> [UInt8] {
      if input.choice(6) == 0 { return wireFrame(0x06, 0, EdgeUnderFuzz.configuration(&input)) }
      if input.choice(6) == 0 {
        let payload = [UInt8](repeating: 9, count: 100 * input.choice(256))
        return wireFrame(0x04, UInt32(1 + input.choice(6)), payload)
      }
      return input.frame([0x04, 0x05, 0x07, 0x0A, 0x0D, 0x0E]) { _ in [] }
    }
  }
#endif
