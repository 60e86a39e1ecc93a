// The firewall of an edge from its start to its end, and what it leaves alone.

import Foundation
import Testing

extension EndToEnd {
  @Suite("Firewall's life", .enabled(if: canMakeNamespaces, "no network namespaces"))
  struct FirewallLife {
    private static let answered = 1.0
    private static let silent = 0.0
    private static let tcp = "tcp:10.77.1.1:\(FirewallNetwork.echoPort)"

    /// Drops all that can be dropped.
    private static let lockOut = """
      {"blockedIps": ["0.0.0.0/0", "::/0"],
       "rateLimits": [{"id": "hub", "port": 8443, "rate": "1/day", "burst": 1}],
       "rules": [
        {"id": "in", "direction": "input", "action": "drop"},
        {"id": "out", "direction": "output", "action": "reject"},
        {"id": "through", "direction": "forward", "action": "drop"}]}
      """

    @Test("a firewall that drops everything leaves the tunnel up, and lets a lost one come back")
    func lockOut() throws {
      try FirewallNetwork.run { network in
        try network.startEdge(Self.lockOut, until: LogLine.firewallApplied)
        #expect(try network.play(.one, "probe", ["to": Self.tcp]) == [Self.tcp: Self.silent])
        #expect(try network.play(.edge, "probe", ["to": "tcp:10.77.1.2:1"]).values.first == 2)
        // Over the same tunnel, another one of its kind.
        let edge = try #require(network.edge)
        try network.update(
          Self.lockOut.replacingOccurrences(of: "\"1/day\"", with: "\"2/day\""),
          until: LogLine.firewallApplied)
        #expect(!edge.log.contains(LogLine.tunnelDown))
        // The hub is killed; the next tunnel has to get through the rules.
        let offset = edge.log.utf8.count
        try network.stopHub()
        try edge.waitForLog(LogLine.tunnelDown, from: offset)
        try network.startHub()
        try edge.waitForLog(LogLine.tunnelUp, from: offset, within: 30)
        try network.update("{}", until: LogLine.firewallOff)
        #expect(try network.play(.one, "probe", ["to": Self.tcp]) == [Self.tcp: Self.answered])
      }
    }

    @Test("other tables are untouched by start, updates, stop and kill")
    func otherTables() throws {
      try FirewallNetwork.run { network in
        try network.bed.write(
          """
          table inet filter {
            set seen { type ipv4_addr; flags dynamic,timeout; timeout 1h; }
            chain input {
              type filter hook input priority filter; policy accept;
              ct state established accept comment "remoteingress"
              tcp dport 22 counter drop
            }
          }
          table ip remoteingress { chain input { type filter hook input priority 1; }
          }
          table ip6 nat { chain out { type nat hook postrouting priority srcnat; }
          }
          """, to: "others.nft")
        try network.command(.edge, "nft", "-f", "\(network.bed.directory)/others.nft")
        let before = try network.tables("list", "ruleset")
        func others() throws -> String {
          try [["inet", "filter"], ["ip", "remoteingress"], ["ip6", "nat"]]
            .map { try network.tables("list", "table", $0[0], $0[1]) }.joined()
        }
        try network.startEdge(Self.lockOut, until: LogLine.firewallApplied)
        #expect(try others() == before)
        for i in 1...5 {
          try network.update(
            #"{"blockedIps": ["192.0.2.\#(i)"]}"#, until: LogLine.firewallApplied)
          #expect(try others() == before)
        }
        try network.update(#"{"blockedIps": ["nonsense"]}"#, expectingRefusal: true)
        #expect(try others() == before)
        try network.stopEdge()
        #expect(try network.tables("list", "ruleset") == before)
        // Killed: the table stays, for the next start to replace.
        try network.startEdge(Self.lockOut, until: LogLine.firewallApplied)
        try network.stopEdge(kill: true)
        #expect(try others() == before)
        #expect(try network.tables("list", "tables").contains("table inet remoteingress"))
        try network.startEdge(
          #"{"blockedIps": ["192.0.2.9"]}"#, until: LogLine.firewallApplied)
        let table = try network.tables("list", "table", "inet", "remoteingress")
        #expect(table.contains("192.0.2.9") && !table.contains("rule_"))
        try network.stopEdge(kill: true)
        // The next one is to have none.
        try network.startEdge("{}", until: LogLine.tunnelUp)
        try wait(within: 10, for: "what was left to be gone") {
          try network.tables("list", "ruleset") == before
        }
      }
    }

    @Test("what a killed edge has left does not keep the next one from another hub")
    func leftOver() throws {
      try FirewallNetwork.run { network in
        try network.startEdge(Self.lockOut, until: LogLine.firewallApplied)
        try network.stopEdge(kill: true)
        // The hub moves to another address, for which the old rules make no exception.
        try network.ip(
          .hub,
          [
            "addr del 10.77.3.2/24 dev eth0", "addr add 10.77.3.3/24 dev eth0",
            "route add default via 10.77.3.1",
          ])
        network.hubAddress = "10.77.3.3"
        try network.startEdge(
          Self.lockOut, until: LogLine.firewallApplied, within: 30)
        #expect(try #require(network.edge).log.contains("a former process"))
      }
    }

    @Test("SIGTERM keeps the rules while a stream lives; a second one ends both at once")
    func stops() throws {
      try FirewallNetwork.run { network in
        network.drainSeconds = 60
        try network.startEdge(#"{"blockedIps": ["10.77.2.2"]}"#, until: LogLine.firewallApplied)
        let edge = try #require(network.edge)
        let flood = ["python3", "\(Product.peers)/firewall.py", "flood", "milliseconds=60000"]
        let client = try network.bed.start(
          "client",
          network.inside(
            .one,
            flood + ["per_second=1", "to=\(Self.tcp)"]
              + ["running=\(Self.tcp)"]))
        try wait(within: 10, for: "a stream") {
          let shards = try network.status()["shards"] as? [[String: Any]]
          return shards?.first?["activeStreams"] as? Int ?? 0 > 0
        }
        edge.send(SIGTERM)
        try edge.waitForLog(LogLine.draining)
        #expect(try network.tables("list", "ruleset").contains("10.77.2.2"))
        #expect(edge.poll() == nil && client.poll() == nil)
        edge.send(SIGTERM)
        #expect(try edge.waitForExit(within: 10) == .code(0))
        try network.stopEdge(ended: true)
        #expect(try network.tables("list", "ruleset").isEmpty)
      }
    }

    @Test("a bad entry is refused by the hub at once, with edge, entry and reason")
    func refusedByTheHub() throws {
      try FirewallNetwork.run { network in
        try network.startEdge(#"{"blockedIps": ["10.77.1.2"]}"#, until: LogLine.firewallApplied)
        let hub = try #require(network.hub)
        let before = try network.tables("list", "ruleset")
        for (entry, error) in [
          (#"{"blockedIps": ["10.77.2.0/33"]}"#, "blockedIps[0]: '10.77.2.0/33' is wrong"),
          (
            #"{"rules": [{"id": "a", "direction": "input", "action": "drop; flush ruleset"}]}"#,
            "rules[0].action: 'drop; flush ruleset' is wrong; "
              + "it must be one of accept, drop, reject"
          ),
        ] {
          let offset = hub.log.utf8.count
          try network.update(entry, expectingRefusal: true)
          let log = hub.log.dropFirst(offset)
          #expect(log.contains("allowedEdges[0].firewallConfig.\(error)"), "\(log)")
        }
        #expect(try network.tables("list", "ruleset") == before)
      }
    }

    @Test("200 updates leave one table, and no memory behind")
    func manyUpdates() throws {
      try FirewallNetwork.run { network in
        func config(_ i: Int) -> String {
          let blocked = (0..<500).map { "\"10.\(i).\($0 / 250).\($0 % 250)\"" }
          return """
            {"blockedIps": [\(blocked.joined(separator: ","))],
             "rateLimits": [{"id": "a", "port": \(1000 + i), "protocol": "tcp", "rate": "5/second",
                             "perSourceIP": true}],
             "rules": [{"id": "r", "direction": "input", "action": "drop",
                        "destPort": \(2000 + i)}]}
            """
        }
        try network.startEdge(config(0), until: LogLine.firewallApplied)
        let edge = try #require(network.edge)
        var resident: [Int] = []
        for i in 1...200 {
          try network.update(config(i), until: LogLine.firewallApplied)
          if i % 50 == 0 { resident.append(residentKilobytes(edge.engine)) }
        }
        print("firewall: resident after 50, 100, 150 and 200 updates: \(resident) kB")
        #expect(resident[3] < resident[0] + 4_096)
        let tables = try network.tables("list", "tables").split(separator: "\n")
        #expect(tables.count == 1 && tables[0].hasPrefix("table inet remoteingress"))
        let table = try network.tables("list", "table", "inet", "remoteingress")
        #expect(table.contains("10.200.0.249") && !table.contains("10.199.0.249"))
        #expect(
          table.matches(of: #/\tset /#).count == 5 && table.matches(of: #/\tcounter /#).count == 3)
        #expect(try network.firewallStatus["applies"] as? Int == 201)
      }
    }

    @Test("20,000 blocked addresses are applied")
    func manyAddresses() throws {
      try FirewallNetwork.run { network in
        // No two adjoin, so that as many elements are made.
        let v4 = (0..<14_000).map { "20.\($0 / 4_000).\($0 / 100 % 40).\($0 % 100 * 2)" }
        let v6 = (0..<6_000).map { "2001:db8::\(String($0 * 2, radix: 16))" }
        func config(_ last: String) -> String {
          let entries = (v4 + v6 + [last]).map { "\"\($0)\"" }.joined(separator: ",")
          return "{\"blockedIps\": [\(entries)]}"
        }
        try network.startEdge("{}", until: LogLine.tunnelUp)
        let edge = try #require(network.edge)
        var resident = [residentKilobytes(edge.engine)]
        for i in 1...8 {
          try network.update(config("192.0.2.\(i)"), until: LogLine.firewallApplied)
          resident.append(residentKilobytes(edge.engine))
        }
        print("firewall: resident without and with 20,001 addresses, 8 times: \(resident) kB")
        #expect(resident[8] < resident[4] + 4_096)
        let seconds = try network.update(config("10.77.1.2"), until: LogLine.firewallApplied)
        #expect(try network.play(.one, "probe", ["to": Self.tcp]) == [Self.tcp: Self.silent])
        let status = try network.firewallStatus
        #expect(status["blockedIps"] as? Int == 20_001 && status["state"] as? String == "applied")
        // The same table as text, for nft alone.
        let text = try network.bed.command(
          network.inside(.edge, ["nft", "list", "table", "inet", "remoteingress"]))
        #expect(text.count > 20_000 * 10)
        try network.bed.write(
          "table inet remoteingress {}\ndelete table inet remoteingress\n" + text, to: "same.nft")
        let start = ContinuousClock.now
        try network.command(.edge, "nft", "-f", "\(network.bed.directory)/same.nft")
        let alone = (ContinuousClock.now - start) / .seconds(1)
        print(
          "firewall: 20,001 addresses, \(seconds) s from the hub's order; nft alone: \(alone) s")
      }
    }

    @Test("without privilege there is one warning, and the tunnel works")
    func unprivileged() throws {
      try FirewallNetwork.run { network in
        try network.startEdge(
          Self.lockOut, wrapper: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
          until: LogLine.firewallUnavailable)
        let edge = try #require(network.edge)
        #expect(try network.play(.one, "probe", ["to": Self.tcp]) == [Self.tcp: Self.answered])
        let offset = edge.log.utf8.count
        let hub = try #require(network.hub)
        try network.set(Self.lockOut.replacingOccurrences(of: "1/day", with: "3/day"))
        hub.send(SIGHUP)
        try wait(within: 10, for: "the second attempt") {
          try network.firewallStatus["failures"] as? Int == 2
        }
        #expect(!edge.log.dropFirst(offset).contains(LogLine.firewallUnavailable))
        let status = try network.firewallStatus
        #expect(status["state"] as? String == "unavailable")
        #expect(status["reason"] as? String == "not permitted: CAP_NET_ADMIN is missing")
        #expect(try network.tables("list", "ruleset").isEmpty)
      }
    }

    @Test("a table that another program removes is made again")
    func flushed() throws {
      try FirewallNetwork.run { network in
        try network.startEdge(#"{"blockedIps": ["10.77.1.2"]}"#, until: LogLine.firewallApplied)
        try network.command(.edge, "nft", "flush", "ruleset")
        try network.edge?.waitForLog("another program has removed", within: 30)
        try wait(within: 10, for: "the table") {
          try network.tables("list", "ruleset").contains("10.77.1.2")
        }
      }
    }
  }
}

private func residentKilobytes(_ pid: pid_t) -> Int {
  let status = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
  let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
  return Int(line.split(separator: " ").dropFirst().first ?? "") ?? 0
}
