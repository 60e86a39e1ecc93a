// The edge finds its public address: by coturn, and by a server that is anything but helpful.

import Foundation
import Testing

extension EndToEnd {
  @Suite("STUN")
  struct STUN {
    private static let hasCoturn: Bool = {
      if FileManager.default.isExecutableFile(atPath: "/usr/bin/turnserver") { return true }
      print("SKIPPED: STUN against coturn: there is no turnserver")
      return false
    }()

    private func found(_ edge: ChildProcess) -> [String] {
      edge.log.split(separator: "\n").filter { $0.contains(LogLine.publicAddress) }
        .compactMap { $0.split(separator: " ").last.map(String.init) }
    }

    @Test(
      "coturn answers", .enabled(if: hasCoturn, "no coturn"),
      arguments: [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("localhost", "127.0.0.1")],
      Ring.allCases)
    func coturn(server: (host: String, address: String), ring: Ring) throws {
      try Testbed.bare(ring) { bed in
        let port = FreePort.take()
        let coturn = try bed.start(
          "coturn",
          [
            "turnserver", "-n", "--stun-only", "-L", "127.0.0.1", "-L", "::1", "-p", "\(port)",
            "--no-tls", "--no-dtls", "--no-cli", "--no-rfc5780", "--log-file", "stdout",
            "--simple-log", "--pidfile", "\(bed.directory)/coturn.pid",
          ])
        try wait(within: 10, for: "coturn to be up") { coturn.output.contains("Total General") }
        bed.stunIntervalSeconds = 1
        bed.stunServer = "\(server.host):\(port)"
        try bed.startHub()
        let edge = try bed.startEdge()
        try edge.waitForLog(LogLine.publicAddress + server.address)
        #expect(found(edge) == [server.address])
      }
    }

    @Test(
      "answers that are lost, late, forged or cut do no harm; a change is told once",
      arguments: [
        ("127.0.0.1", "203.0.113.5", "203.0.113.6"), ("::1", "2001:db8::5", "2001:db8::6"),
      ],
      Ring.allCases)
    func unhelpful(
      server: (host: String, first: String, second: String), ring: Ring
    ) throws {
      try Testbed.bare(ring) { bed in
        let port = FreePort.take()
        let script = ["python3", "\(Product.peers)/stun.py", "serve"]
        let arguments = [
          "host=\(server.host)", "port=\(port)", "first=\(server.first)",
          "second=\(server.second)",
        ]
        let responder = try bed.start("stun", script + arguments)
        try wait(within: 10, for: "the server to be up") { responder.output.contains("serving") }
        bed.stunIntervalSeconds = 1
        bed.stunServer =
          server.host.contains(":") ? "[\(server.host)]:\(port)" : "\(server.host):\(port)"
        try bed.startHub()
        let edge = try bed.startEdge()
        try edge.waitForLog(LogLine.publicAddress + server.second)
        // One round more tells nothing new.
        try wait(within: 10, for: "another round") {
          responder.output.contains("of transaction 6")
        }
        #expect(found(edge) == [server.first, server.second])
        #expect(!edge.log.contains("6.6.6.6"))
        #expect(responder.poll() == nil, "\(responder.logTail)")
      }
    }
  }
}
