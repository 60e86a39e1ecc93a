// What the kernel holds for TCP sockets, from /proc/net/sockstat.

import Glibc

/// Memory of all TCP sockets of the machine, their buffers included; nil when it cannot be read.
/// The kernel counts it over all network namespaces, in pages.
public func socketMemoryBytes() -> Int? {
  readSmallFile("/proc/net/sockstat").flatMap(socketMemoryPages).map { $0 * Int(getpagesize()) }
}

/// The number after `mem` in the line of TCP.
func socketMemoryPages(_ text: String) -> Int? {
  for line in text.split(separator: "\n") where line.hasPrefix("TCP:") {
    let words = line.split(separator: " ")
    guard let name = words.firstIndex(of: "mem"), name + 1 < words.count else { return nil }
    return Int(words[name + 1])
  }
  return nil
}
