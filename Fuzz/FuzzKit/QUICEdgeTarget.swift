// A whole edge against a hub over QUIC that says what it likes, and strangers' packets.

import RIBase
import RIRing
import RIWire

#if DEBUG || FUZZING
  func fuzzEdgeQUIC(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let run = QUICEdgeRun(&input)
    for _ in 0..<100 where !input.isAtEnd { run.step(&input) }
    run.end()
  }

  private final class QUICEdgeRun {
    private let edge: EdgeUnderFuzz
    private let hub: QUICPeer

    init(_ input: inout FuzzInput) {
      edge = EdgeUnderFuzz(seed: UInt64(input.byte()))
      let world = edge.world
      let answer = EdgeUnderFuzz.configuration(&input) + [0x0A]
      hub = QUICPeer.listening(
        world.kernel, world.host(FuzzWorld.hubIP), EdgeUnderFuzz.hub, answering: answer)
      world.turns.append(hub.turn)
      edge.begin(.quic)
    }

    func step(_ input: inout FuzzInput) {
      switch input.choice(18) {
      case 0: configure(&input)
      case 1...6:
        hub.end.say(&input, header: { _ in [] }, edge.world.kernel.now)
        hub.act()
      case 7, 8: hub.tamperOnce(&input)
      case 9:
        if input.flag() { hub.hangUp() }
        hub.act()
      case let what where what < 15: edge.stepClient(what - 10, &input)
      default: edge.world.run(.milliseconds(Int64(input.number() % 2_000)))
      }
    }

    private func configure(_ input: inout FuzzInput) {
      let message = EdgeUnderFuzz.configuration(&input).withUnsafeBytes {
        ControlMessage.encoded(.config, $0)
      }
      hub.end.tunnel?.sendControl(message)
      hub.act()
    }

    func end() {
      edge.world.end()
      hub.end.end()
    }
  }
#endif
