// The example program: does what its comments say.

import Foundation
import Testing

extension Library {
  @Suite("Example")
  struct Example {
    @Test("the example program starts a tunnel, changes it and ends in order")
    func embeddedTunnel() async throws {
      let echo = try EchoServer()
      let (first, second) = (try LibraryBed.freePort(), try LibraryBed.freePort())
      let program = Process()
      program.executableURL = Bundle.main.executableURL?.deletingLastPathComponent()
        .appendingPathComponent("embedded-tunnel")
      program.arguments = ["\(first)", "\(echo.port)"]
      let (input, log) = (Pipe(), NSTemporaryDirectory() + "example-\(UUID().uuidString)")
      FileManager.default.createFile(atPath: log, contents: nil)
      defer { try? FileManager.default.removeItem(atPath: log) }
      program.standardInput = input
      program.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: log))
      try program.run()
      func say(_ line: String) throws {
        try input.fileHandleForWriting.write(contentsOf: Data("\(line)\n".utf8))
      }
      func heard(_ text: String) async throws {
        try await eventually("the example to say \(text)") {
          (try? String(contentsOfFile: log, encoding: .utf8))?.contains(text) ?? false
        }
      }
      try await heard("edge event: portsAssigned")
      try await eventually("an echo") {
        (try? TestSocket.connect(to: first).echo("through the example")) != nil
      }
      try await heard("hub event: streamOpened")
      try say("\(second)")
      try await heard("edge event: portsUpdated {\"listenPorts\":[\(first),\(second)]")
      try say("status")
      try await heard("hub: {\"activeStreams\"")
      try input.fileHandleForWriting.close()
      program.waitUntilExit()
      #expect(program.terminationStatus == 0)
      echo.stop()
    }
  }
}
