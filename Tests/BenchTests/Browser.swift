// Chromium without a window.

import Glibc
import LoadKit
import Testing

@testable import ri_bench

/// A browser with a profile of its own, in a directory that goes with it.
final class Browser {
  private static let program = "/usr/bin/chromium"
  static let isInstalled = access(program, X_OK) == 0

  let path: String

  init() throws { path = try Self.directory() }

  deinit { _ = ChildProcess.output(of: "rm", ["-rf", path]) }

  /// A new one, for whoever asks.
  static func directory() throws -> String {
    var template = Array("/tmp/ri-bench-page-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    return String(
      decoding: template.map { UInt8(bitPattern: $0) }.prefix { $0 != 0 }, as: UTF8.self)
  }

  /// Loads a file and takes a picture of it; what its console said.
  func show(_ page: String, isDark: Bool, picture: String) throws -> [String] {
    let complaints = "\(path)/complaints"
    let words =
      [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--hide-scrollbars", "--user-data-dir=\(path)/profile", "--enable-logging=stderr",
        "--window-size=1100,4200", "--screenshot=\(picture)", "--timeout=20000",
      ] + (isDark ? ["--blink-settings=preferredColorScheme=0"] : []) + ["file://\(page)"]
    let shell = "exec \"$0\" \"$@\" 2>'\(complaints)'"
    let output = ChildProcess.output(
      of: "sh", ["-c", shell, Self.program] + words, within: 60)
    try #require(output != nil, "chromium does not run")
    let said = try #require(readAll(complaints))
    return said.split(separator: "\n").map(String.init).filter {
      $0.contains("CONSOLE") || $0.contains("Failed to load")
    }
  }

  private func readAll(_ file: String) -> String? {
    let descriptor = open(file, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(descriptor, &part, part.count)
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += part[..<count]
    }
  }
}
