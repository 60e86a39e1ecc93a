// Runs the tools that check what is shipped, and finds the files that they check.

import Foundation
import Glibc

/// What a tool said and how it ended.
struct ToolResult {
  var status: Int32
  var output: String
  var succeeded: Bool { status == 0 }
}

enum Tool {
  /// Runs a program of PATH in the project's folder; both outputs together.
  static func run(
    _ arguments: [String], environment: [String: String] = [:]
  ) throws -> ToolResult {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: Files.project)
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let pipe = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return ToolResult(
      status: process.terminationStatus, output: String(decoding: output, as: UTF8.self))
  }

  static func run(_ arguments: String...) throws -> ToolResult { try run(arguments) }

  static func bash(_ script: String) throws -> ToolResult { try run("bash", "-c", script) }
}

enum Files {
  static let project = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
  static let deploy = "\(project)/Profiles/deploy"
  static let tools = "\(project)/Tests/DeploymentTests/tools"
  static let binary =
    ProcessInfo.processInfo.environment["REMOTEINGRESS_BINARY"]
    ?? "\(project)/.build/release/remoteingress"

  /// Says so, loudly, when there is nothing to test.
  static let hasBinary: Bool = {
    if FileManager.default.isExecutableFile(atPath: binary) { return true }
    print("SKIPPED: deployment tests of the binary, for there is no \(binary)")
    return false
  }()

  static let isRoot: Bool = {
    if geteuid() == 0 { return true }
    print("SKIPPED: the test of the package, which needs root")
    return false
  }()

  static func text(_ path: String) throws -> String {
    try String(contentsOfFile: path, encoding: .utf8)
  }

  /// Lines without comments.
  static func lines(_ path: String) throws -> [String] {
    try text(path).split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
      .filter { !$0.hasPrefix("#") }
  }

  /// A scratch file that goes with the closure.
  static func withScratch<Result>(
    _ name: String, _ text: String, _ body: (String) throws -> Result
  ) throws -> Result {
    let folder = "\(NSTemporaryDirectory())/deployment-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let path = "\(folder)/\(name)"
    try text.write(toFile: path, atomically: false, encoding: .utf8)
    return try body(path)
  }
}
