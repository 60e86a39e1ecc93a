// Which transport an edge tries when.

import RIBase
import Testing

@testable import RIControl

@Suite struct TransportPolicyTests {
  @Test func withoutAChoiceThereIsNoFallback() {
    for (mode, transport) in [(TransportMode.tcpTls, TunnelTransport.tcpTls), (.quic, .quic)] {
      let policy = TransportPolicy(mode: mode)
      #expect(policy.first == transport)
      #expect(policy.fallback(from: transport) == nil)
      #expect(policy.patience(with: transport) == nil)
      #expect(policy.retryInterval(on: transport) == nil)
    }
  }

  @Test func quicHasFiveSecondsThenTLSAndEveryFiveMinutesQUICAgain() {
    let policy = TransportPolicy(mode: .quicWithFallback)
    #expect(policy.first == .quic)
    #expect(policy.patience(with: .quic) == .seconds(5))
    #expect(policy.fallback(from: .quic) == .tcpTls)
    #expect(policy.fallback(from: .tcpTls) == nil)
    #expect(policy.patience(with: .tcpTls) == nil)
    #expect(policy.retryInterval(on: .tcpTls) == .seconds(300))
    #expect(policy.retryInterval(on: .quic) == nil)
  }

  @Test func variablesChangeTheTimers() throws {
    let timers = try TransportTimers { $0 == "REMOTEINGRESS_QUIC_RETRY" ? "3" : nil }
    #expect(timers.quicRetryInterval == .seconds(3))
    #expect(timers.quicPatience == .seconds(5))
    #expect(try TransportTimers { _ in "" } == TransportTimers())
  }

  @Test(arguments: ["0", "-1", "x", "1.5", "86401"])
  func otherValuesAreErrors(text: String) {
    let fault = #expect(throws: TransportTimersFault.self) {
      try TransportTimers { $0 == "REMOTEINGRESS_QUIC_PATIENCE" ? text : nil }
    }
    #expect(fault?.variable == "REMOTEINGRESS_QUIC_PATIENCE")
  }
}
