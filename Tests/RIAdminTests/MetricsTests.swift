// The text of /metrics: what promtool says to it, and the values of some series.

import RIControl
import RemoteIngress
import Testing

@testable import RIAdmin

struct MetricsTests {
  private static let looks: [AdminSnapshot] = [
    .hub, .edge, AdminSnapshot(role: .hub), AdminSnapshot(role: .edge),
  ]

  @Test(arguments: looks.indices) func promtoolHasNothingToSay(index: Int) async throws {
    let text = Metrics(of: Self.looks[index]).text
    let (said, code) = try await runToEnd(["promtool", "check", "metrics"], input: text)
    #expect(code == 0 && said.isEmpty, "\(said)")
  }

  @Test func promtoolWouldSaySomething() async throws {
    let (_, code) = try await runToEnd(
      ["promtool", "check", "metrics"], input: "# TYPE a_total gauge\na_total 1\n")
    #expect(code != 0)
  }

  @Test func seriesSayWhatTheStatusSays() {
    let lines = Set(Metrics(of: .hub).text.split(separator: "\n").map(String.init))
    for line in [
      #"remoteingress_build_info{version="\#(remoteIngressVersion)",role="hub"} 1"#,
      "remoteingress_ready 1",
      "remoteingress_engine_start_time_seconds 1700000000.5",
      #"remoteingress_tunnels{transport="tcpTls"} 3"#,
      "remoteingress_tunnels_draining 1",
      "remoteingress_tunnels_opened_total 4",
      #"remoteingress_tunnels_closed_total{reason="protocol_violation"} 2"#,
      #"remoteingress_handshake_failures_total{reason="unauthorized"} 2"#,
      #"remoteingress_handshake_failures_total{reason="timed_out"} 0"#,
      #"remoteingress_edge_streams{edge="a"} 2"#,
      #"remoteingress_edge_streams{edge="b\"\\e"} 3"#,
      #"remoteingress_edge_rtt_seconds{edge="b\"\\e"} 0.0125"#,
      #"remoteingress_edge_bytes_total{edge="b\"\\e",direction="out"} 2000"#,
      #"remoteingress_frames_total{direction="out",tier="data"} 12"#,
      #"remoteingress_frames_total{direction="out",tier="sustained"} 8"#,
      #"remoteingress_frame_bytes_total{direction="out",tier="data"} 800"#,
      #"remoteingress_tunnel_bytes_total{direction="in"} 10000"#,
      #"remoteingress_datagrams_dropped_total{reason="queue_full"} 8"#,
      "remoteingress_memory_budget_bytes 209715200", "remoteingress_memory_pressure 1",
      #"remoteingress_pool_buffers{pool="small"} 20"#,
      #"remoteingress_pool_buffers_used{pool="small"} 6"#,
      #"remoteingress_window_bytes{direction="out"} 8388608"#,
      #"remoteingress_loop_seconds_bucket{le="4e-06"} 0"#,
      #"remoteingress_loop_seconds_bucket{le="8e-06"} 6"#,
      #"remoteingress_loop_seconds_bucket{le="0.002048"} 6"#,
      #"remoteingress_loop_seconds_bucket{le="0.004096"} 8"#,
      #"remoteingress_loop_seconds_bucket{le="+Inf"} 8"#,
      "remoteingress_loop_seconds_sum 0.006036", "remoteingress_loop_seconds_count 8",
    ] {
      #expect(lines.contains(line), "\(line)")
    }
    #expect(!lines.contains { $0.contains("firewall") })
  }

  @Test func anEdgeHasMoreToSay() {
    let lines = Set(Metrics(of: .edge).text.split(separator: "\n").map(String.init))
    for line in [
      #"remoteingress_firewall_applies_total{outcome="applied"} 7"#,
      #"remoteingress_firewall_applies_total{outcome="refused"} 3"#,
      #"remoteingress_firewall_applies_total{outcome="unavailable"} 1"#,
      #"remoteingress_firewall_applies_total{outcome="failed"} 2"#,
      #"remoteingress_firewall_state{state="applied"} 1"#,
      #"remoteingress_firewall_state{state="off"} 0"#,
      #"remoteingress_firewall_packets_total{kind="rule"} 11"#,
      #"remoteingress_listeners{state="failed"} 1"#, "remoteingress_reconnects_total 3",
    ] {
      #expect(lines.contains(line), "\(line)")
    }
  }

  /// However many edges there are, the number of series stays bounded.
  @Test func edgesBeyondTheLimitHaveNoSeriesOfTheirOwn() {
    var look = AdminSnapshot.hub
    look.tunnels = (0..<2_000).map {
      LinkStatus(
        edgeID: "edge-\($0)", address: "10.0.0.1:1", transport: .tcpTls, connectedAt: 0)
    }
    let lines = Metrics(of: look).text.split(separator: "\n")
    #expect(lines.count { $0.hasPrefix("remoteingress_edge_streams{") } == 500)
    #expect(lines.contains("remoteingress_edges_unlisted 1500"))
    #expect(lines.count < 3_000)
  }

  /// docs/METRICS.md lists every family, and no other.
  @Test func theDocumentListsThem() throws {
    let document = try repositoryFile("docs/METRICS.md")
    let listed = Set(
      document.split(separator: "\n").filter { $0.hasPrefix("| `remoteingress_") }
        .compactMap { $0.split(separator: "`").dropFirst().first.map(String.init) })
    let families = Set(
      (Metrics(of: .hub).text + Metrics(of: .edge).text).split(separator: "\n")
        .filter { $0.hasPrefix("# TYPE ") }.map { String($0.split(separator: " ")[2]) })
    #expect(listed == families)
  }
}
