// The built command: tokens, exit codes, and secrets that leave the process list.

import Foundation
import RemoteIngress
import Testing

@Suite struct CommandTests {
  struct Outcome {
    var code: Int32
    var output: String
    var errors: String
  }

  /// The command lies beside the tests.
  private func command() -> Process {
    let process = Process()
    process.executableURL = Bundle.main.bundleURL.appendingPathComponent("remoteingress")
    process.environment = ["HOME": "/nonexistent"]
    return process
  }

  private func run(_ arguments: [String], input: String = "") throws -> Outcome {
    let process = command()
    let (stdin, stdout, stderr) = (Pipe(), Pipe(), Pipe())
    process.arguments = arguments
    process.standardInput = stdin
    process.standardOutput = stdout
    process.standardError = stderr
    try process.run()
    stdin.fileHandleForWriting.write(Data(input.utf8))
    try stdin.fileHandleForWriting.close()
    // What these commands say fits into a pipe.
    let output = String(decoding: stdout.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    let errors = String(decoding: stderr.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return Outcome(code: process.terminationStatus, output: output, errors: errors)
  }

  @Test func tokenSurvivesTheJourney() throws {
    let pin = "sha256/CgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo="
    let encoded = try run(
      ["token", "encode", "--hub-host", "h.example", "--edge-id", "e1", "--secret-file", "-"]
        + ["--pin", pin], input: "hush\n")
    #expect(encoded.code == 0)
    let token = encoded.output.trimmingCharacters(in: .whitespacesAndNewlines)
    #expect(!token.contains("="))

    let masked = try run(["token", "decode"], input: " \(token)\n")
    #expect(masked.code == 0)
    #expect(
      masked.output
        == "hubHost: h.example\nhubPort: 8443\nedgeId: e1\nsecret: •••\nhubPin: \(pin)\n")
    let shown = try run(["token", "decode", token, "--show-secret"])
    #expect(shown.output.contains("secret: hush\n"))
  }

  @Test func newSecretsDiffer() throws {
    let first = try run(["token", "new-secret"]).output
    let second = try run(["token", "new-secret"]).output
    #expect(first.count == 65)
    #expect(first != second)
  }

  @Test func versionIsPrinted() throws {
    #expect(try run(["version"]).output == remoteIngressVersion + "\n")
  }

  @Test(arguments: [
    ["bogus"], ["token", "bogus"], ["token", "encode"], ["token", "decode", "!!!"],
    ["token", "encode", "--hub-host", "h", "--edge-id", "e", "--secret-file", "/nowhere"],
    ["token", "encode", "--hub-host", "h", "--edge-id", "e", "--secret-file", "/dev/null"],
    ["hub", "--config", "/nowhere/c.yaml"], ["hub", "--no-such-flag"], ["hub", "stray"],
    ["edge"], ["edge", "--token"], ["version", "--loud"],
  ])
  func badUsageEndsWith2(arguments: [String]) throws {
    let outcome = try run(arguments)
    #expect(outcome.code == 2)
    #expect(outcome.output == "")
    #expect(!outcome.errors.isEmpty)
  }

  @Test func badConfigurationIsOneLine() throws {
    let outcome = try run(["edge", "--hub-prot", "1"])
    #expect(
      outcome.errors
        == "remoteingress: --hub-prot: unknown flag; the nearest known one is --hub-port\n")
  }

  @Test(arguments: [["--help"], ["hub", "--help"], ["help", "edge"], ["token", "decode", "-h"]])
  func helpEndsWith0(arguments: [String]) throws {
    let outcome = try run(arguments)
    #expect(outcome.code == 0)
    #expect(outcome.output.contains("USAGE: remoteingress"))
  }

  /// The command opens its configuration after it has wiped its arguments, and a FIFO lets us know.
  @Test func secretsLeaveTheProcessList() throws {
    let directory = NSTemporaryDirectory() + "remoteingress-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let fifo = directory + "/config"
    #expect(mkfifo(fifo, 0o600) == 0)

    let process = command()
    process.arguments = [
      "edge", "--hub-host", "h", "--edge-id", "e", "--secret", "hush-1", "--admin-token=hush-2",
      "--config", fifo,
    ]
    process.standardError = FileHandle.nullDevice
    try process.run()
    let writer = try #require(FileHandle(forWritingAtPath: fifo))
    let visible = try Data(
      contentsOf: URL(fileURLWithPath: "/proc/\(process.processIdentifier)/cmdline"))
    try writer.close()
    // Children of the test process are born with SIGTERM blocked.
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
    let text = String(decoding: visible, as: UTF8.self)
    #expect(text.contains("--admin-token=******\0"))
    #expect(text.contains("--edge-id\0e\0"))
    #expect(!text.contains("hush"))
  }
}
