// Network namespaces of a test. One lives as long as the process that holds it, so nothing is left
// behind.

import Foundation

/// Whether there is the privilege for namespaces of one's own, with nftables.
let canMakeNamespaces: Bool = {
  do {
    try Testbed.bare(.uring) { bed in
      try bed.command(["unshare", "-n", "nft", "list", "tables"], within: 10)
    }
    return true
  } catch {}
  print("SKIPPED: every test in namespaces of its own: it takes root, unshare and nft")
  return false
}()

/// One namespace for each place, with its loopback up.
struct Namespaces<Place: Hashable & CaseIterable> {
  private let bed: Testbed
  private var holders: [Place: ChildProcess] = [:]

  init(_ bed: Testbed) throws {
    self.bed = bed
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
    for place in Place.allCases {
      let holder = try bed.start("holder-\(place)", ["unshare", "-n", "sleep", "infinity"])
      holders[place] = holder
      try wait(within: 10, for: "the namespace of \(place)") {
        let link = "/proc/\(holder.pid)/ns/net"
        return (try? FileManager.default.destinationOfSymbolicLink(atPath: link)) ?? own != own
      }
      try command(place, ["ip", "link", "set", "lo", "up"])
    }
  }

  /// The process that holds it, by which other tools name it.
  func pid(_ place: Place) -> String { "\(holders[place]?.pid ?? 0)" }

  /// A command line that runs in a place.
  func inside(_ place: Place, _ arguments: [String]) -> [String] {
    ["nsenter", "-n", "-t", pid(place)] + arguments
  }

  /// Runs a command in a place and returns what it prints.
  @discardableResult
  func command(_ place: Place, _ arguments: [String]) throws -> String {
    try bed.command(inside(place, arguments))
  }
}
