// Text to descriptors without the C library's buffers: what another process waits for must not
// stay in one.

import Glibc

/// Writes all of the text; a reader that is gone ends it silently.
public func writeText(_ text: String, to descriptor: Int32) {
  var rest = Array(text.utf8)[...]
  while !rest.isEmpty {
    let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    if count < 0, errno == EINTR { continue }
    guard count > 0 else { return }
    rest.removeFirst(count)
  }
}

/// Reads a line without its newline, byte by byte so that nothing behind it is taken; nil when the
/// end comes first or it is longer than 64 KiB.
public func readLine(from descriptor: Int32) -> [UInt8]? {
  var line: [UInt8] = []
  var byte: UInt8 = 0
  while line.count < 65_536 {
    let count = read(descriptor, &byte, 1)
    if count < 0, errno == EINTR { continue }
    guard count == 1 else { return nil }
    if byte == UInt8(ascii: "\n") { return line }
    line.append(byte)
  }
  return nil
}
