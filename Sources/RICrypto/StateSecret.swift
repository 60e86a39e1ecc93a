// A random secret that a hub keeps in its state directory: what was derived from it before a
// restart still holds after it.

import COpenSSL
import Glibc

/// Random bytes that are worth keeping.
public enum StateSecret {
  public static let byteCount = 32

  /// The secret of this name kept in `stateDirectory`; made and stored there (mode 0600) when there
  /// is none, or none of the right length. When two processes do this at once, both get the one
  /// stored first.
  public static func loadOrCreate(
    _ name: String, stateDirectory: String
  ) throws(TLSError) -> [UInt8] {
    let file = try StateFile(name, in: stateDirectory, bytesMax: byteCount)
    if let kept = try file.read() {
      guard kept.count == byteCount else { throw .stateFile(EINVAL) }
      return kept
    }
    let made = random()
    if try file.store(made) { return made }
    guard let kept = try file.read(), kept.count == byteCount else { throw .stateFile(EINVAL) }
    return kept
  }

  /// One for this process alone.
  public static func random() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: byteCount)
    let code = RAND_bytes(&bytes, Int32(byteCount))
    precondition(code == 1, "no random bytes")
    return bytes
  }
}
