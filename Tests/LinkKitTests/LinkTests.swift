// Real links: `ri-link` as a user runs it, its namespaces, and TCP across.

import FoundationEssentials
import Glibc
import LoadKit
import Testing

@testable import LinkKit

private let canLink = geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0

@Suite("Link", .enabled(if: canLink, "needs root and /dev/net/tun"), .timeLimit(.minutes(1)))
struct LinkTests {
  static func decode<Value: Decodable>(_ type: Value.Type, _ line: String?) throws -> Value {
    try JSONDecoder().decode(type, from: Data(try #require(line).utf8))
  }

  static func exists(_ namespace: String) -> Bool { access("/run/netns/\(namespace)", F_OK) == 0 }

  @Test("SIGTERM ends it: nothing crossed by itself, and nothing is left of it")
  func lifeCycle() throws {
    let command = try LinkProcess(["--rate", "10mbit", "--delay", "1ms"])
    let link = try Self.decode(LinkDescription.self, command.line())
    #expect(link.a.namespace == "ri-link-\(command.identifier)-a")
    #expect(link.b.namespace == "ri-link-\(command.identifier)-b")
    #expect(Self.exists(link.a.namespace) && Self.exists(link.b.namespace))
    let receivers = [link.a.receiver, link.b.receiver].compactMap(\.self)
    for receiver in receivers {
      #expect(readSmallFile("/proc/\(receiver)/comm")?.hasPrefix("napi/ri") == true)
    }
    kill(command.identifier, SIGTERM)
    let summary = try Self.decode(LinkSummary.self, command.line())
    #expect(summary.aToB == LinkCounters() && summary.bToA == LinkCounters())
    #expect(command.end() == 0)
    for receiver in receivers {
      #expect(readSmallFile("/proc/\(receiver)/comm")?.hasPrefix("napi/ri") != true)
    }
    #expect(!Self.exists(link.a.namespace) && !Self.exists(link.b.namespace))
  }

  @Test("a command's exit code is its own, and its namespaces are gone")
  func exitCode() throws {
    let command = try LinkProcess([
      "--", "sh", "-c", "echo $RI_LINK_A $RI_LINK_B $RI_LINK_A_IP $RI_LINK_B_IP; exit 7",
    ])
    let names = ["a", "b"].map { "ri-link-\(command.identifier)-\($0)" }
    #expect(command.line() == "\(names[0]) \(names[1]) 10.77.0.1 10.77.0.2")
    #expect(command.end() == 7)
    #expect(!names.contains(where: Self.exists))
  }

  @Test("a command that a signal kills gives 128 and its number")
  func signalledCommand() throws {
    let command = try LinkProcess(["--", "sh", "-c", "kill -KILL $$"])
    #expect(command.end() == 128 + SIGKILL)
  }

  @Test("SIGTERM reaches the command, and the link outlives it")
  func forwardedSignal() throws {
    let command = try LinkProcess([
      "--", "sh", "-c",
      "trap 'ip netns pids $RI_LINK_A && echo bye; exit 3' TERM; echo up; "
        + "while :; do sleep 0.1; done",
    ])
    #expect(command.line() == "up")
    kill(command.identifier, SIGTERM)
    #expect(command.line() == "bye")
    #expect(command.end() == 3)
  }

  @Test("with its parent gone it ends too and cleans up")
  func parentsEnd() throws {
    let parent = try LinkProcess(
      words: ["sh", "-c", "\"$0\" --with-parent & wait", try LinkProcess.binary()])
    let link = try Self.decode(LinkDescription.self, parent.line())
    #expect(Self.exists(link.a.namespace))
    kill(parent.identifier, SIGKILL)
    _ = try Self.decode(LinkSummary.self, parent.line())
    // The end of its output is the end of the process.
    #expect(parent.line() == nil)
    #expect(!Self.exists(link.a.namespace) && !Self.exists(link.b.namespace))
  }

  @Test("names that a killed process left behind go with the next link")
  func staleNames() throws {
    let killed = try LinkProcess([])
    let left = try Self.decode(LinkDescription.self, killed.line())
    kill(killed.identifier, SIGKILL)
    #expect(killed.end() == -SIGKILL)
    let next = try LinkProcess(["--", "true"])
    #expect(next.end() == 0)
    #expect(!Self.exists(left.a.namespace) && !Self.exists(left.b.namespace))
  }

  @Test("what does not fit is refused with a reason, and leaves nothing behind")
  func refused() throws {
    let command = try LinkProcess(["--delay", "1ms", "--jitter", "2ms"])
    #expect(command.errorLine()?.contains("jitter: at most the delay") == true)
    #expect(command.end() != 0)
    let unknown = try LinkProcess(["--congestion", "nosuchthing"])
    #expect(unknown.errorLine()?.contains("congestion algorithm") == true)
    #expect(unknown.end() != 0)
    #expect(!Self.exists("ri-link-\(unknown.identifier)-a"))
    #expect(!Self.exists("ri-link-\(unknown.identifier)-b"))
  }

  @Test("TCP crosses it by both families, as slowly as it says", arguments: ["IPv4", "IPv6"])
  func stream(family: String) throws {
    let command = try LinkProcess([
      "--rate", "100mbit", "--delay", "10ms", "--congestion", "cubic", "--tcp-buffers", "8MB",
    ])
    let link = try Self.decode(LinkDescription.self, command.line())
    let address = family == "IPv4" ? link.a.address4 : link.a.address6
    let listener = try LinkSocket(in: link.a, address)
    try #require(bind(listener.descriptor, listener.address, listener.length) == 0)
    try #require(listen(listener.descriptor, 1) == 0)
    let client = try LinkSocket(in: link.b, address, port: listener.boundPort)
    let start = clockNanoseconds()
    try #require(connect(client.descriptor, client.address, client.length) == 0)
    #expect(clockNanoseconds() - start >= 20_000_000)
    #expect(congestionControl(of: client.descriptor) == "cubic")
    let accepted = accept(listener.descriptor, nil, nil)
    try #require(accepted >= 0)
    defer { close(accepted) }
    let pattern = Pattern()
    #expect(write(client.descriptor, pattern.bytes(at: 0), 60_000) == 60_000)
    var (buffer, received) = ([UInt8](repeating: 0, count: 60_000), 0)
    while received < 60_000 {
      let count = read(accepted, &buffer, 60_000 - received)
      guard count > 0 else { break }
      #expect(pattern.matches(buffer, count: count, at: UInt64(received)))
      received += count
    }
    #expect(received == 60_000)
    // 60,000 bytes in 1,500-byte packets at 100 Mbit/s, behind a handshake of two delays.
    #expect(clockNanoseconds() - start >= 20_000_000 + 10_000_000 + 4_800_000)
    kill(command.identifier, SIGTERM)
    let summary = try Self.decode(LinkSummary.self, command.line())
    #expect(summary.bToA.deliveredBytes > 60_000)
    #expect(summary.aToB.deliveredPackets > 1)
  }

  @Test("TCP's buffers may grow as far as asked")
  func tcpBuffers() throws {
    let command = try LinkProcess([
      "--tcp-buffers", "48MB", "--", "sh", "-c",
      "ip netns exec $RI_LINK_A cat /proc/sys/net/ipv4/tcp_rmem /proc/sys/net/ipv4/tcp_wmem",
    ])
    #expect(command.line()?.hasSuffix("\t50331648") == true)
    #expect(command.line()?.hasSuffix("\t50331648") == true)
    #expect(command.end() == 0)
  }
}
