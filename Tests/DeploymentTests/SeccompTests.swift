// The seccomp profile, loaded as a container's runtime would load it.

import Foundation
import Testing

@Suite("seccomp", .enabled(if: Files.hasBinary))
struct SeccompTests {
  private func confined(
    _ command: [String], without names: [String] = [], ring: String? = nil
  ) throws -> ToolResult {
    let profile = "\(Files.deploy)/seccomp/remoteingress.json"
    return try Tool.run(
      ["/usr/bin/python3", "\(Files.tools)/confined.py", profile]
        + names.flatMap { ["--without", $0] } + ["--"] + command,
      environment: ring.map { ["REMOTEINGRESS_RING": $0] } ?? [:])
  }

  private let demo = [Files.binary, "demo", "--bulk", "4", "--requests", "40"]

  @Test("hub and edge run under it, on io_uring")
  func runs() throws {
    let result = try confined(demo, ring: "uring")
    #expect(result.succeeded && result.output.contains("every byte was checked"))
  }

  @Test("without its line for io_uring there is no io_uring, and epoll takes over")
  func needsItsLine() throws {
    #expect(try !confined(demo, without: ["io_uring_setup"], ring: "uring").succeeded)
    #expect(try confined(demo, without: ["io_uring_setup"]).succeeded)
  }

  @Test(
    "it forbids what neither needs",
    arguments: [
      "unshare --user true", "nsenter --net=/proc/self/ns/net true", "mount -t tmpfs tmpfs /mnt",
      "/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
    ])
  func forbids(command: String) throws {
    let result = try confined(["bash", "-c", command])
    #expect(!result.succeeded)
    #expect(result.output.lowercased().contains("permi"), "\(result.output)")
  }
}
