// How an edge checks its hub, and that secrets stay secret.

import Foundation
import Testing

extension EndToEnd {
  @Suite("Trust")
  struct Trust {
    @Test("the right pin opens the tunnel, another one does not")
    func pin() throws {
      try Testbed.run(.epoll) { bed in
        let pin = try bed.command([
          "bash", "-o", "pipefail", "-c",
          """
          openssl x509 -in \(bed.directory)/hub/hub.pem -pubkey -noout \
            | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64
          """,
        ]).trimmingCharacters(in: .whitespacesAndNewlines)
        func spare(_ pin: String) -> String {
          bed.edgeConfiguration(id: bed.spareID, trust: "hubPin: sha256/\(pin)")
        }
        let good = try bed.startEdge("good", configuration: spare(pin), until: [LogLine.tunnelUp])
        try bed.stop(good)
        let other = Data(repeating: 7, count: 32).base64EncodedString()
        let bad = try bed.startEdge(
          "bad", configuration: spare(other), until: [LogLine.pinMismatch])
        #expect(!bad.log.contains(LogLine.tunnelUp))
        try bed.stop(bad)
      }
    }

    @Test("the first hub's key is remembered and another is refused")
    func firstUse() throws {
      try Testbed.bare(.epoll) { bed in
        let trusting = bed.edgeConfiguration(id: bed.edgeID, trust: "")
        // As where an edge starts for the first time: it has no state directory yet.
        let state = "\(bed.directory)/edge"
        try FileManager.default.removeItem(atPath: state)
        try bed.startHub()
        try bed.startEdge(configuration: trusting)
        let mode = try FileManager.default.attributesOfItem(atPath: state)[.posixPermissions]
        #expect(mode as? Int == 0o700)
        try bed.stop(try #require(bed.edge))
        try bed.stop(try #require(bed.hub))
        try FileManager.default.removeItem(atPath: "\(bed.directory)/hub")
        try FileManager.default.createDirectory(
          atPath: "\(bed.directory)/hub", withIntermediateDirectories: true)
        try bed.startHub()
        let edge = try bed.startEdge(configuration: trusting, until: [LogLine.pinMismatch])
        #expect(edge.log.components(separatedBy: LogLine.tunnelUp).count == 2)
      }
    }

    @Test("the hub's key survives a restart and is its owner's alone")
    func keyFile() throws {
      try Testbed.run(.epoll) { bed in
        let path = "\(bed.directory)/hub/hub.pem"
        let before = FileManager.default.contents(atPath: path)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
        #expect(mode as? Int == 0o600)
        try bed.stop(try #require(bed.hub))
        try bed.startHub()
        #expect(before != nil && FileManager.default.contents(atPath: path) == before)
      }
    }

    @Test("no secret shows in a log or a process list")
    func secrets() throws {
      try Testbed.run(.epoll) { bed in
        let token = try bed.command([
          Product.binary, "token", "encode", "--hub-host", "127.0.0.1", "--hub-port",
          "\(bed.tunnelPort)", "--edge-id", bed.spareID, "--secret-file", "\(bed.directory)/secret",
        ]).trimmingCharacters(in: .whitespacesAndNewlines)
        let edge = try bed.startEdge(
          "token-edge",
          arguments: ["--token", token, "--insecure", "--state-dir", "\(bed.directory)/edge"],
          until: [LogLine.tunnelUp])
        let arguments = try String(contentsOfFile: "/proc/\(edge.pid)/cmdline", encoding: .utf8)
        #expect(arguments.contains("edge"))
        #expect(!arguments.contains(token))
        for child in [bed.hub, bed.edge, edge].compactMap({ $0 }) {
          let said = child.log + child.output
          #expect(!said.contains(bed.secret) && !said.contains(token), "\(child.name)")
        }
        try bed.stop(edge)
      }
    }
  }
}
