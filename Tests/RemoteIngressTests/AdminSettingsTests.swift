// Where the admin HTTP listens, by configuration.

import Testing

@testable import RemoteIngress

struct AdminSettingsTests {
  private func hub(_ yaml: String?) throws -> AdminSettings? {
    let directory = try ScratchDirectory()
    let file = try yaml.map { try directory.write($0, to: "c.yaml") }
    return try ConfigurationSource(file: file).hub().configuration.adminSettings()
  }

  @Test func byDefaultItListensOnLoopback() throws {
    let settings = try #require(try hub(nil))
    #expect(settings.address == "127.0.0.1:9180" && settings.isLoopback && settings.isDefault)
    #expect(settings.token == nil)
    let edge = ConfigurationSource(
      flags: ["--hub-host", "h", "--edge-id", "e", "--secret", "s", "--admin-token", "t"])
    let other = try #require(try edge.edge().configuration.adminSettings())
    #expect(other.address == "127.0.0.1:9181" && !other.isDefault)
    #expect(other.token?.revealed == "t" && !"\(other)".contains("\"t\""))
  }

  @Test func noneSwitchesItOff() throws {
    #expect(try hub("admin: {listen: none}") == nil)
  }

  @Test func anAddressThatWasAskedForIsNoDefault() throws {
    let settings = try #require(try hub("admin: {listen: '127.0.0.1:9180'}"))
    #expect(!settings.isDefault)
    #expect(try hub("admin: {listen: '[::1]:9'}")?.address == "[::1]:9")
    #expect(try hub("admin: {listen: '[::1]:9'}")?.isLoopback == true)
    #expect(try hub("admin: {listen: 'localhost:9'}")?.isLoopback == true)
    #expect(try hub("admin: {listen: '0.0.0.0:9', token: x}")?.isLoopback == false)
  }
}
