// Text that a configuration gives in place or in a file of its own.

import Glibc
import RIWire

/// Text given in place, or the file that holds it. Never shows the text.
public enum TextSource: Equatable, Sendable, CustomStringConvertible, CustomReflectable {
  case text(String)
  case file(String)

  public var description: String {
    switch self {
    case .text: "•••"
    case .file(let path): path
    }
  }

  public var customMirror: Mirror { Mirror(self, children: []) }

  /// The text without the white space around it; a failure names the key `key`, or `keyFile`.
  func text(for key: String) throws(ConfigurationError) -> String {
    switch self {
    case .text(let text): return String(text.trimmed)
    case .file(let path):
      do throws(TextFileError) {
        return String(try TextFile.read(path).trimmed)
      } catch {
        throw ConfigurationError(key: self.key(key), reason: error.description)
      }
    }
  }

  /// The key that gave this: `secret` or `secretFile`, `tls.certPem` or `tls.certFile`.
  func key(_ textKey: String) -> String {
    guard case .file = self else { return textKey }
    let stem = textKey.hasSuffix("Pem") ? textKey.dropLast(3) : textKey[...]
    return stem + "File"
  }
}

/// A file could not be read: one line that says why.
public struct TextFileError: Error, Equatable, Sendable, CustomStringConvertible {
  public var description: String
}

/// Whole files of UTF-8 text.
public enum TextFile {
  /// A configuration of thousands of edges fits.
  static let bytesMax = 16 << 20

  /// Reads a file; `-` is standard input where a user names the file on the command line.
  public static func read(
    _ path: String, dashIsStandardInput: Bool = false
  ) throws(TextFileError) -> String {
    let isStandardInput = dashIsStandardInput && path == "-"
    let descriptor = isStandardInput ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure(path) }
    defer { if !isStandardInput { close(descriptor) } }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = Glibc.read(descriptor, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure(path) }
      if count == 0 { break }
      bytes += chunk[..<count]
      guard bytes.count <= bytesMax else {
        throw TextFileError(description: "\(quoted(path)) is larger than 16 MiB")
      }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw TextFileError(description: "\(quoted(path)) is not UTF-8 text")
    }
    return text
  }

  private static func failure(_ path: String) -> TextFileError {
    TextFileError(description: "cannot read \(quoted(path)): \(String(cString: strerror(errno)))")
  }
}

extension StringProtocol {
  /// Without the white space around it.
  package var trimmed: SubSequence {
    let front = drop { $0.isWhitespace }
    guard let last = front.lastIndex(where: { !$0.isWhitespace }) else { return front }
    return front[...last]
  }
}
