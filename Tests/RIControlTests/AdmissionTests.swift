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
      id: "e1", secret: try Secret("s"), listenPorts: [80, 443, 8443], listenPortsUdp: [53])
    var settings = HubSettings()
    settings.targetHost = "10.0.0.9"
    settings.targets = [
      TargetRule(port: 443, transport: .udp, host: "wrong"),
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
