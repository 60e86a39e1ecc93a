// What fuzzing has collected, replayed: `Fuzz/Corpus` has inputs that reach far, `Fuzz/Cases` has
// those that once broke something. Whatever is wrong with one ends the process and names it.

import Foundation
import FuzzKit
import Testing

private let fuzzFolder = URL(fileURLWithPath: #filePath)
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Fuzz")

@Suite(.serialized)
struct ReplayTests {
  @Test(arguments: FuzzTarget.all.map(\.name))
  func inputsOfTheCorpusBreakNothing(name: String) throws {
    let target = try #require(FuzzTarget.named(name))
    var count = 0
    for folder in ["Corpus", "Cases"] {
      for (file, bytes) in try inputs("\(folder)/\(name)") {
        // The last line in front of a crash.
        print("replay \(folder)/\(name)/\(file)")
        bytes.withUnsafeBytes { target.run($0) }
        count += 1
      }
    }
    #expect(count > 0, "there is no corpus of \(name)")
  }

  /// Each target takes what is empty, and what is short.
  @Test(arguments: FuzzTarget.all.map(\.name))
  func shortInputsBreakNothing(name: String) throws {
    let target = try #require(FuzzTarget.named(name))
    [].withUnsafeBytes { (bytes: UnsafeRawBufferPointer) in target.run(bytes) }
    for byte in [0, 1, 0x7F, 0xFF] as [UInt8] {
      [byte].withUnsafeBytes { target.run($0) }
      [UInt8](repeating: byte, count: 40).withUnsafeBytes { target.run($0) }
    }
  }

  private func inputs(_ folder: String) throws -> [(String, [UInt8])] {
    let folder = fuzzFolder.appendingPathComponent(folder)
    guard FileManager.default.fileExists(atPath: folder.path) else { return [] }
    return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().map {
      ($0, [UInt8](try Data(contentsOf: folder.appendingPathComponent($0))))
    }
  }
}
