// What the session does to a kernel, in a network namespace.

import Foundation
import RIBase
import RIWire
import TestRandom
import Testing

@testable import RIFirewall

@Suite(.enabled(if: Namespace.isAvailable, "no network namespace"))
struct FirewallSessionTests {
  private static let config = FirewallConfig(
    blockedIPs: [IPNetwork(parsing: "192.0.2.0/24")].compactMap { $0 },
    rateLimits: [
      .init(id: "web", port: 80, transport: .tcp, rate: .init(10, per: .second), isPerSource: true)
    ],
    rules: [.init(id: "ssh", direction: .input, action: .drop, destinationPort: 22)])
  private static let hub: Set = [
    SocketAddress(IPAddress(v4: 0x0A00_0001), 8443),
    SocketAddress(IPAddress(v6High: 0x2001_0DB8_0000_0000, low: 1), 8443),
  ]

  @Test func removalLeavesNothingAndMayComeTwice() throws {
    try Namespace.run {
      #expect(try !FirewallSession().isPresent())
      try FirewallSession().remove()
      try FirewallSession().apply(RuleSet(Self.config, hub: Self.hub))
      #expect(try FirewallSession().isPresent())
      try FirewallSession().remove()
      try FirewallSession().remove()
      #expect(try Namespace.nft("list", "ruleset").isEmpty)
    }
  }

  /// libnftables takes one thread at a time: without the lock the process dies of a double free.
  @Test(arguments: 0..<8) func manyThreadsAreServed(thread: Int) throws {
    try Namespace.run {
      for _ in 0..<20 {
        try FirewallSession().apply(RuleSet(Self.config, hub: Self.hub))
        try FirewallSession().remove()
      }
      #expect(try !FirewallSession().isPresent())
    }
  }

  @Test func otherTablesStayAsTheyAre() throws {
    try Namespace.run {
      try NFTables.run(
        """
        table inet other { chain input { type filter hook input priority 0; policy accept;
          counter packets 7 bytes 700 accept comment "mine"
        }
        }
        table ip remoteingress { chain a { counter drop
        }
        }
        table inet remoteingress2 { set s { type ipv4_addr; elements = { 192.0.2.1 }; }
        }
        """)
      let before = try Namespace.nft("-a", "list", "ruleset")
      try FirewallSession().apply(RuleSet(Self.config, hub: Self.hub))
      let others = [["inet", "other"], ["ip", "remoteingress"], ["inet", "remoteingress2"]]
      let during = try others.map {
        try Namespace.nft("-a", "list", "table", $0[0], $0[1])
      }.joined()
      #expect(during == before)
      try FirewallSession().apply(RuleSet(FirewallConfig(), hub: []))
      #expect(try Namespace.nft("-a", "list", "ruleset") == before)
    }
  }

  @Test func whatAnotherProcessLeftIsReplacedWhole() throws {
    try Namespace.run {
      try NFTables.run(
        """
        table inet remoteingress { set hub4 { type ipv6_addr; }
          chain stray { type filter hook input priority 5; policy drop;
          }
        }
        """)
      try FirewallSession().apply(RuleSet(Self.config, hub: Self.hub))
      let table = try ListedTable(
        json: try Namespace.nft("-j", "list", "table", "inet", "remoteingress"))
      #expect(Set(table.chains.keys) == ["input"])
      #expect(table.sets["hub4"]?["type"]?.asArray?.count == 2)
    }
  }

  @Test func theHubsAddressesChangeAlone() throws {
    try Namespace.run {
      try FirewallSession().apply(RuleSet(Self.config, hub: Self.hub))
      let before = try Namespace.nft("-a", "list", "chain", "inet", "remoteingress", "input")
      let moved = Set([SocketAddress(IPAddress(v4: 0x0A00_0002), 443)])
      try FirewallSession().admit(RuleSet(Self.config, hub: moved))
      #expect(try Namespace.nft("-a", "list", "chain", "inet", "remoteingress", "input") == before)
      let listing = try Namespace.nft("list", "set", "inet", "remoteingress", "hub4")
      #expect(listing.contains("{ 10.0.0.2 . 443 }") && !listing.contains("10.0.0.1"))
      #expect(!(try Namespace.nft("list", "set", "inet", "remoteingress", "hub6")).contains("2001"))
      try FirewallSession().remove()
      #expect(throws: NFTablesError.self) {
        try FirewallSession().admit(RuleSet(Self.config, hub: moved))
      }
    }
  }

  /// What fails late in a transaction undoes all of it.
  @Test func afterAFailureTheFormerOneStays() throws {
    try Namespace.run {
      try FirewallSession().apply(RuleSet(Self.config, hub: Self.hub))
      let before = try Namespace.nft("-a", "list", "ruleset")
      let text = RuleSet(FirewallConfig(), hub: []).text
      #expect {
        try NFTables.run(
          text + "table inet remoteingress { chain a { type filter hook input priority 0; }\n}\n"
            + "delete chain inet remoteingress nothere\n")
      } throws: { error in
        "\(error)".contains("Error: ") && !"\(error)".contains("\n")
      }
      #expect(try Namespace.nft("-a", "list", "ruleset") == before)
    }
  }

  @Test func countsAreReadByEntry() throws {
    try Namespace.run {
      #expect(try FirewallSession().counts(of: Self.config) == nil)
      try FirewallSession().apply(RuleSet(Self.config, hub: Self.hub))
      #expect(
        try FirewallSession().counts(of: Self.config) == [
          FirewallCount(entry: .rule(id: "ssh"), packets: 0, bytes: 0),
          FirewallCount(entry: .blocked, packets: 0, bytes: 0),
          FirewallCount(entry: .rateLimit(id: "web"), packets: 0, bytes: 0),
        ])
    }
  }

  @Test func countersAreWhatTheKernelCounts() throws {
    try Namespace.run {
      try NFTables.run(
        """
        table inet remoteingress {
          counter rule_1 { packets 9007199254740993 bytes 60 }
          counter limit_1 { packets 3 bytes 180 }
          counter stranger { packets 1 bytes 60 }
        }
        table inet other { counter blocked { packets 5 bytes 5 }
        }
        table ip remoteingress { counter blocked { packets 6 bytes 6 }
        }
        """)
      let counts = try FirewallSession().counts(of: Self.config) ?? []
      #expect(counts.map(\.packets) == [9_007_199_254_740_993, 0, 3])
      #expect(counts.map(\.bytes) == [60, 0, 180])
    }
  }

  /// More than one datagram of the kernel holds.
  @Test func manyCountersAreRead() throws {
    try Namespace.run {
      let counters = (0..<3_000).map { "counter c\($0) { packets \($0) bytes 1 }\n" }.joined()
      try NFTables.run("table inet remoteingress {\n\(counters)}\n")
      let read = try CounterDump.counters(ofTable: "remoteingress")
      #expect(Set(read.map(\.name)).count == 3_000)
      #expect(read.allSatisfy { $0.name == "c\($0.packets)" })
    }
  }

  @Test func manyUpdatesLeaveOneTableAndNoDescriptor() throws {
    try Namespace.run {
      func descriptors() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
      }
      try FirewallSession().apply(RuleSet(Self.config, hub: Self.hub))
      let before = try descriptors()
      for i in 0..<200 {
        var config = Self.config
        config.rateLimits[0].port = Port(1_000 + i)
        try FirewallSession().apply(RuleSet(config, hub: Self.hub))
      }
      // Other tests run beside this one: they have a few descriptors at most.
      #expect(try descriptors() < before + 100)
      #expect(try Namespace.nft("list", "tables") == "table inet remoteingress\n")
      let table = try ListedTable(
        json: try Namespace.nft("-j", "list", "table", "inet", "remoteingress"))
      #expect(table.kinds["set"] == 5 && table.kinds["chain"] == 1 && table.kinds["counter"] == 3)
    }
  }

  /// The most that a configuration may ask for is something that nftables takes.
  @Test func theLargestConfigurationIsTaken() throws {
    try Namespace.run {
      var config = FirewallConfig()
      for i in 0..<UInt32(Limits.firewallBlockedMax) {
        // No two adjoin.
        let address =
          i % 2 == 0
          ? IPAddress(v4: 0x1400_0000 + 3 * i)
          : IPAddress(v6High: 0x2001_0DB8_0000_0000, low: UInt64(3 * i))
        if let network = IPNetwork(address, prefixLength: address.family.bitCount) {
          config.blockedIPs.append(network)
        }
      }
      for i in 0..<Limits.firewallRateLimitsMax {
        config.rateLimits.append(
          .init(id: "\(i)", port: Port(i + 1), rate: .init(1, per: .day), isPerSource: true))
      }
      for i in 0..<Limits.firewallRulesMax {
        config.rules.append(.init(id: "\(i)", direction: .input, action: .reject))
      }
      try FirewallSession().apply(RuleSet(config, hub: Self.hub))
      #expect(try FirewallSession().counts(of: config)?.count == 1_201)
    }
  }
}

@Suite struct CounterDumpTests {
  @Test(arguments: propertySeeds)
  func noAnswerTraps(seed: UInt64) {
    var random = SplitMix64(seed)
    let request = CounterDump.request(table: "remoteingress")
    #expect(request.count % 4 == 0)
    for _ in 0..<20_000 {
      var answer = random.mutate(request + request)
      // A message of counters, often enough.
      if answer.count > 6 { answer.replaceSubrange(4..<6, with: [18, 10]) }
      var dump = CounterDump()
      try? dump.receive(answer)
      try? dump.receive(random.bytes(random.below(80)))
    }
  }

  @Test func theKernelsRefusalIsAnError() {
    var answer: [UInt8] = [36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    answer += withUnsafeBytes(of: Int32(-1)) { Array($0) } + [UInt8](repeating: 0, count: 16)
    var dump = CounterDump()
    #expect {
      try dump.receive(answer)
    } throws: { "\($0)" == "the kernel lists no counters: Operation not permitted" }
    #expect(dump.isDone)
  }
}

@Suite struct NFTablesErrorTests {
  @Test func errorsAreOneShortLine() {
    let message = """
      Error: syntax error, unexpected '}'
      table inet x { chain a { } }
                         ^
      Error: Could not process rule: No such file or directory
      delete chain inet x y
                        ^^^

      """
    #expect(
      NFTablesError(message: message).description
        == "Error: syntax error, unexpected '}'; "
        + "Error: Could not process rule: No such file or directory")
    #expect(NFTablesError(message: "").description == "nftables gives no reason")
    #expect(NFTablesError(message: "odd\u{7}").description == "odd ")
    let long = "netlink: Error: " + String(repeating: "x", count: 10_000)
    #expect(NFTablesError(message: long).description.count == 200)
  }
}
