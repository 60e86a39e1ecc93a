// A named run: which cases, how often, for how long. One file each in Profiles/runs.

import FoundationEssentials
import LoadKit

/// What `--profile NAME` stands for. What the command line says goes before it.
struct RunProfile: Codable, Equatable {
  var name: String
  var about: String
  /// Cases, families or groups.
  var cases: [String]
  var rounds: Int?
  var seconds: Double?
  var warmUp: Double?
  var peers: Bool?

  static func load(_ name: String) throws(LoadError) -> RunProfile {
    guard let root = Catalogue.root, name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "-" })
    else { throw LoadError("no profile \(name)") }
    guard let text = readSmallFile("\(root)/Profiles/runs/\(name).json") else {
      throw LoadError("no profile \(name): there is no Profiles/runs/\(name).json")
    }
    do {
      return try JSONDecoder().decode(RunProfile.self, from: Data(text.utf8))
    } catch {
      throw LoadError("profile \(name): \(error)")
    }
  }
}
