// Cases over an emulated link: a workload and the link that it runs over, from Profiles/link.
//
//   namespace a                                       namespace b
//   target ── hub (or relay) ══ tunnel over the link ══ edge (or relay) ── client

import FoundationEssentials
import Glibc
import LinkKit
import LoadKit

/// A workload over a link.
struct LinkCase {
  /// The part of a profile that is not the workload.
  private struct Profile: Decodable {
    var link: LinkSetup
  }

  var workload: Workload
  var setup: LinkSetup

  var name: String { workload.name }

  /// The cases of a directory, in the order of their names.
  static func read(_ directory: String) throws(LoadError) -> [LinkCase] {
    var cases: [LinkCase] = []
    for (name, text) in try readJSONFiles(directory) {
      do {
        cases.append(try LinkCase(json: text))
      } catch {
        throw LoadError("\(name): \(error)")
      }
    }
    return cases.sorted { $0.name < $1.name }
  }

  private init(json: [UInt8]) throws {
    workload = try Workload(json: json)
    setup = try JSONDecoder().decode(Profile.self, from: Data(json)).link
    try setup.check()
    guard workload.kind.isBulk else { throw LoadError("only bulk runs over links") }
    guard setup.conditions.bitsPerSecond > 0 else { throw LoadError("the link needs a rate") }
  }
}
