// The command line as a user types it.

import Foundation
import Testing

extension EndToEnd {
  @Suite("Command line")
  struct CommandLine {
    /// Runs the product; returns its exit, standard output and standard error.
    static func run(
      _ arguments: String..., files: [String: String] = [:]
    ) throws -> (exit: ChildProcess.Exit, output: String, log: String) {
      var result = (exit: ChildProcess.Exit.code(-1), output: "", log: "")
      try Testbed.bare(.epoll) { bed in
        for (name, text) in files { try bed.write(text, to: name) }
        let child = try bed.start(
          "command",
          [Product.binary]
            + arguments.map { $0.replacingOccurrences(of: "DIR", with: bed.directory) })
        result.exit = try child.waitForExit(within: 60)
        (result.output, result.log) = (child.output, child.log)
      }
      return result
    }

    @Test("demo carries real traffic and exits 0", arguments: Ring.allCases)
    func demo(ring: Ring) throws {
      try Testbed.bare(ring) { bed in
        let output = try bed.command([Product.binary, "demo"], within: 60)
        #expect(output.contains("every byte was checked"))
      }
    }

    @Test("version prints three numbers and exits 0")
    func version() throws {
      let result = try Self.run("version")
      #expect(result.exit == .code(0))
      let numbers = result.output.trimmingCharacters(in: .newlines).split(separator: ".")
      #expect(numbers.count == 3 && numbers.allSatisfy { Int($0) != nil })
    }

    @Test("a token decodes to what was encoded, its secret masked unless asked for")
    func token() throws {
      let files = ["secret": "s3cret-words"]
      let encoded = try Self.run(
        "token", "encode", "--hub-host", "hub.example.org", "--hub-port", "9443",
        "--edge-id", "edge-7", "--secret-file", "DIR/secret", files: files)
      #expect(encoded.exit == .code(0), "\(encoded.log)")
      let token = encoded.output.trimmingCharacters(in: .whitespacesAndNewlines)
      let masked = try Self.run("token", "decode", token)
      #expect(masked.exit == .code(0), "\(masked.log)")
      for part in ["hub.example.org", "9443", "edge-7"] { #expect(masked.output.contains(part)) }
      #expect(!masked.output.contains("s3cret-words"))
      let shown = try Self.run("token", "decode", "--show-secret", token)
      #expect(shown.output.contains("s3cret-words"))
    }

    @Test("new secrets are long, printable and never the same")
    func newSecret() throws {
      let secrets = try (0..<2).map { _ in
        try Self.run("token", "new-secret").output.trimmingCharacters(in: .whitespacesAndNewlines)
      }
      #expect(secrets[0] != secrets[1])
      for secret in secrets {
        #expect(secret.utf8.count >= 32)
        #expect(secret.utf8.allSatisfy { (0x21...0x7E).contains($0) })
      }
    }

    @Test(
      "a wrong configuration or usage exits 2 and says what is wrong",
      arguments: [
        ("hub", "tunelPort: 8443", ["tunelPort", "tunnelPort"]),
        ("hub", "allowedEdges:\n  - {id: a, secret: b, listenPort: [80]}", ["listenPort"]),
        ("hub", "tunnelPort: 123456", ["tunnelPort"]),
        ("hub", "tunnelPort: [", ["hub.yaml"]),
        ("edge", "hubHost: h\nedgeId: e", ["secret"]),
        ("edge", "token: not-a-token", ["token"]),
      ])
    func badConfiguration(role: String, yaml: String, words: [String]) throws {
      let result = try Self.run(role, "--config", "DIR/\(role).yaml", files: ["\(role).yaml": yaml])
      #expect(result.exit == .code(2), "\(result.log)")
      for word in words { #expect(result.log.contains(word), "\(result.log)") }
    }

    @Test("an unknown command exits 2")
    func unknownCommand() throws {
      #expect(try Self.run("hubb").exit == .code(2))
    }
  }
}
