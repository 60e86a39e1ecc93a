// What a stranger finds: TLS versions, files, time. docs/THREAT_MODEL.md names these tests.

import Foundation
import Testing

extension EndToEnd {
  @Suite("Abuse")
  struct Abuse {
    @Test("the tunnel port speaks TLS 1.3 and nothing older")
    func onlyTLS13() throws {
      try Testbed.run(.epoll) { bed in
        func client(_ version: String) throws -> String {
          let connect =
            "openssl s_client -connect 127.0.0.1:\(bed.tunnelPort) \(version) </dev/null"
          return try bed.command(["bash", "-c", "\(connect) 2>&1; true"], within: 20)
        }
        #expect(try client("-tls1_3").contains("New, TLSv1.3, Cipher is TLS_"))
        #expect(try client("").contains("New, TLSv1.3, Cipher is TLS_"))
        for old in ["-tls1_2", "-tls1_1", "-tls1"] {
          let said = try client("\(old) -cipher ALL:@SECLEVEL=0")
          #expect(!said.contains("Cipher is TLS_") && !said.contains("Cipher is ECDHE"), "\(said)")
          #expect(said.contains("alert"), "\(old): \(said)")
        }
      }
    }

    @Test("what hub and edge keep is their owner's alone, whatever the umask is")
    func filesAreTheOwners() throws {
      try Testbed.bare(.epoll) { bed in
        bed.wrapper = ["sh", "-c", "umask 0; exec \"$@\"", "sh"]
        try bed.startNginx()
        try bed.startHub()
        try bed.startEdge(configuration: bed.edgeConfiguration(id: bed.edgeID, trust: ""))
        let open = try bed.command([
          "find", "\(bed.directory)/hub", "\(bed.directory)/edge", "-type", "f", "-perm", "/077",
          "-printf", "%m %p\\n",
        ])
        #expect(open == "")
        #expect(
          try bed.command(["find", "\(bed.directory)/hub", "\(bed.directory)/edge", "-type", "f"])
            .contains("known-hubs"))
      }
    }

    /// For a person: two figures that should be alike (ci/faults shows them).
    @Test("a wrong secret and an unknown id take the same time", .enabled(if: Faults.isLong))
    func timing() throws {
      try Testbed.run(.epoll) { bed in
        let scenario: [String: Any] = [
          "hub": bed.tunnelPort, "edge_id": bed.crookedID, "secret": bed.secret,
        ]
        print("timing: \(try bed.play("faults", "timing", scenario, within: 120))")
      }
    }
  }
}
