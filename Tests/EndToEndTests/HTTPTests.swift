// curl as the client, nginx with `proxy_protocol` as the target.

import Foundation
import Testing

extension EndToEnd {
  @Suite("curl and nginx")
  struct HTTP {
    static let mib = 1 << 20

    /// 1 GiB crosses once, on io_uring; epoll carries 64 MiB.
    static func sizes(_ ring: Ring) -> [Int] {
      [1, 1_000, 65_537, 10 * mib + 1, ring == .uring ? 1024 * mib : 64 * mib]
    }

    @Test("downloads of 1 B to 1 GiB arrive byte for byte", arguments: Ring.allCases)
    func downloads(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        for bytes in Self.sizes(ring) {
          let file = try bed.makeFile("down-\(bytes)", bytes: bytes)
          // cmp names the first byte that differs.
          try bed.command([
            "bash", "-o", "pipefail", "-c",
            "curl -sS --fail --max-time 60 '\(bed.url("down-\(bytes)"))' | cmp - \(file)",
          ])
          try FileManager.default.removeItem(atPath: file)
        }
      }
    }

    @Test("uploads of 1 B to 1 GiB arrive byte for byte", arguments: Ring.allCases)
    func uploads(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        for bytes in Self.sizes(ring) {
          let file = try bed.makeFile("up-\(bytes)", bytes: bytes)
          try bed.curl("-T", file, bed.url("uploads/\(bytes)"))
          try bed.command(["cmp", file, "\(bed.directory)/uploads/\(bytes)"])
          for path in [file, "\(bed.directory)/uploads/\(bytes)"] {
            try FileManager.default.removeItem(atPath: path)
          }
        }
      }
    }

    @Test("a kept-alive connection carries a hundred requests", arguments: Ring.allCases)
    func keepAlive(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        let report = try bed.curl(
          "-o", "/dev/null", "-w", "%{num_connects} %{response_code}\\n",
          bed.url("small?n=[1-100]"))
        let lines = report.split(separator: "\n")
        #expect(lines.count == 100)
        #expect(lines.first == "1 200")
        #expect(lines.dropFirst().allSatisfy { $0 == "0 200" })
        // nginx saw one connection: one client port in all lines of its log.
        let ports = Set(bed.accessLog().map { $0[1] })
        #expect(ports.count == 1)
      }
    }

    @Test("nginx logs the client's own address and port", arguments: Ring.allCases)
    func clientAddress(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        let format = ["-o", "/dev/null", "-w", "%{local_ip} %{local_port}"]
        for (host, source) in [("127.0.0.1", "127.0.0.77"), ("[::1]", "::1")] {
          let address = try bed.command(
            ["curl", "-gsS", "--fail", "--interface", source, bed.url("small", host: host)] + format
          )
          #expect(bed.accessLog().last?.prefix(2).joined(separator: " ") == address)
          #expect(address.hasPrefix("\(source) "))
        }
      }
    }

    @Test("sixteen downloads at once arrive byte for byte", arguments: Ring.allCases)
    func parallel(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        let file = try bed.makeFile("shared", bytes: 8 * Self.mib)
        try bed.curl(
          "-Z", "--parallel-immediate", "--parallel-max", "16",
          "\(bed.url("shared"))?n=[1-16]", "-o", "\(bed.directory)/uploads/#1")
        for index in 1...16 {
          try bed.command(["cmp", file, "\(bed.directory)/uploads/\(index)"])
        }
      }
    }
  }
}
