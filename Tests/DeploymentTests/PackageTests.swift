// The Debian package, and the C shims on the other architecture.

import Foundation
import Testing

@Suite("Packages", .serialized)
struct PackageTests {
  @Test(
    "the package installs, runs, reloads, upgrades, is removed and purged",
    .enabled(if: Files.hasBinary && Files.isRoot))
  func package() throws {
    let folder = "\(Files.project)/.build/package-test"
    try? FileManager.default.removeItem(atPath: folder)
    let made = try Tool.run(
      ["ci/package", "--binary", Files.binary, "--output", folder],
      // Packed fast rather than small.
      environment: ["DPKG_DEB_COMPRESSOR_LEVEL": "0"])
    try #require(made.succeeded, "\(made.output)")
    #expect(!made.output.contains("\nW: "), "\(made.output)")
    let file = try #require(
      try FileManager.default.contentsOfDirectory(atPath: folder).first { $0.hasSuffix(".deb") })
    let tested = try Tool.run("ci/package-test", "\(folder)/\(file)")
    #expect(tested.succeeded, "\(tested.output)")
    print(tested.output)
  }

  @Test("the C shims compile for arm64, and Swift asks for the architecture in one file at most")
  func arm64() throws {
    let result = try Tool.run("ci/arm64")
    #expect(result.succeeded, "\(result.output)")
  }
}
