// Which streams a hub lets an edge open, and where they go.

import RIBase
import RIWire
import Testing

@testable import RIControl

@Suite struct AdmissionTests {
  private let edge: AllowedEdge
  private let settings: HubSettings

  init() throws {
    edge = AllowedEdge(
      id: "e1", secret: try Secret("s"), listenPorts: [80, 443, 8443],
      listenPortsUdp: [53, 5353, 5354])
    var settings = HubSettings()
    settings.targetHost = "10.0.0.9"
    settings.targets = [
      TargetRule(port: 443, transport: .udp, host: "wrong"),
      TargetRule(port: 5353, host: "wrong", targetPort: 9),
      TargetRule(
        port: 5353, transport: .udp, host: "dns.internal", targetPort: 53, udpProxyHeader: .every),
      TargetRule(port: 5354, transport: .udp, udpProxyHeader: .none),
      TargetRule(port: 443, host: "web.internal", targetPort: 9443, proxyProtocol: .v2),
      TargetRule(port: 8443, targetPort: 1, proxyProtocol: .none),
    ]
    self.settings = settings
  }

  private func admit(
    _ header: String
  ) -> Result<(header: ProxyHeader, target: TargetAddress), AdmissionError> {
    Array(header.utf8).withUnsafeBytes { admitStream(header: $0, edge: edge, settings: settings) }
  }

  @Test(arguments: [
    (
      "PROXY TCP4 192.0.2.1 198.51.100.7 50000 80\r\n",
      TargetAddress(host: "10.0.0.9", port: 80, proxyProtocol: .v1)
    ),
    (
      "PROXY TCP6 2001:db8::1 2001:db8::2 50000 80\r\n",
      TargetAddress(host: "10.0.0.9", port: 80, proxyProtocol: .v1)
    ),
    (
      "PROXY TCP4 192.0.2.1 198.51.100.7 50000 443\r\n",
      TargetAddress(host: "web.internal", port: 9443, proxyProtocol: .v2)
    ),
    (
      "PROXY TCP4 192.0.2.1 198.51.100.7 50000 8443\r\n",
      TargetAddress(host: "10.0.0.9", port: 1, proxyProtocol: .none)
    ),
  ])
  func ownPortsGoToTheirTargets(header: String, target: TargetAddress) throws {
    let admitted = try admit(header).get()
    #expect(admitted.target == target)
    #expect(admitted.header.source.port == 50_000)
  }

  private func admit(
    _ header: ProxyHeader, _ transport: ProxyHeader.Transport = .datagram, trailing: [UInt8] = []
  ) -> Result<(header: ProxyHeader, target: SessionTarget), AdmissionError> {
    (header.encodedV2(transport: transport) + trailing).withUnsafeBytes {
      admitSession(header: $0, edge: edge, settings: settings)
    }
  }

  private func header(_ port: Port, isV6: Bool = false) -> ProxyHeader {
    ProxyHeader(
      source: SocketAddress(
        isV6 ? IPAddress(v6High: 1, low: 2) : IPAddress(v4: 0xC000_0201), 50_000),
      destination: SocketAddress(isV6 ? .loopbackV6 : .loopbackV4, port))
  }

  @Test(arguments: [
    (Port(53), SessionTarget(host: "10.0.0.9", port: 53, proxyHeader: .first)),
    (Port(5_353), SessionTarget(host: "dns.internal", port: 53, proxyHeader: .every)),
    (Port(5_354), SessionTarget(host: "10.0.0.9", port: 5_354, proxyHeader: .none)),
  ])
  func sessionsOfOwnPortsGoToTheirTargets(port: Port, target: SessionTarget) throws {
    for isV6 in [false, true] {
      let admitted = try admit(header(port, isV6: isV6)).get()
      #expect(admitted.target == target)
      #expect(admitted.header == header(port, isV6: isV6))
    }
  }

  /// 443 is the edge's, but for TCP.
  @Test(arguments: [Port(443), 54, 0])
  func sessionsOfOthersPortsAreRefused(port: Port) {
    #expect(throws: AdmissionError.foreignPort(port)) { try admit(header(port)).get() }
  }

  @Test func sessionsNeedOneWholeDatagramHeader() {
    let refused = [admit(header(53), .stream), admit(header(53), trailing: [0])]
    for result in refused {
      #expect(throws: AdmissionError.badHeader) { try result.get() }
    }
    let line = Array("PROXY UDP4 192.0.2.1 198.51.100.7 50000 53\r\n".utf8)
    #expect(throws: AdmissionError.badHeader) {
      try line.withUnsafeBytes { admitSession(header: $0, edge: edge, settings: settings) }.get()
    }
  }

  @Test(arguments: [Port(22), 53, 81, 9443, 1])
  func portsOfOthersAreRefused(port: Port) {
    let result = admit("PROXY TCP4 192.0.2.1 198.51.100.7 50000 \(port)\r\n")
    #expect(throws: AdmissionError.foreignPort(port)) { try result.get() }
  }

  @Test(arguments: [
    "",
    "PROXY TCP4 192.0.2.1 198.51.100.7 50000 80",
    "PROXY TCP4 192.0.2.1 198.51.100.7 50000 80\n",
    "PROXY TCP4 192.0.2.1 198.51.100.7 50000 80\r\nGET / HTTP/1.1\r\n",
    "PROXY TCP4 2001:db8::1 2001:db8::2 50000 80\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.7 50000 080\r\n",
    "PROXY UNKNOWN\r\n",
    "proxy TCP4 192.0.2.1 198.51.100.7 50000 80\r\n",
  ])
  func anythingButOneProxyLineIsRefused(header: String) {
    #expect(throws: AdmissionError.badHeader) { try admit(header).get() }
  }
}
