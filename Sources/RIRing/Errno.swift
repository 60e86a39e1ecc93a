// errno as text, without strerror's shared buffer.

import Glibc

/// `Connection refused (ECONNREFUSED)`-like text of an errno.
public func errnoText(_ code: Int32) -> String {
  var buffer = [CChar](repeating: 0, count: 128)
  guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
  let text = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
  return text.isEmpty ? "error \(code)" : String(decoding: text, as: UTF8.self)
}
