// The admin HTTP of real hubs and edges: what they say by it, and the page in a browser.

import Foundation
import Testing

extension EndToEnd {
  @Suite("admin HTTP")
  struct Admin {
    private let token = "marker-token-of-the-admin"
    private let hubPort = FreePort.take()
    private let edgePort = FreePort.take()

    private func lines(_ port: Int) -> String {
      "admin: {listen: '127.0.0.1:\(port)', token: \(token)}"
    }

    private func get(_ bed: Testbed, _ port: Int, _ path: String) throws -> String {
      try bed.curl("-H", "Authorization: Bearer \(token)", "http://127.0.0.1:\(port)\(path)")
    }

    /// The value of one series.
    private func series(_ name: String, in metrics: String) -> Double? {
      metrics.split(separator: "\n").first { $0.hasPrefix(name + " ") }
        .flatMap { Double($0.dropFirst(name.count + 1)) }
    }

    @Test("status, metrics and readiness of both tell of the traffic, and of no secret")
    func figures() throws {
      try Testbed.run(.uring, hub: lines(hubPort), edge: lines(edgePort)) { bed in
        _ = try bed.makeFile("down", bytes: 5_000_000)
        try bed.curl("-o", "/dev/null", bed.url("down"))
        for (port, side) in [(hubPort, "out"), (edgePort, "in")] {
          #expect(try bed.curl("http://127.0.0.1:\(port)/healthz") == "ok\n")
          #expect(try bed.curl("http://127.0.0.1:\(port)/readyz") == "ready\n")
          let metrics = try get(bed, port, "/metrics")
          let labels = #"{direction="\#(side)",tier="data"}"#
          #expect(series("remoteingress_frame_bytes_total" + labels, in: metrics) ?? 0 > 5e6)
          #expect(series("remoteingress_streams_opened_total", in: metrics) == 1)
          #expect(series("remoteingress_ready", in: metrics) == 1)
          try bed.write(metrics, to: "metrics")
          try bed.command([
            "bash", "-c", "promtool check metrics < \(bed.directory)/metrics",
          ])
          let status = try get(bed, port, "/status")
          #expect(status.contains(#""edgeId":"edge-1""#))
          for text in [metrics, status, try bed.curl("http://127.0.0.1:\(port)/")] {
            #expect(!text.contains(token) && !text.contains(bed.secret))
          }
        }
        let hub = try get(bed, hubPort, "/metrics")
        #expect(series("remoteingress_target_connect_seconds_count", in: hub) == 1)
        #expect(series("remoteingress_rtt_seconds_count", in: hub) ?? 0 >= 1)
        #expect(series("remoteingress_loop_seconds_count", in: hub) ?? 0 > 10)
        for child in [bed.hub, bed.edge] {
          #expect(child?.log.contains(token) == false && child?.log.contains(bed.secret) == false)
          let arguments = try bed.command(["cat", "/proc/\(child?.pid ?? 0)/cmdline"])
          #expect(!arguments.contains(token))
        }
      }
    }

    @Test("the events of both tell of what happens, and of no secret")
    func events() throws {
      try Testbed.run(.uring, hub: lines(hubPort), edge: lines(edgePort)) { bed in
        let hearers = try [hubPort, edgePort].map { port in
          let hearer = try bed.start(
            "hearer-\(port)",
            [
              "curl", "-sSN", "-H", "Authorization: Bearer \(token)",
              "http://127.0.0.1:\(port)/events",
            ])
          try wait(within: 10, for: "the events") { hearer.output.contains("events from here on") }
          return hearer
        }
        func hear(_ who: Int, _ name: String) throws {
          try wait(within: 20, for: name) { hearers[who].output.contains("event: \(name)\n") }
        }
        try bed.curl(bed.url("small"))
        for name in ["streamOpened", "streamClosed"] { try hear(0, name) }
        // A crash, whose reason is told; then a refusal.
        kill(try #require(bed.hub).engine, SIGSEGV)
        for (who, name) in [
          (0, "crashRecovered"), (1, "tunnelDisconnected"), (1, "tunnelConnected"),
          (0, "edgeConnected"),
        ] { try hear(who, name) }
        let other = "marker-secret-of-another"
        try bed.command([
          "curl", "-sS", "--fail", "-X", "PUT", "-H", "Authorization: Bearer \(token)", "-d",
          #"[{"id":"edge-1","secret":"\#(other)"}]"#, "http://127.0.0.1:\(hubPort)/edges",
        ])
        try bed.edge?.waitForLog(LogLine.unauthorized)
        try hear(0, "edgeDisconnected")
        for hearer in hearers {
          for secret in [token, bed.secret, other] {
            #expect(!hearer.output.contains(secret), "\(hearer.output)")
          }
        }
      }
    }

    @Test("an edge without its hub is alive and not ready")
    func notReady() throws {
      try Testbed.bare(.uring) { bed in
        bed.edgeLines = lines(edgePort)
        try bed.startEdge(until: [LogLine.tunnelDown, "admin HTTP on"])
        let url = "http://127.0.0.1:\(edgePort)"
        #expect(try bed.curl("\(url)/healthz") == "ok\n")
        let code = try bed.command([
          "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "\(url)/readyz",
        ])
        #expect(code == "503")
        #expect(try get(bed, edgePort, "/status").contains(#""connected":false"#))
      }
    }

    @Test("PUT /edges changes a connected edge's ports, and a bad list changes nothing")
    func edges() throws {
      try Testbed.run(.uring, hub: lines(hubPort)) { bed in
        let more = FreePort.take()
        let put = { (secret: String, ports: String) in
          try bed.command([
            "curl", "-sS", "-X", "PUT", "-H", "Authorization: Bearer \(token)", "-d",
            #"[{"id":"edge-1","secret":"\#(secret)","listenPorts":[\#(ports)]}]"#,
            "http://127.0.0.1:\(hubPort)/edges",
          ])
        }
        let refusal = try put(bed.secret, "0")
        #expect(refusal.contains("edge edge-1: listenPorts[0]: ") && !refusal.contains(bed.secret))
        #expect(try bed.curl(bed.url("small")) == "small\n")
        #expect(try put(bed.secret, "\(bed.web.edge), \(more)") == "{\"edges\":1}\n")
        for line in LogLine.listening(more) { try bed.edge?.waitForLog(line) }
        #expect(try bed.curl(bed.url("small")) == "small\n")
        _ = try put("another-secret", "\(more)")
        try bed.edge?.waitForLog(LogLine.unauthorized)
      }
    }

    @Test("a browser sees an edge connect, traffic appear and an event arrive")
    func page() throws {
      try Testbed.bare(.uring) { bed in
        (bed.hubLines, bed.edgeLines) = (lines(hubPort), lines(edgePort))
        try bed.startNginx()
        try bed.startHub()
        try bed.hub?.waitForLog("admin HTTP on")
        let shots = ProcessInfo.processInfo.environment["ADMIN_SCREENSHOTS"] ?? ""
        let browser = try bed.start(
          "browser",
          ["python3", "\(Product.peers)/browser.py", "watch"] + [
            "hub=\(hubPort)", "edge=\(edgePort)", "token=\(token)", "identity=\(bed.edgeID)",
            "shots=\(shots)",
          ])
        let reaches = { (step: String) in
          try wait(within: 90, for: "the browser to say '\(step)'") {
            if let exit = browser.poll(), exit != .code(0) {
              throw Failure("the browser ended: \(exit)\n\(browser.logTail)")
            }
            return browser.output.contains(step)
          }
        }
        try reaches("waits for the edge")
        try bed.startEdge()
        try reaches("waits for traffic")
        // As long as the browser takes to see it: more than a busy machine needs.
        _ = try bed.makeFile("down", bytes: 1_000_000_000)
        let traffic = try bed.start(
          "traffic",
          ["curl", "-sS", "--fail", "--limit-rate", "8M", "-o", "/dev/null", bed.url("down")])
        try reaches("saw traffic")
        try bed.destroy(traffic)
        try reaches("saw it all")
        #expect(try browser.waitForExit(within: 20) == .code(0))
      }
    }
  }
}
