// The systemd units and the kernel limits.

import Foundation
import Testing

@Suite("systemd")
struct UnitTests {
  private static let units = ["hub", "edge"].map { role in
    "\(Files.deploy)/systemd/remoteingress-\(role).service"
  }

  private func exposure(of unit: String) throws -> ToolResult {
    // 4.9 and below is "OK" in the words of systemd-analyze.
    try Tool.run("systemd-analyze", "security", "--offline=true", "--threshold=49", unit)
  }

  @Test("a unit's exposure is OK or better", arguments: units)
  func isHardened(unit: String) throws {
    let result = try exposure(of: unit)
    #expect(result.succeeded, "\(result.output)")
    #expect(result.output.contains("Overall exposure level"))
  }

  @Test("a unit without its confinement would not pass")
  func exposureIsMeasured() throws {
    let bare = try Files.text(Self.units[0]).split(separator: "\n").filter { line in
      !["Protect", "Restrict", "Private", "SystemCall", "Capability"].contains {
        line.hasPrefix($0)
      }
    }
    let text = bare.joined(separator: "\n")
    let result = try Files.withScratch("bare.service", text) { try exposure(of: $0) }
    #expect(!result.succeeded)
  }

  @Test("what every unit says", arguments: units)
  func says(unit: String) throws {
    let role = unit.contains("hub") ? "hub" : "edge"
    let lines = try Files.lines(unit)
    for line in [
      "Type=notify", "ExecReload=/bin/kill -HUP $MAINPID", "KillMode=mixed", "User=remoteingress",
      "ConditionPathExists=/etc/remoteingress/\(role).yaml", "RestartPreventExitStatus=2",
      "LimitCORE=0",
      "ExecStart=/usr/bin/remoteingress \(role) --config "
        + "/etc/remoteingress/\(role).yaml",
    ] {
      #expect(lines.contains(line))
    }
    #expect(lines.contains { $0.hasPrefix("WatchdogSec=") })
    #expect(lines.contains("AmbientCapabilities=CAP_NET_BIND_SERVICE") == (role == "hub"))
  }

  @Test("every kernel limit exists, and has a number or a name")
  func limitsExist() throws {
    let lines = try Files.lines("\(Files.deploy)/sysctl/90-remoteingress.conf")
      .filter { !$0.isEmpty }
    #expect(lines.count > 5)
    for line in lines {
      let parts = line.split(separator: "=", maxSplits: 1).map {
        $0.trimmingCharacters(in: .whitespaces)
      }
      try #require(parts.count == 2 && !parts[1].isEmpty, "\(line)")
      // With a dash in front it may be missing.
      guard !parts[0].hasPrefix("-") else { continue }
      let path = "/proc/sys/" + parts[0].replacingOccurrences(of: ".", with: "/")
      #expect(FileManager.default.fileExists(atPath: path), "\(path)")
      #expect(parts[1].split(separator: " ").allSatisfy { Int($0) != nil }, "\(line)")
    }
  }
}
