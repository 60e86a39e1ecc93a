// Bad files and the built command: one line and exit code 2 at the start, nothing at a reload.

import Foundation
import Glibc
import Testing

@testable import RemoteIngress

@Suite struct BadFileTests {
  static let files = ConfigurationErrorTests.hubFiles + ConfigurationErrorTests.edgeFiles

  private func command(_ arguments: [String], in directory: String, log: String) throws -> Process {
    let process = Process()
    process.executableURL = Bundle.main.bundleURL.appendingPathComponent("remoteingress")
    process.environment = ["HOME": "/nonexistent"]
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    FileManager.default.createFile(atPath: log, contents: nil)
    process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: log))
    process.standardOutput = FileHandle.nullDevice
    return process
  }

  @Test("fifty bad files: one line with file, key and reason, and exit code 2", arguments: files)
  func start(_ bad: ConfigurationErrorTests.BadFile) throws {
    let scratch = try ScratchDirectory()
    let directory = scratch.path
    do {
      _ = try scratch.write(bad.yaml, to: "c.yaml")
      let log = "\(directory)/log"
      let process = try command(
        [bad.side == .hub ? "hub" : "edge", "--config", "c.yaml"], in: directory, log: log)
      try process.run()
      process.waitUntilExit()
      #expect(process.terminationReason == .exit && process.terminationStatus == 2)
      let said = try String(contentsOfFile: log, encoding: .utf8)
      #expect(said == "remoteingress: \(bad.error)\n")
    }
  }

  @Test func thereAreFiftyOfThem() { #expect(Self.files.count >= 50) }

  @Test("a hub that runs takes none of them")
  func reload() throws {
    let scratch = try ScratchDirectory()
    let directory = scratch.path
    do {
      let (file, log) = ("\(directory)/c.yaml", "\(directory)/log")
      let good = """
        bindAddress: 127.0.0.1
        tunnelPort: \(UInt16.random(in: 10_000..<30_000))
        stateDir: \(directory)/state
        allowedEdges: [{id: a, secret: s, listenPorts: [80]}]
        """
      try good.write(toFile: file, atomically: true, encoding: .utf8)
      let hub = try command(["hub", "--config", "c.yaml"], in: directory, log: log)
      try hub.run()
      defer {
        hub.terminate()
        hub.waitUntilExit()
      }
      try wait(for: "hub ready", in: log)
      for bad in ConfigurationErrorTests.hubFiles {
        try bad.yaml.write(toFile: file, atomically: true, encoding: .utf8)
        kill(hub.processIdentifier, SIGHUP)
        try wait(for: "not reloaded: \(bad.error)\n", in: log)
      }
      #expect(try !text(log).contains("info reloaded"))
      // What is in force is what the first file said: the same again changes nothing.
      try good.write(toFile: file, atomically: true, encoding: .utf8)
      kill(hub.processIdentifier, SIGHUP)
      try wait(for: "info reloaded: 1 allowed edges\n", in: log)
    }
  }

  private func text(_ file: String) throws -> String {
    try String(contentsOfFile: file, encoding: .utf8)
  }

  private func wait(for line: String, in log: String) throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while try !text(log).contains(line) {
      let said = try text(log)
      try #require(ContinuousClock.now < deadline, "no '\(line)' in \(said)")
      usleep(2_000)
    }
  }
}
