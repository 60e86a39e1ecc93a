// ri-load against a real hub and edge: every mode runs through them without a wrong byte, the
// target knows the clients by their own addresses, and one byte that is changed or lost on the way
// is found.
//
//   ri-load client ─▶ (faulty relay ─▶) edge ═ tunnel ═▶ hub ─▶ ri-load target

import Foundation
import Testing

extension EndToEnd {
  @Suite("Load")
  struct Load {
    /// What a client or a target says at its end.
    private typealias Result = [String: Any]

    /// `ri-load`, which is built beside the tests.
    private static let program =
      URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
      .deletingLastPathComponent().appendingPathComponent("ri-load").path

    private func startTarget(_ bed: Testbed, _ name: String, port: Int) throws -> ChildProcess {
      let target = try bed.start(
        name, [Self.program, "target", "--listen", "127.0.0.1:\(port)", "--require-proxy"])
      try wait(within: 15, for: "\(name) to be ready") {
        if let exit = target.poll() { throw Failure("\(name): \(exit)\n\(target.logTail)") }
        return target.output.contains("ready")
      }
      return target
    }

    private func client(
      _ bed: Testbed, _ port: Int, _ arguments: [String]
    ) throws -> (exit: ChildProcess.Exit, result: Result) {
      let words = [Self.program, "client", "127.0.0.1:\(port)", "--seconds", "0.6"] + arguments
      let name = "client-\(UUID().uuidString)"
      let child = try bed.start(name, words)
      let exit = try child.waitForExit(within: 30)
      return (exit, try result(of: child))
    }

    private func result(of child: ChildProcess) throws -> Result {
      let text = child.output.drop { $0 != "{" }
      let json = try? JSONSerialization.jsonObject(with: Data(text.utf8))
      return try #require(json as? Result, "\(child.output)\(child.logTail)")
    }

    @Test(
      "every mode runs through hub and edge, and the target knows the clients",
      arguments: Ring.allCases)
    func modes(ring: Ring) throws {
      let udp = ExtraRoute(.udp, "udpProxyHeader: first")
      try Testbed.run(ring, with: [udp]) { bed in
        let target = try startTarget(bed, "target", port: bed.peer.target)
        let datagrams = try startTarget(bed, "datagrams", port: udp.target)
        for (port, arguments) in [
          (bed.peer.edge, ["--mode", "echo", "--rate", "2000", "--check-address"]),
          (bed.peer.edge, ["--mode", "churn", "--rate", "200", "--check-address"]),
          (bed.peer.edge, ["--mode", "download", "--bytes-per-second", "5000000"]),
          (bed.peer.edge, ["--mode", "download", "--bytes-per-second", "20000"]),
          (bed.peer.edge, ["--mode", "upload", "--bytes-per-second", "5000000"]),
          (udp.edge, ["--mode", "udp", "--message-bytes", "512", "--loss-max", "0.5"]),
        ] {
          let (exit, result) = try client(bed, port, arguments)
          #expect(exit == .code(0), "\(arguments): \(result["failure"] ?? "")")
          let counts = try #require(result["counts"] as? [String: Any])
          #expect((counts["bytesReceived"] as? Int ?? 0) + (counts["bytesSent"] as? Int ?? 0) > 0)
          if arguments[1] == "echo" || arguments[1] == "churn" {
            #expect(counts["answered"] as? Int == counts["sent"] as? Int)
            #expect(result["addressesFromHeaders"] as? Bool == true)
          }
        }
        for (child, isTCP) in [(target, true), (datagrams, false)] {
          child.send(SIGTERM)
          #expect(try child.waitForExit(within: 10) == .code(0))
          let seen = try result(of: child)
          let clients = try #require(seen["clients"] as? [[String: Any]])
          #expect(clients.map { $0["address"] as? String } == ["127.0.0.1"])
          #expect(seen["refused"] as? Int == 0)
          #expect((seen[isTCP ? "headersV1" : "headersV2"] as? Int ?? 0) > 0)
        }
      }
    }

    private static let faults: [(mode: String, fault: String, way: String, place: Int)] = [
      ("echo", "flip", "up", 500), ("echo", "flip", "down", 500), ("echo", "drop", "down", 500),
      ("echo", "drop", "up", 500), ("churn", "flip", "down", 50), ("churn", "drop", "down", 40),
      ("download", "flip", "down", 30_000), ("download", "drop", "down", 30_000),
      ("upload", "flip", "up", 30_000), ("upload", "drop", "up", 30_000),
      // Request and answer, in front of the load.
      ("echo", "flip", "up", 9), ("echo", "flip", "down", 3),
      ("udp", "flip", "up", 20), ("udp", "flip", "down", 20), ("udp", "drop", "down", 20),
    ]

    @Test("one byte or datagram that is changed or lost on the way makes a run fail")
    func faults() throws {
      let udp = ExtraRoute(.udp, "udpProxyHeader: first")
      try Testbed.run(.uring, with: [udp]) { bed in
        _ = try startTarget(bed, "target", port: bed.peer.target)
        _ = try startTarget(bed, "datagrams", port: udp.target)
        func run(_ fault: (mode: String, fault: String, way: String, place: Int)) throws -> (
          exit: ChildProcess.Exit, result: Result
        ) {
          let isUDP = fault.mode == "udp"
          let port = FreePort.take()
          let relay = try bed.start(
            "relay-\(UUID().uuidString)",
            [
              "python3", "\(Product.peers)/faulty_relay.py", "\(port)",
              "\(isUDP ? udp.edge : bed.peer.edge)", isUDP ? "udp" : "tcp", fault.fault, fault.way,
              "\(fault.place)",
            ])
          try relay.waitForLog("ready")
          defer { relay.send(SIGTERM) }
          return try client(
            bed, port,
            [
              "--mode", fault.mode, "--connections", "2", "--bytes-per-second", "2000000",
              "--rate", "200", "--loss-max", "0",
            ])
        }
        for fault in Self.faults {
          let (exit, result) = try run(fault)
          #expect(exit == .code(1), "\(fault)")
          #expect(result["failure"] is String, "\(fault)")
        }
        // The relay alone does no harm.
        for mode in ["echo", "upload", "udp"] {
          let (exit, result) = try run((mode, "none", "up", 0))
          #expect(exit == .code(0), "\(mode): \(result["failure"] ?? "")")
        }
      }
    }
  }
}
