// Settings travel to the engine as JSON.

import FoundationEssentials
import RIBase
import RIWire
import Testing

@testable import RIControl

@Suite struct SettingsTests {
  @Test func hubSettingsSurviveTheJourney() throws {
    var settings = HubSettings()
    settings.bindAddress = .loopbackV6
    settings.certificate = .pem(certificate: "c", key: "k")
    settings.allowedEdges = [
      AllowedEdge(
        id: "e", secret: try Secret("s"), listenPorts: [1], listenPortsUdp: [2],
        stunIntervalSecs: 3, firewallConfig: .object(["rules": .array([])]))
    ]
    settings.targets = [TargetRule(port: 5, transport: .udp, udpProxyHeader: .every)]
    settings.shards = 4
    settings.stateDirectory = "/x"
    #expect(
      try JSONDecoder().decode(HubSettings.self, from: JSONEncoder().encode(settings)) == settings)
  }

  @Test(arguments: [
    HubTrustSettings.pin([1, 2]), .authorities(caFile: nil), .authorities(caFile: "f"), .firstUse,
    .insecure,
  ])
  func edgeSettingsSurviveTheJourney(trust: HubTrustSettings) throws {
    var settings = EdgeSettings(hubHost: "h", edgeID: "e", secret: try Secret("s"))
    settings.trust = trust
    #expect(
      try JSONDecoder().decode(EdgeSettings.self, from: JSONEncoder().encode(settings)) == settings)
  }

  @Test func descriptionsHideSecrets() throws {
    var settings = HubSettings()
    settings.certificate = .pem(certificate: "c", key: "hush-key")
    settings.allowedEdges = [AllowedEdge(id: "e", secret: try Secret("hush-secret"))]
    #expect(!"\(settings)".contains("hush"))
    var dumped = ""
    dump(settings, to: &dumped)
    #expect(!dumped.contains("hush"))
  }
}
