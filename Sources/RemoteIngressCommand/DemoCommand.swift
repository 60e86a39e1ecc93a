// `demo`: everything on loopback, to be seen working.

import ArgumentParser

struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "Run a hub, an edge and a target on loopback, send real traffic, print figures.")

  @Option(help: "MiB of the bulk download and of the upload.")
  var bulk = 512

  @Option(help: "Requests on one connection.")
  var requests = 4_000

  @Flag(help: "Stay up afterwards and print the URL to try.")
  var keep = false

  func validate() throws {
    guard (1...65_536).contains(bulk), (4...1_000_000).contains(requests) else {
      throw ValidationError("bulk is 1 to 65536, requests 4 to 1000000")
    }
  }

  func run() throws {
    do {
      try Demo(bulkBytes: bulk << 20, requests: requests, keep: keep).run()
    } catch {
      throw CommandFailure(reason: "demo: \(error)")
    }
  }
}
