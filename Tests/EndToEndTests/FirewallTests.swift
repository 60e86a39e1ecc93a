// What the firewall of an edge does to packets, in network namespaces.

import Foundation
import Testing

extension EndToEnd {
  @Suite("Firewall", .enabled(if: canMakeNamespaces, "no network namespaces"))
  struct Firewall {
    private static let silent = 0.0
    private static let answered = 1.0
    private static let refused = 2.0

    /// The edge as the clients see it: TCP and UDP, IPv4 and IPv6.
    private static func ends(_ client: Int) -> [String] {
      ["10.77.\(client).1", "fd77:\(client)::1"].flatMap {
        ["tcp:\($0):\(FirewallNetwork.echoPort)", "udp:\($0):\(FirewallNetwork.udpPort)"]
      }
    }

    /// What both clients get from all four ends.
    private func expect(
      _ network: FirewallNetwork, one: Double, two: Double,
      _ location: SourceLocation = #_sourceLocation
    ) throws {
      for (place, client, result) in [
        (FirewallNetwork.Place.one, 1, one), (.two, 2, two),
      ] {
        let ends = Self.ends(client)
        let figures = try network.play(place, "probe", ["to": ends.joined(separator: ",")])
        #expect(
          figures == Dictionary(uniqueKeysWithValues: ends.map { ($0, result) }),
          sourceLocation: location)
      }
    }

    @Test("blocked addresses and networks cannot connect, all others can")
    func blocked() throws {
      try FirewallNetwork.run { network in
        let addresses = #"{"blockedIps": ["10.77.1.2", "fd77:1::2", "192.0.2.0/24"]}"#
        try network.startEdge(addresses, until: LogLine.firewallApplied)
        try expect(network, one: Self.silent, two: Self.answered)
        #expect(try network.packets("blockedIps") >= 4)
        // The other one, as networks: 10.77.0.0 to 10.77.2.255 but for client one.
        let networks = #"{"blockedIps": ["10.77.0.0/24", "10.77.2.0/23", "fd77:2::/32"]}"#
        let seconds = try network.update(networks, until: LogLine.firewallApplied)
        print("firewall: blocks exchanged \(Int(seconds * 1000)) ms after the hub was told")
        let figures = try network.play(
          .two, "probe", ["to": Self.ends(2).joined(separator: ",")])
        #expect(figures.values.allSatisfy { $0 == Self.silent }, "\(figures)")
        let open = try network.play(
          .one, "probe", ["to": "tcp:10.77.1.1:\(FirewallNetwork.echoPort)"])
        #expect(open.values.allSatisfy { $0 == Self.answered }, "\(open)")
        try network.update("{}", until: LogLine.firewallOff)
        try expect(network, one: Self.answered, two: Self.answered)
        #expect(try network.tables("list", "ruleset").isEmpty)
      }
    }

    @Test("a limit for each source lets through what it says, and touches nothing else")
    func limitPerSource() throws {
      try FirewallNetwork.run { network in
        let limits = [
          ("tcp", FirewallNetwork.echoPort), ("udp", FirewallNetwork.udpPort),
        ].map {
          """
          {"id": "\($0)", "port": \($1), "protocol": "\($0)", "rate": "10/second", "burst": 5, \
          "perSourceIP": true}
          """
        }
        try network.startEdge(
          #"{"rateLimits": [\#(limits.joined(separator: ","))]}"#, until: LogLine.firewallApplied)
        let other = try network.bed.start(
          "other-client",
          network.inside(
            .two,
            [
              "python3", "\(Product.peers)/firewall.py", "flood", "per_second=2",
              "to=" + Self.ends(2).joined(separator: ","),
            ]))
        let figures = try network.play(
          .one, "flood",
          [
            "to": Self.ends(1).joined(separator: ","), "rate": 10, "burst": 5,
            "running": "tcp:10.77.1.1:\(FirewallNetwork.echoPort)",
          ])
        // A burst of 5 and 10 a second for 3 s: 35, where the attempts come evenly. The connection
        // that runs is one of IPv4's.
        for end in Self.ends(1) {
          let (count, due) = (try #require(figures[end]), try #require(figures["\(end) due"]))
          #expect(due * 0.8...due * 1.2 ~= count, "\(end): \(count) of \(due)")
        }
        #expect(try #require(figures["exchanges"]) >= 3)
        #expect(try other.waitForExit(within: 20) == .code(0))
        let line = other.output.split(separator: "\n").last ?? ""
        let others = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Double]
        #expect(others?.values.allSatisfy { $0 == 6 } == true, "\(line)")
        #expect(try network.packets("tcp") >= 400 && network.packets("udp") >= 400)
      }
    }

    @Test("a shared limit counts all sources together, and each protocol for itself")
    func limitShared() throws {
      try FirewallNetwork.run { network in
        let port = FirewallNetwork.udpPort
        try network.startServer(.edge, "tcp=\(port)")
        try network.startEdge(
          #"{"rateLimits": [{"id": "both", "port": \#(port), "rate": "1/hour", "burst": 6}]}"#,
          until: LogLine.firewallApplied)
        for kind in ["udp", "tcp"] {
          var passed = 0.0
          for (place, client) in [(FirewallNetwork.Place.one, 1), (.two, 2)] {
            let ends = "\(kind):10.77.\(client).1:\(port),\(kind):fd77:\(client)::1:\(port)"
            let figures = try network.play(
              place, "flood",
              ["to": ends, "per_second": 10, "milliseconds": 200, "patience": 2_000])
            passed += figures.values.reduce(0, +)
          }
          #expect(passed == 6, "\(kind)")
        }
      }
    }

    @Test("a download through a rate-limited port is not slowed down")
    func download() throws {
      try FirewallNetwork.run { network in
        let port = FirewallNetwork.sourcePort
        let bytes = 128 << 20
        let arguments: [String: Any] = ["host": "10.77.1.1", "port": port, "bytes": bytes]
        try network.startEdge("{}", until: LogLine.tunnelUp)
        let free = try network.play(.one, "download", arguments)
        try network.update(
          """
          {"rateLimits": [{"id": "slow", "port": \(port), "rate": "1/hour", "burst": 1, \
          "perSourceIP": true}]}
          """, until: LogLine.firewallApplied)
        let limited = try network.play(.one, "download", arguments)
        print("firewall: download \(free) without, \(limited) with a limit")
        #expect(try network.packets("slow") == 0)
        // And it was the one that the limit allows.
        let more = try network.play(.one, "probe", ["to": "tcp:10.77.1.1:\(port)"])
        #expect(more.values.allSatisfy { $0 == Self.silent })
        #expect(try network.packets("slow") > 0)
      }
    }

    @Test("rules come first: exceptions beat blocks and limits; reject answers, drop does not")
    func rules() throws {
      try FirewallNetwork.run { network in
        let (tcp, udp) = (FirewallNetwork.echoPort, FirewallNetwork.udpPort)
        let exceptions = """
          {"blockedIps": ["10.77.0.0/16", "fd77::/16"],
           "rateLimits": [{"id": "none", "port": \(tcp), "rate": "1/day", "burst": 1}],
           "rules": [
            {"id": "v4", "direction": "input", "action": "accept", "sourceIP": "10.77.1.0/24"},
            {"id": "v6", "direction": "input", "action": "accept", "sourceIP": "fd77:1::2"},
            {"id": "late", "direction": "input", "action": "drop"}]}
          """
        try network.startEdge(exceptions, until: LogLine.firewallApplied)
        for _ in 0..<3 { try expect(network, one: Self.answered, two: Self.silent) }
        #expect(try network.packets("v4") > 0 && network.packets("v6") > 0)
        // Whatever client one's packets are, they are not the later rules'.
        #expect(try network.packets("blockedIps") == 0 && network.packets("none") == 0)
        try network.update(
          """
          {"rules": [
            {"id": "a", "direction": "input", "action": "reject", "sourceIP": "10.77.1.2"},
            {"id": "b", "direction": "input", "action": "reject", "sourceIP": "fd77:1::/64"},
            {"id": "c", "direction": "input", "action": "drop", "sourceIP": "10.77.2.0/24",
             "destPort": \(tcp), "protocol": "tcp"},
            {"id": "d", "direction": "input", "action": "drop", "destPort": \(udp)}]}
          """, until: LogLine.firewallApplied)
        let one = try network.play(.one, "probe", ["to": Self.ends(1).joined(separator: ",")])
        #expect(one.values.allSatisfy { $0 == Self.refused }, "\(one)")
        let two = try network.play(.two, "probe", ["to": Self.ends(2).joined(separator: ",")])
        #expect(
          two == [
            "tcp:10.77.2.1:\(tcp)": Self.silent, "udp:10.77.2.1:\(udp)": Self.silent,
            "tcp:fd77:2::1:\(tcp)": Self.answered, "udp:fd77:2::1:\(udp)": Self.silent,
          ])
      }
    }

    @Test("output and forward rules act where they say")
    func directions() throws {
      try FirewallNetwork.run { network in
        let (open, closed) = (7001, 7002)
        for place in [FirewallNetwork.Place.one, .two] {
          for port in [open, closed] {
            try network.startServer(place, "tcp=\(port)", "udp=\(port)")
          }
        }
        func probe(_ from: FirewallNetwork.Place, _ port: Int) throws -> [Double] {
          let hosts = ["10.77.2.2", "fd77:2::2"]
          let ends = hosts.flatMap { ["tcp:\($0):\(port)", "udp:\($0):\(port)"] }
          let figures = try network.play(from, "probe", ["to": ends.joined(separator: ",")])
          return ends.compactMap { figures[$0] }
        }
        func rule(_ direction: String, _ action: String) -> String {
          """
          {"rules": [{"id": "r", "direction": "\(direction)", "action": "\(action)",
                      "destPort": \(closed)}]}
          """
        }
        let (yes, no, rejected) = (
          [Double](repeating: Self.answered, count: 4), [Double](repeating: Self.silent, count: 4),
          [Double](repeating: Self.refused, count: 4)
        )
        try network.startEdge(rule("input", "drop"), until: LogLine.firewallApplied)
        for from in [FirewallNetwork.Place.edge, .one] {
          let results = try probe(from, closed)
          #expect(results == yes, "input is not \(from)")
        }
        for (action, result) in [("drop", no), ("reject", rejected)] {
          try network.update(rule("output", action), until: LogLine.firewallApplied)
          #expect(try probe(.edge, closed) == result, "output \(action)")
          #expect(try probe(.edge, open) == yes)
          #expect(try probe(.one, closed) == yes, "forwarded is not output")
          try network.update(rule("forward", action), until: LogLine.firewallApplied)
          #expect(try probe(.one, closed) == result, "forward \(action)")
          #expect(try probe(.one, open) == yes)
          #expect(try probe(.edge, closed) == yes, "output is not forwarded")
        }
        try expect(network, one: Self.answered, two: Self.answered)
      }
    }

    @Test("what the edge's machine itself begins is answered, whatever is dropped at its door")
    func answers() throws {
      try FirewallNetwork.run { network in
        try network.startServer(.one, "tcp=7001", "udp=7001")
        try network.startEdge(
          """
          {"blockedIps": ["10.0.0.0/8", "fc00::/7"],
           "rules": [{"id": "all", "direction": "input", "action": "drop"}]}
          """, until: LogLine.firewallApplied)
        let ends = ["10.77.1.2", "fd77:1::2"].flatMap { ["tcp:\($0):7001", "udp:\($0):7001"] }
        let figures = try network.play(.edge, "probe", ["to": ends.joined(separator: ",")])
        #expect(figures.values.allSatisfy { $0 == Self.answered }, "\(figures)")
        try expect(network, one: Self.silent, two: Self.silent)
      }
    }
  }
}
