// A whole edge against a hub that says what it likes, with clients of all manners.

import RIBase
import RIControl
import RIRing
import RIWire

#if DEBUG || FUZZING
  @testable import RIEngine

  func fuzzEdge(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let run = EdgeRun(seed: UInt64(input.byte()))
    for _ in 0..<200 where !input.isAtEnd { run.step(&input) }
    run.end()
  }

  private final class EdgeRun {
    private let world: FuzzWorld
    private let clients: PlainPeers
    private let hub: TLSPeer

    init(seed: UInt64) {
      world = FuzzWorld(seed: seed)
      clients = PlainPeers(world.kernel, world.host(FuzzWorld.clientIP))
      clients.bindDatagram(SocketAddress(FuzzWorld.clientIP, 4_000))
      hub = TLSPeer.listening(
        world.kernel, world.host(FuzzWorld.hubIP), SocketAddress(FuzzWorld.hubIP, 8_443))
      world.turns += [clients.turn, hub.turn]
      var settings = EdgeSettings(hubHost: "hub", edgeID: "edge-1", secret: FuzzWorld.secret)
      settings.trust = .insecure
      settings.bindAddress = .anyV4
      settings.stunServer = ""
      do {
        let trust = try EdgeTrust(settings: settings, report: { _ in })
        world.begin(.edge(EdgeState(settings: settings, trust: trust)), at: FuzzWorld.edgeIP)
      } catch { fatalError("fuzz: no edge: \(error)") }
      world.run(.milliseconds(100))
    }

    func step(_ input: inout FuzzInput) {
      switch input.choice(18) {
      case 0: hub.say(configuration(&input) + [0x0A])
      case 1...7: hub.say(frame(&input))
      case 8: hub.say(input.take(input.choice(64)))
      case 9: hub.hangUp(input.flag() ? .reset : .graceful)
      case 10, 11:
        guard clients.count < 40 else { return }
        let manners: [PlainPeers.Manner] = [.echoes, .sends(30_000), .resets, .stalls, .listens]
        clients.connect(
          to: SocketAddress(FuzzWorld.edgeIP, [443, 444, 445][input.choice(3)]),
          manners[input.choice(5)])
      case 12:
        let client = input.choice(max(1, clients.count))
        clients.send(input.take(input.choice(250)), on: client)
      case 13:
        let client = input.choice(max(1, clients.count))
        input.flag() ? clients.finish(client) : clients.reset(client)
      case 14:
        clients.sendDatagram(
          input.take(input.choice(250)),
          to: SocketAddress(FuzzWorld.edgeIP, input.flag() ? 53 : 54))
      default: world.run(.milliseconds(Int64(input.number() % 2_000)))
      }
    }

    /// Mostly a configuration with some ports.
    private func configuration(_ input: inout FuzzInput) -> [UInt8] {
      let ports = [443, 444, 445].filter { _ in input.flag() }
      let datagramPorts = input.flag() ? "53" : "53,54"
      let extensions = ["", "\"autoWindow\"", "\"drain\"", "\"autoWindow\",\"drain\""]
      let more = [
        "", ",\"draining\":true", ",\"firewallConfig\":{\"rules\":[{\"id\":\"a\"}]}",
        ",\"stunIntervalSecs\":1", ",\"error\":\"unauthorized\"", ",\"error\":7",
      ]
      switch input.choice(10) {
      case 0: return input.take(input.choice(200))
      case 1: return Array("{\"listenPorts\":[\(input.word()),0,65535,65536]}".utf8)
      default:
        let extra = input.flag() ? "" : more[input.choice(more.count)]
        let offer = extensions[input.choice(4)]
        return Array(
          """
          {"listenPorts":\(ports),"listenPortsUdp":[\(datagramPorts)],\
          "extensions":[\(offer)]\(extra)}
          """.utf8)
      }
    }

    private func frame(_ input: inout FuzzInput) -> [UInt8] {
      if input.choice(6) == 0 { return wireFrame(0x06, 0, configuration(&input)) }
      if input.choice(6) == 0 {
        let payload = [UInt8](repeating: 9, count: 100 * input.choice(256))
        return wireFrame(0x04, UInt32(1 + input.choice(6)), payload)
      }
      return input.frame([0x04, 0x05, 0x07, 0x0A, 0x0D, 0x0E]) { _ in [] }
    }

    func end() { world.end() }
  }
#endif
