// The two forms of a log line.

import Foundation
import Logging
import RIWire
import Testing

@testable import RemoteIngress
@testable import remoteingress

@Suite struct LineLogHandlerTests {
  private let time = "2026-01-31T09:05:00.123Z"

  private func line(
    _ format: LogFormat, _ message: Logger.Message, _ metadata: Logger.Metadata = [:]
  ) -> String {
    let handler = LineLogHandler(label: "hub", format: format, logLevel: .info)
    let event = LogEvent(
      level: .notice, message: message, metadata: nil, source: "s", file: "f", function: "g",
      line: 1)
    return handler.line(event, metadata, time: time)
  }

  @Test func textIsOneReadableLine() {
    #expect(
      line(.text, "edge is up", ["id": "e1", "why": "a b"])
        == "\(time) notice edge is up id=e1 why=\"a b\"")
  }

  @Test func nothingAPeerSaysBreaksALine() {
    #expect(line(.text, "said \"x\n\u{1B}[2Jy\"") == "\(time) notice said \"x\\u{a}\\u{1b}[2Jy\"")
    #expect(!line(.json, "x\ny", ["k": "\r\n"]).contains("\n"))
  }

  @Test func jsonIsAnObject() throws {
    let text = line(.json, "a \"quote\"", ["ports": ["80", "443"]])
    let value = try JSONValue(parsing: Array(text.utf8)).asObject
    #expect(value?["message"] == .string("a \"quote\""))
    #expect(value?["level"] == .string("notice"))
    #expect(value?["label"] == .string("hub"))
    #expect(value?["time"] == .string(time))
    #expect(value?["metadata"] == .object(["ports": .array([.string("80"), .string("443")])]))
  }

  @Test func secretsShowNothing() throws {
    let secret = try Secret("hush")
    #expect(!line(.text, "\(secret)", ["s": "\(secret)"]).contains("hush"))
    #expect("\(TextSource.text("hush"))" == "•••")
    var dumped = ""
    dump(TextSource.text("hush"), to: &dumped)
    #expect(!dumped.contains("hush"))
  }
}
