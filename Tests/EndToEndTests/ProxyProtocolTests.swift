// Targets that read the PROXY protocol: dnsdist for UDP and TCP, haproxy and nginx for TCP.

import Foundation
import Testing

extension EndToEnd {
  @Suite("PROXY protocol")
  struct ProxyProtocol {
    // MARK: dnsdist

    /// Answers everybody in its ACL, which is about the clients and not about the hub, and logs who
    /// asked.
    private func startDnsdist(_ bed: Testbed, port: Int, clients: [String]) throws {
      // A TCP connection's own address, the hub's, has to be in it too.
      let list = (clients + ["127.0.0.1/32"]).map { "'\($0)'" }.joined(separator: ", ")
      try bed.write(
        """
        setLocal('127.0.0.1:\(port)')
        setProxyProtocolACL({'127.0.0.1/32'})
        setProxyProtocolApplyACLToProxiedClients(true)
        setACL({\(list)})
        addAction(AllRule(), LogAction('\(bed.directory)/queries.log', false, true, false, false))
        addAction(QTypeRule(DNSQType.A), SpoofAction('192.0.2.7'))
        addAction(QTypeRule(DNSQType.AAAA), SpoofAction('2001:db8::7'))
        """, to: "dnsdist.conf")
      _ = try bed.start(
        "dnsdist",
        ["dnsdist", "--supervised", "--disable-syslog", "-C", "\(bed.directory)/dnsdist.conf"])
      try wait(within: 10, for: "dnsdist to listen on \(port)") { FreePort.isTaken(port) }
    }

    private func dig(_ bed: Testbed, _ port: Int, from source: String, _ rest: String...) throws
      -> String
    {
      let server = source.contains(":") ? "::1" : "127.0.0.1"
      return try bed.command(
        ["dig", "+short", "+tries=2", "+time=10", "@\(server)", "-p", "\(port)", "-b", source]
          + rest
      ).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @Test(
      "dnsdist answers dig over IPv4 and IPv6, by UDP and TCP, and knows the client",
      arguments: Ring.allCases)
    func dnsdist(ring: Ring) throws {
      let udp = ExtraRoute(.udp, "udpProxyHeader: every")
      let tcp = ExtraRoute(.tcp, edge: udp.edge, target: udp.target, "proxyProtocol: v2")
      try Testbed.run(ring, with: [udp, tcp]) { bed in
        try startDnsdist(bed, port: udp.target, clients: ["127.0.0.77/32", "::1/128"])
        for source in ["127.0.0.77", "::1"] {
          for transport in ["+notcp", "+tcp"] {
            let name = "\(transport.dropFirst()).example"
            #expect(try dig(bed, udp.edge, from: source, transport, name, "A") == "192.0.2.7")
            #expect(try dig(bed, udp.edge, from: source, transport, name, "AAAA") == "2001:db8::7")
          }
        }
        // The log is written behind the answers; on a busy machine dig may ask twice.
        let log = "\(bed.directory)/queries.log"
        func lines() -> [String] {
          String(decoding: FileManager.default.contents(atPath: log) ?? Data(), as: UTF8.self)
            .split(separator: "\n").map(String.init)
        }
        try wait(within: 10, for: "eight queries in dnsdist's log") { lines().count >= 8 }
        for source in ["127.0.0.77:", "[::1]:"] {
          for name in ["notcp.example", "tcp.example"] {
            #expect(
              lines().count { $0.contains("from \(source)") && $0.contains("for \(name)") } >= 2,
              "\(lines())")
          }
        }
        // Who is not in its ACL gets no answer, though the hub that asks for both is the same.
        #expect(throws: Failure.self) {
          try bed.command([
            "dig", "+tries=1", "+time=1", "@127.0.0.1", "-p", "\(udp.edge)", "-b", "127.0.0.78",
            "x.example",
          ])
        }
        #expect(try dig(bed, udp.edge, from: "127.0.0.77", "y.example", "A") == "192.0.2.7")
      }
    }

    // MARK: haproxy and nginx

    private static let versions = ["v1", "v2", "none"]

    /// Two targets for each version; both say in the body whom they take for the client.
    private func startTargets(_ bed: Testbed, haproxy: [ExtraRoute], nginx: [ExtraRoute]) throws {
      var frontends = ""
      var servers = ""
      for (i, version) in Self.versions.enumerated() {
        let accepts = version == "none" ? "" : "accept-proxy"
        frontends += """
          frontend \(version)
            bind 127.0.0.1:\(haproxy[i].target) \(accepts)
            http-request return status 200 content-type text/plain lf-string "%ci %cp"

          """
        let (reads, address) =
          version == "none"
          ? ("", "$remote_addr $remote_port")
          : ("proxy_protocol", "$proxy_protocol_addr $proxy_protocol_port")
        servers += """
          server {
            listen 127.0.0.1:\(nginx[i].target) \(reads);
            location / { default_type text/plain; return 200 "\(address)"; }
          }

          """
      }
      try bed.write(
        """
        defaults
          mode http
          timeout client 30s
          timeout server 30s
          timeout connect 5s
        \(frontends)
        """, to: "haproxy.cfg")
      try bed.write(
        """
        daemon off;
        master_process off;
        pid nginx-proxy.pid;
        error_log stderr;
        events {}
        http {
          access_log off;
        \(servers)
        }
        """, to: "nginx-proxy.conf")
      _ = try bed.start("haproxy", ["haproxy", "-db", "-f", "\(bed.directory)/haproxy.cfg"])
      _ = try bed.start(
        "nginx-proxy",
        ["nginx", "-p", bed.directory, "-c", "nginx-proxy.conf", "-e", "stderr"])
      for route in haproxy + nginx {
        try wait(within: 10, for: "the target on \(route.target)") {
          FreePort.isTaken(route.target)
        }
      }
    }

    @Test(
      "haproxy and nginx take PROXY v1 and v2, and do without where there is none",
      arguments: Ring.allCases)
    func versions(ring: Ring) throws {
      let (haproxy, nginx) = (
        Self.versions.map { ExtraRoute(.tcp, "proxyProtocol: \($0)") },
        Self.versions.map { ExtraRoute(.tcp, "proxyProtocol: \($0)") }
      )
      try Testbed.run(ring, with: haproxy + nginx) { bed in
        try startTargets(bed, haproxy: haproxy, nginx: nginx)
        for (host, source) in [("127.0.0.1", "127.0.0.77"), ("[::1]", "::1")] {
          for (i, version) in Self.versions.enumerated() {
            for route in [haproxy[i], nginx[i]] {
              let told = try bed.command([
                "curl", "-gsS", "--fail", "--max-time", "20", "--interface", source,
                "http://\(host):\(route.edge)/", "-w", "\n%{local_ip} %{local_port}",
              ]).split(separator: "\n")
              try #require(told.count == 2, "\(told)")
              if version == "none" {
                // The hub itself.
                #expect(told[0].hasPrefix("127.0.0.1 ") && told[0] != told[1])
              } else {
                #expect(told[0] == told[1], "\(version)")
              }
            }
          }
        }
      }
    }
  }
}
