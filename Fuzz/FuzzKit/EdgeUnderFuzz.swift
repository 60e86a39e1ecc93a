// A whole edge with clients of all manners, and what a hub may tell it.

import RIBase
import RIControl
import RIRing
import RIWire

#if DEBUG || FUZZING
  @testable import RIEngine

  final class EdgeUnderFuzz {
    static let hub = SocketAddress(FuzzWorld.hubIP, 8_443)
    let world: FuzzWorld
    private let clients: PlainPeers

    init(seed: UInt64) {
      world = FuzzWorld(seed: seed)
      clients = PlainPeers(world.kernel, world.host(FuzzWorld.clientIP))
      clients.bindDatagram(SocketAddress(FuzzWorld.clientIP, 4_000))
      world.turns.append(clients.turn)
    }

    /// Starts it, once its hub is there.
    func begin(_ mode: TransportMode) {
      var settings = EdgeSettings(hubHost: "hub", edgeID: "edge-1", secret: FuzzWorld.secret)
      settings.trust = .insecure
      settings.bindAddress = .anyV4
      settings.stunServer = ""
      settings.transportMode = mode
      do {
        let trust = try EdgeTrust(settings: settings, report: { _ in })
        world.begin(.edge(EdgeState(settings: settings, trust: trust)), at: FuzzWorld.edgeIP)
      } catch { fatalError("fuzz: no edge: \(error)") }
      world.run(.milliseconds(100))
    }

    /// One word or deed of a client.
    func stepClient(_ what: Int, _ input: inout FuzzInput) {
      switch what {
      case 0, 1:
        guard clients.count < 40 else { return }
        let manners: [PlainPeers.Manner] = [.echoes, .sends(30_000), .resets, .stalls, .listens]
        clients.connect(
          to: SocketAddress(FuzzWorld.edgeIP, [443, 444, 445][input.choice(3)]),
          manners[input.choice(5)])
      case 2:
        let client = input.choice(max(1, clients.count))
        clients.send(input.take(input.choice(250)), on: client)
      case 3:
        let client = input.choice(max(1, clients.count))
        input.flag() ? clients.finish(client) : clients.reset(client)
      default:
        clients.sendDatagram(
          input.take(input.choice(250)),
          to: SocketAddress(FuzzWorld.edgeIP, input.flag() ? 53 : 54))
      }
    }

    /// Mostly a configuration with some ports.
    static func configuration(_ input: inout FuzzInput) -> [UInt8] {
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
  }
#endif
