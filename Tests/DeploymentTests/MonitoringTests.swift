// The alert rules and the dashboard.

import Foundation
import Testing

@Suite("Monitoring")
struct MonitoringTests {
  private static let rules = "\(Files.deploy)/prometheus/alerts.yaml"
  private static let ruleTests = "\(Files.deploy)/prometheus/alerts.test.yaml"
  private static let dashboard = "\(Files.deploy)/grafana/remoteingress.json"

  @Test("promtool takes the alert rules")
  func rulesAreValid() throws {
    let result = try Tool.run("promtool", "check", "rules", Self.rules)
    #expect(result.succeeded, "\(result.output)")
  }

  @Test("each alert fires when it should, and none when all is well")
  func rulesDoWhatTheySay() throws {
    let result = try Tool.run("promtool", "test", "rules", Self.ruleTests)
    #expect(result.succeeded, "\(result.output)")
    let tested = try Files.text(Self.ruleTests)
    let alerts = try Files.text(Self.rules).matches(of: /alert: (\w+)/).map(\.output.1)
    #expect(alerts.count > 10)
    for alert in alerts { #expect(tested.contains(alert), "\(alert) has no test") }
  }

  @Test("the dashboard is JSON, each panel in its place and with its queries")
  func dashboardIsWhole() throws {
    let data = Data(try Files.text(Self.dashboard).utf8)
    let top = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    let panels = try #require(top["panels"] as? [[String: Any]])
    #expect(panels.count > 15)
    #expect(Set(panels.compactMap { $0["id"] as? Int }).count == panels.count)
    var taken: Set<[Int]> = []
    for panel in panels {
      let place = try #require(panel["gridPos"] as? [String: Int])
      let (x, y) = (place["x"] ?? -1, place["y"] ?? -1)
      let (width, height) = (place["w"] ?? 0, place["h"] ?? 0)
      #expect(x >= 0 && x + width <= 24 && height > 0)
      for column in x..<x + width {
        for row in y..<y + height {
          #expect(taken.insert([column, row]).inserted, "\(panel["title"] ?? "") overlaps")
        }
      }
      if panel["type"] as? String != "row" {
        let targets = panel["targets"] as? [[String: Any]] ?? []
        #expect(!targets.isEmpty && targets.allSatisfy { $0["expr"] is String })
      }
    }
  }

  @Test(
    "dashboard and alert rules ask for metrics that hub or edge export",
    .enabled(if: Files.hasBinary))
  func metricsExist() throws {
    let metrics = try Tool.run("python3", "\(Files.tools)/metrics.py", Files.binary)
    try #require(metrics.succeeded, "\(metrics.output)")
    var exported: Set<Substring> = []
    for match in metrics.output.matches(of: /# TYPE (\w+) (\w+)/) {
      let suffixes = match.output.2 == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
      for suffix in suffixes { exported.insert(match.output.1 + suffix) }
    }
    for file in [Self.rules, Self.ruleTests, Self.dashboard] {
      let names = Set(try Files.text(file).matches(of: /remoteingress_\w+/).map(\.output))
      #expect(names.count > 10)
      let unknown = names.subtracting(exported)
      #expect(unknown.isEmpty, "\(file)")
    }
  }
}
