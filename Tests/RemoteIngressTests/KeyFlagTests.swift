// The keys of the configuration as options of the command line.

import ArgumentParser
import RemoteIngress
import Testing

@testable import remoteingress

@Suite struct KeyFlagTests {
  private func flags(_ arguments: String...) throws -> [String] {
    try RunArguments<EdgeConfiguration>.parse(arguments).source.flags
  }

  @Test func flagsReachTheConfigurationUnread() throws {
    // In the order of the table; the last of two counts.
    let given = try flags(
      "--edge-id", "b", "--hub-port=-5", "--insecure", "--hub-host", "--x", "--edge-id", "c")
    #expect(given == ["--hub-host=--x", "--hub-port=-5", "--edge-id=c", "--insecure=true"])
    #expect(try flags("--insecure", "no") == ["--insecure=no"])
    #expect(try flags() == [])
  }

  @Test func whatTheParserDoesNotKnowIsLeftToTheConfiguration() throws {
    #expect(try flags("--hub-hots", "a") == ["--hub-hots", "a"])
    #expect(try flags("word", "--edge-id", "e") == ["--edge-id=e", "word"])
  }

  @Test func aValueMayNotBeMissing() {
    #expect(throws: (any Error).self) { try flags("--edge-id") }
  }

  @Test func everyKeyIsListedByHelp() {
    let help = HubCommand.helpMessage(columns: 200)
    for flag in HubConfiguration.flags { #expect(help.contains("  \(flag.name) ")) }
    #expect(help.contains("--log-format <choice>"))
    #expect(help.contains("text, json; default text"))
  }
}
