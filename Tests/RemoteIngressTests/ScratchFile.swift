// Files and sources for the tests of configurations.

import Foundation
import RIBase
import RIWire
import Testing

@testable import RemoteIngress

/// A directory that goes with the test.
final class ScratchDirectory {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "remoteingress-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a file and returns its path.
  func write(_ text: String, to name: String) throws -> String {
    let file = path + "/" + name
    try text.write(toFile: file, atomically: false, encoding: .utf8)
    return file
  }
}

enum Side: Sendable { case hub, edge }

/// The error that loading ends in, as a user reads it, with the directory left out; nil for none.
func failure(
  _ side: Side, file: String? = nil, environment: [String: String] = [:], flags: [String] = []
) throws -> String? {
  let directory = try ScratchDirectory()
  let path = try file.map { try directory.write($0, to: "c.yaml") }
  let source = ConfigurationSource(file: path, environment: environment, flags: flags)
  do throws(ConfigurationError) {
    switch side {
    case .hub: _ = try source.hub()
    case .edge: _ = try source.edge()
    }
    return nil
  } catch {
    return error.description.replacingOccurrences(of: directory.path + "/", with: "")
  }
}

func token(host: String = "hub.example", port: RIBase.Port = 7000, pin: String? = nil) throws
  -> String
{
  try ConnectionToken(
    host: host, port: port, edgeID: "from-token", secret: Secret("token-secret"), hubPin: pin
  ).encoded()
}
