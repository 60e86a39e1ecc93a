// firewallConfig: what is read, what is refused and how that is said.

import RIBase
import Testing

@testable import RIWire

@Suite struct FirewallConfigTests {
  private func read(
    _ text: String, _ unknownKeys: FirewallConfig.UnknownKeys = .refused
  ) throws -> FirewallConfig {
    try FirewallConfig(checking: try JSONValue(parsing: text.utf8), unknownKeys: unknownKeys)
  }

  @Test func readsEveryField() throws {
    let config = try read(
      """
      {"blockedIps":["192.0.2.7","198.51.100.99/24","2001:db8::1/32","::ffff:203.0.113.5/120"],
       "rateLimits":[{"id":"web","port":443,"protocol":"tcp","rate":"50/second","burst":20,
                      "perSourceIP":true},
                     {"id":"dns","port":53.0,"rate":"1000000/day"}],
       "rules":[{"id":"a","direction":"input","action":"accept","sourceIP":"10.0.0.0/8",
                 "destPort":22,"protocol":"tcp","comment":"büro; } drop"},
                {"id":"b","direction":"output","action":"reject"},
                {"id":"web","direction":"forward","action":"drop","sourceIP":"::/0"}]}
      """)
    #expect(
      config.blockedIPs.map(\.description) == [
        "192.0.2.7", "198.51.100.0/24", "2001:db8::/32", "203.0.113.0/24",
      ])
    #expect(
      config.rateLimits == [
        .init(
          id: "web", port: 443, transport: .tcp, rate: .init(50, per: .second), burst: 20,
          isPerSource: true),
        .init(id: "dns", port: 53, rate: .init(1_000_000, per: .day), burst: 5),
      ])
    #expect(
      config.rules == [
        .init(
          id: "a", direction: .input, action: .accept, source: IPNetwork(parsing: "10.0.0.0/8"),
          destinationPort: 22, transport: .tcp, comment: "büro; } drop"),
        .init(id: "b", direction: .output, action: .reject),
        .init(id: "web", direction: .forward, action: .drop, source: IPNetwork(parsing: "::/0")),
      ])
  }

  @Test func absentAndNullAreEmpty() throws {
    #expect(try read("{}").isEmpty)
    #expect(try read(#"{"blockedIps":null,"rateLimits":null,"rules":[]}"#).isEmpty)
    let rule = #"{"rules":[{"id":"a","direction":"input","action":"drop","sourceIP":null}]}"#
    #expect(try read(rule).rules == [.init(id: "a", direction: .input, action: .drop)])
  }

  @Test func unknownKeysAreIgnoredOnTheWire() throws {
    let text = #"{"x":1,"rules":[{"id":"a","direction":"input","action":"drop","y":{}}]}"#
    #expect(try read(text, .ignored).rules.count == 1)
    #expect(throws: FirewallFault.self) { try read(text, .refused) }
  }

  static let refused: [(String, String)] = [
    ("[]", "firewallConfig: must be a mapping of keys to values"),
    (
      #"{"blockedIPs":[]}"#,
      "firewallConfig.blockedIPs: unknown key; the nearest known one is blockedIps"
    ),
    (#"{"blockedIps":{}}"#, "firewallConfig.blockedIps: must be a list"),
    (#"{"rules":[7]}"#, "firewallConfig.rules[0]: must be a mapping of keys to values"),
    (
      #"{"blockedIps":["192.0.2.1","192.0.2.0/33"]}"#,
      "firewallConfig.blockedIps[1]: '192.0.2.0/33' is wrong; "
        + "it must be an IP address or a CIDR such as 192.0.2.0/24"
    ),
    (
      #"{"blockedIps":[["192.0.2.1"]]}"#,
      "firewallConfig.blockedIps[0]: is a list; "
        + "it must be an IP address or a CIDR such as 192.0.2.0/24"
    ),
    (
      #"{"rateLimits":[{"port":80,"rate":"5/second"}]}"#,
      "firewallConfig.rateLimits[0].id: is missing"
    ),
    (
      #"{"rateLimits":[{"id":"a","port":"80","rate":"5/second"}]}"#,
      "firewallConfig.rateLimits[0].port: '80' is wrong; "
        + "it must be a whole number from 1 to 65535"
    ),
    (
      #"{"rateLimits":[{"id":"a","port":80,"rate":"5/week"}]}"#,
      "firewallConfig.rateLimits[0].rate: '5/week' is wrong; "
        + "it must be N/second, N/minute, N/hour or N/day with N from 1 to 1000000"
    ),
    (
      #"{"rateLimits":[{"id":"a","port":80,"rate":"5/second","burst":100001}]}"#,
      "firewallConfig.rateLimits[0].burst: '100001' is wrong; "
        + "it must be a whole number from 1 to 100000"
    ),
    (
      #"{"rateLimits":[{"id":"a","port":80,"rate":"5/second","perSourceIP":"yes"}]}"#,
      "firewallConfig.rateLimits[0].perSourceIP: 'yes' is wrong; it must be true or false"
    ),
    (
      #"{"rules":[{"id":"a","direction":"input","action":"drop"},{"id":"b","direction":"up"}]}"#,
      "firewallConfig.rules[1].direction: 'up' is wrong; "
        + "it must be one of input, output, forward"
    ),
    (
      #"{"rules":[{"id":"a","direction":"input"}]}"#,
      "firewallConfig.rules[0].action: is missing"
    ),
    (
      #"{"rules":[{"id":"a","direction":"input","action":"drop","protocol":"sctp"}]}"#,
      "firewallConfig.rules[0].protocol: 'sctp' is wrong; it must be one of tcp, udp"
    ),
    (
      #"{"rules":[{"id":"a","direction":"input","action":"drop","comment":"x\ny"}]}"#,
      #"firewallConfig.rules[0].comment: 'x\u{a}y' is wrong; "#
        + "it must be 1 to 128 printable characters"
    ),
    (
      #"{"rules":[{"id":"a","direction":"input","action":"drop"},"#
        + #"{"id":"a","direction":"output","action":"drop"}]}"#,
      "firewallConfig.rules[1].id: 'a' is used twice"
    ),
  ]

  @Test(arguments: refused)
  func faultsNameTheEntryAndTheReason(text: String, error: String) throws {
    #expect { try read(text) } throws: { "\($0)" == error }
  }

  @Test func ratesAreNumbersByUnits() {
    for text in ["1/second", "1000000/minute", "007/hour", "5/day"] {
      #expect(FirewallConfig.Rate(parsing: text) != nil, "\(text)")
    }
    for text in [
      "", "/", "5", "/second", "0/second", "-1/second", "+5/second", "1000001/second", "5/Second",
      "5/second/second", "5 /second", "５/second", "5/second\n", "5/second; drop",
      "99999999999999999999/day",
    ] {
      #expect(FirewallConfig.Rate(parsing: text) == nil, "\(text)")
    }
  }

  @Test func listsAreBounded() {
    let rule: JSONValue = .object(["id": .string("a")])
    let rules = [JSONValue](repeating: rule, count: Limits.firewallRulesMax + 1)
    #expect {
      try FirewallConfig(checking: .object(["rules": .array(rules)]), unknownKeys: .ignored)
    } throws: {
      "\($0)" == "firewallConfig.rules: has 1001 entries, at most 1000 are allowed"
    }
  }

  @Test func labelsAreOfPrintableCharacters() {
    func check(_ label: String) -> Bool {
      let rule: JSONValue = .object([
        "id": .string(label), "direction": .string("input"), "action": .string("drop"),
      ])
      return
        (try? FirewallConfig(checking: .object(["rules": .array([rule])]), unknownKeys: .refused))
        != nil
    }
    for label in ["a", " ", "日本語", "\"};", "👍", String(repeating: "x", count: 128)] {
      #expect(check(label), "\(label)")
    }
    for label in [
      "", "\n", "a\u{0}", "\u{7F}", "\u{202E}abc", "\u{2028}", String(repeating: "x", count: 129),
    ] {
      #expect(!check(label), "\(label.debugDescription)")
    }
  }
}

@Suite struct IPNetworkTests {
  @Test func readsAddressesAndPrefixes() {
    let table = [
      ("192.0.2.1", "192.0.2.1"), ("192.0.2.1/32", "192.0.2.1"),
      ("192.0.2.255/25", "192.0.2.128/25"),
      ("255.255.255.255/0", "0.0.0.0/0"), ("2001:DB8::1/128", "2001:db8::1"), ("::1/0", "::/0"),
      ("2001:db8:ffff::/33", "2001:db8:8000::/33"), ("::ffff:192.0.2.1", "192.0.2.1"),
      ("::ffff:192.0.2.1/112", "192.0.0.0/16"), ("::ffff:0:0/95", "::fffe:0:0/95"),
    ]
    for (text, network) in table {
      #expect(IPNetwork(parsing: text)?.description == network)
    }
  }

  @Test func refusesAllElse() {
    for text in [
      "", "/", "/24", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/+8", "192.0.2.0/8/8",
      "192.0.2.0/255.255.255.0", "192.0.2", "2001:db8::/129", "fe80::1%eth0", "[::1]", "a.example",
      "192.0.2.1-192.0.2.9", " 192.0.2.1", "192.0.2.1 ", "192.0.2.0/2 4", "192.0.2.0/٢", "@hub4",
      "192.0.2.0/0000",
    ] {
      #expect(IPNetwork(parsing: text) == nil, "\(text)")
    }
  }

  @Test func bitsAndBack() {
    for text in ["0.0.0.0", "255.255.255.255", "192.0.2.1", "::", "2001:db8::1", "ffff::ffff"] {
      guard let address = IPAddress(parsing: text) else {
        Issue.record("\(text)")
        continue
      }
      #expect(IPAddress(address.family, bits: address.bits) == address)
    }
  }
}
