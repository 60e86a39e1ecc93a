// A whole hub with its targets, and an honest edge at it that must notice nothing of what is tried.

import RIBase
import RIControl
import RIRing
import RIWire

#if DEBUG || FUZZING
  @testable import RIEngine

  final class HubUnderFuzz {
    static let ports: [Port] = [443, 444, 445, 446, 447]
    static let address = SocketAddress(FuzzWorld.hubIP, 8_443)
    let world: FuzzWorld
    private let targets: PlainPeers
    private let bystander: TLSPeer
    private static let bystanderHeader =
      Array("PROXY TCP4 10.0.0.1 10.0.1.1 40000 500\r\n".utf8)

    init(seed: UInt64, extensions: Extensions, takesQUIC: Bool = false) {
      world = FuzzWorld(seed: seed)
      targets = PlainPeers(world.kernel, world.host(FuzzWorld.targetIP))
      for (port, manner) in [
        (443, PlainPeers.Manner.echoes), (444, .sends(100_000)), (445, .resets), (446, .stalls),
        (500, .echoes),
      ] { targets.serve(SocketAddress(FuzzWorld.targetIP, Port(port)), manner) }
      targets.bindDatagram(SocketAddress(FuzzWorld.targetIP, 53))
      var settings = HubSettings()
      settings.allowedEdges = Self.edges(Self.ports)
      settings.targetHost = "target"
      let state = HubState(
        settings: settings, tls: FuzzTLS.server,
        tunnelAddresses: [SocketAddress(.anyV4, 8_443)], offer: extensions,
        quic: takesQUIC ? FuzzTLS.quicServer : nil, othersReplace: { _ in })
      world.begin(.hub(state), at: FuzzWorld.hubIP)
      bystander = TLSPeer.dialling(
        world.kernel, world.host(FuzzWorld.edgeIP), SocketAddress(FuzzWorld.hubIP, 8_443))
      world.turns += [targets.turn, bystander.turn]
      bystander.say(Array("EDGE edge-2 correct-horse-battery-staple\n".utf8))
      bystander.say(wireFrame(0x01, 1, Self.bystanderHeader))
      bystander.say(wireFrame(0x02, 1, [UInt8](repeating: 1, count: 1_000)))
      world.run(.milliseconds(100))
    }

    private static func edges(_ ports: [Port]) -> [AllowedEdge] {
      [
        AllowedEdge(
          id: "edge-1", secret: FuzzWorld.secret, listenPorts: ports, listenPortsUdp: [53]),
        AllowedEdge(id: "edge-2", secret: FuzzWorld.secret, listenPorts: [500]),
      ]
    }

    /// Other ports for the edge that is tried with.
    func push(_ input: inout FuzzInput) {
      let ports = input.flag() ? Self.ports : Array(Self.ports.prefix(input.choice(5)))
      world.tell(.updateAllowedEdges(Self.edges(ports)))
      world.run(.milliseconds(1))
    }

    /// What an edge says of a client: PROXY v1, or v2 of either kind.
    static func header(_ input: inout FuzzInput) -> [UInt8] {
      let port = [443, 444, 445, 446, 447, 500, 53, 7][input.choice(8)]
      if input.flag() {
        let line = "PROXY TCP4 192.0.2.1 10.0.1.1 \(1 + input.choice(256)) \(port)\r\n"
        return Array(line.utf8)
      }
      return ProxyHeader(
        source: SocketAddress(IPAddress(v4: input.word()), 40_000),
        destination: SocketAddress(FuzzWorld.edgeIP, Port(port))
      ).encodedV2(transport: input.flag() ? .datagram : .stream)
    }

    func end() {
      bystander.say(wireFrame(0x02, 1, [UInt8](repeating: 2, count: 2_000)))
      bystander.say(wireFrame(0x03, 1, []))
      world.kernel.run(world.turns, until: world.kernel.now + .seconds(3))
      checkBystander()
      world.end()
    }

    /// It got its answer: what it sent, whole, and then the end.
    private func checkBystander() {
      must(!bystander.hasEnded, "the honest edge lost its tunnel")
      guard let line = bystander.plaintext.firstIndex(of: 0x0A) else {
        return must(false, "the honest edge was never let in")
      }
      var rest = bystander.plaintext[(line + 1)...]
      var echoed = 0
      var hasEnd = false
      while rest.count >= 9 {
        func number(_ from: Int, _ count: Int) -> Int {
          rest.dropFirst(from).prefix(count).reduce(0) { $0 << 8 | Int($1) }
        }
        let (type, length) = (number(4, 1), number(5, 4))
        if number(0, 4) == 1, type == 0x04 { echoed += length }
        if number(0, 4) == 1, type == 0x05 {
          must(length == 0, "the honest edge's stream was reset")
          hasEnd = true
        }
        rest = rest.dropFirst(9 + length)
      }
      must(echoed == Self.bystanderHeader.count + 3_000, "the honest edge got \(echoed) bytes back")
      must(hasEnd, "the honest edge's stream did not end")
    }
  }
#endif
