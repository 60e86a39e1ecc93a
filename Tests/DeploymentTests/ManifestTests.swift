// The Kubernetes manifests and the Containerfile.

import Foundation
import Testing

@Suite("Containers")
struct ManifestTests {
  private static let manifests = ["hub", "edge"].map { "\(Files.deploy)/kubernetes/\($0).yaml" }

  private func validate(_ path: String) throws -> ToolResult {
    try Tool.run(".build/venv/bin/kubernetes-validate", "--strict", path)
  }

  @Test("a manifest is what Kubernetes' schemas ask for", arguments: manifests)
  func isValid(manifest: String) throws {
    let result = try validate(manifest)
    #expect(result.succeeded, "\(result.output)")
    #expect(result.output.components(separatedBy: "passed for resource").count > 3)
  }

  @Test("a manifest with an unknown key is refused")
  func isChecked() throws {
    let text = try Files.text(Self.manifests[0])
    let wrong = text.replacingOccurrences(of: "periodSeconds: 10", with: "periodicSeconds: 10")
    #expect(wrong != text)
    let result = try Files.withScratch("hub.yaml", wrong, validate)
    #expect(!result.succeeded)
  }

  @Test(
    "every variable of a manifest is a key of the configuration", .enabled(if: Files.hasBinary),
    arguments: manifests)
  func variablesAreKnown(manifest: String) throws {
    let role = manifest.hasSuffix("hub.yaml") ? "hub" : "edge"
    let help = try Tool.run(Files.binary, role, "--help").output
    let variables = try Files.text(manifest).matches(of: /REMOTEINGRESS_[A-Z_]+/).map(\.output)
    #expect(variables.count > 4)
    for variable in variables {
      let flag = variable.dropFirst("REMOTEINGRESS_".count).lowercased()
        .replacingOccurrences(of: "_", with: "-")
      #expect(help.contains("--\(flag) "), "\(variable)")
    }
  }

  @Test("images carry the product's version", arguments: manifests)
  func version(manifest: String) throws {
    let source = try Files.text("\(Files.project)/Sources/RIBase/ProductVersion.swift")
    let version = try #require(source.firstMatch(of: /productVersion = "([0-9.]+)"/)).output.1
    #expect(try Files.text(manifest).contains("image: remoteingress:\(version)"))
  }

  @Test("what the Containerfile copies exists, and its stages end in the package")
  func containerfile() throws {
    let lines = try Files.text("\(Files.deploy)/container/Containerfile")
      .replacingOccurrences(of: "\\\n", with: " ").split(separator: "\n")
      .filter { !$0.hasPrefix("#") }
    let stages = lines.filter { $0.hasPrefix("FROM ") }
    #expect(stages.count == 2 && stages.allSatisfy { !$0.hasSuffix(":latest") })
    var copied: [String] = []
    for line in lines where line.hasPrefix("COPY ") && !line.contains("--from=") {
      copied += line.split(separator: " ").dropFirst().dropLast().map(String.init)
    }
    for path in copied {
      #expect(FileManager.default.fileExists(atPath: "\(Files.project)/\(path)"), "\(path)")
    }
    // The package manager of Swift wants every folder that the manifest names.
    for match in try Files.text("\(Files.project)/Package.swift").matches(of: /path: "(\w+)\//) {
      #expect(copied.contains(String(match.output.1)))
    }
    #expect(lines.contains { $0.hasPrefix("COPY --from=build") && $0.contains(".deb") })
    #expect(lines.contains("USER 65532:65532"))
  }
}
